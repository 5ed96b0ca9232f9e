"""What is installed into a booted machine, and how: the README's commands, after the users and model servers that the tests need."""
from __future__ import annotations

import re

from machine import CONFIG, GUEST, SOURCE, Machine

HOST = "models.test"
CONFIGURATION = f"""\
model_list:
  - model_name: canned
    litellm_params:
      model: openai/canned
      mock_response: said by nobody
  - model_name: plain
    litellm_params:
      model: openai/plain
      api_base: http://{HOST}:8001/v1
  - model_name: gated
    litellm_params:
      model: openai/gated
      api_base: http://{HOST}:8001/v1
  - model_name: secure
    litellm_params:
      model: openai/secure
      api_base: https://{HOST}:8443/v1
  - model_name: untrusted
    litellm_params:
      model: openai/untrusted
      api_base: https://{HOST}:8444/v1
"""

def readme_commands(heading: str) -> list[str]:
    """The commands of a section of the README, as root types them; what builds is done (dev.d/boot.sh)."""
    text = (SOURCE / "README.md").read_text()
    section = re.search(rf"^##+ {heading}\n(.*?)(?=^##+ |\Z)", text, re.M | re.S)
    assert section, f"README.md has no section {heading}"
    lines = re.findall(r"^    (\S.*)$", section.group(1), re.M)
    return [line.replace("sudo ", "").replace("build/release", "/build") for line in lines if not line.startswith("./dev")]


def prepare(machine: Machine) -> None:
    """Users, names, certificates and model servers; then the README's commands; then the tests' configuration."""
    machine.run("useradd -m alice; useradd -m bob")
    machine.write("/etc/hosts", f"127.0.0.1 localhost {HOST}\n::1 localhost\n")
    for name in ("good", "bad"):
        machine.run(f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={HOST} "
                    f"-addext subjectAltName=DNS:{HOST} -keyout /root/{name}.key -out /root/{name}.pem")
    machine.run("cp /root/good.pem /usr/local/share/ca-certificates/good.crt && update-ca-certificates")
    for unit, arguments in (("models-plain", "8001"), ("models-tls", "8443 /root/good.pem /root/good.key"),
                            ("models-untrusted", "8444 /root/bad.pem /root/bad.key")):
        machine.run(f"systemd-run --quiet --unit={unit} --service-type=notify -p NotifyAccess=all "
                    f"python3 {GUEST}/upstream.py {arguments}")
    for command in readme_commands("Install"):
        machine.run("USER=alice; " + command)
    machine.installed_configuration = (machine.root / CONFIG.lstrip("/")).read_text()
