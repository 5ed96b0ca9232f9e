"""sluicectl doctor: a machine (a tree of files, see testenv/machine_tree.py) where all is well, then one thing wrong at a time."""

from __future__ import annotations

import json
import os
import re
import socket
from typing import Any, Callable

import pytest
from test_residency import settings
from test_runner_memory import Processes, digest
from testenv.cli import FAILED, OK, USAGE, Elsewhere, document, run, said, terminal
from testenv.daemon import to_yaml
from testenv.http import chat_body
from testenv.machine_tree import GOOD_ENVIRONMENT, Machine
from testenv.upstream import Upstream, fin, raw
from testenv.waiting import eventually

GIB = 1 << 30


def tags(*models: tuple[str, Any]) -> bytes:
    body = json.dumps({"models": [{"name": name, "size": size} for name, size in models]}).encode()
    return b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body


@pytest.fixture
def machine(env) -> Machine:
    return Machine(env.directory / "machine")


@pytest.fixture
def server(env) -> Upstream:
    upstream = env.ollama()
    upstream.on_tags(raw(tags(("small:1b", GIB))), fin())
    return upstream


def port_of(upstream: Upstream) -> int:
    return int(upstream.url.rsplit(":", 1)[1])


class Doctor:
    """One run, as JSON: entries by check."""

    def __init__(self, sluice: Any, machine: Machine, *args: str):
        socket_args = ("--socket", sluice.rpc_path) if sluice else ()
        self.result = run(sluice, "doctor", "--json", "--root", str(machine.root), *socket_args, *args)
        self.document = document(self.result)
        self.checks = self.document["checks"]
        self.findings = [c for c in self.checks if c["state"] == "finding"]
        assert self.document["findings"] == len(self.findings)
        assert self.result.returncode == (FAILED if self.findings else OK)
        assert self.result.stderr == b""

    def of(self, check: str) -> list[dict[str, Any]]:
        return [c for c in self.checks if c["check"] == check]

    def finding(self) -> dict[str, Any]:
        """The only one."""
        assert len(self.findings) == 1, self.findings
        return self.findings[0]


@pytest.fixture
def examine(env, machine: Machine, server: Upstream) -> Callable[..., Doctor]:
    """Runs it on that machine with a daemon that is well and an Ollama of that environment."""
    sluice = env.start()

    def examine_(environment: Any = GOOD_ENVIRONMENT, comm: str = "ollama") -> Doctor:
        machine.ollama(port_of(server), environment, comm)
        return Doctor(sluice, machine, "--ollama", server.url)

    return examine_


def test_all_is_well(examine) -> None:
    doctor = examine()
    assert doctor.findings == []
    assert {c["check"] for c in doctor.checks} == {
        "psi", "memory", "swap", "cgroup", "killers", "unit", "daemon", "pressure", "models", "ollama", "fit",
    }
    assert "small:1b fits" in doctor.of("fit")[0]["text"]
    assert all(not c["fix"] for c in doctor.checks if c["state"] == "fine")


# ---------------------------------------------------------------------------------------------- kernel

PSI = "/proc/pressure/memory"
LOADERS = [
    ("/boot/firmware/cmdline.txt", "sed -i '1s/$/ psi=1/' /boot/firmware/cmdline.txt"),
    ("/etc/default/grub", "update-grub"),
    ("/boot/extlinux/extlinux.conf", "/ psi=1/' /boot/extlinux/extlinux.conf"),
    ("/etc/kernel/cmdline", "kernel-install add-all"),
]


@pytest.mark.parametrize("file, command", LOADERS)
def test_psi_is_off(examine, machine, file: str, command: str) -> None:
    machine.remove(PSI)
    machine.write(file, "quiet\n")
    finding = examine().finding()
    assert finding["check"] == "psi" and command in finding["fix"] and "psi=1" in finding["fix"]


def test_psi_and_the_kernel(examine, machine) -> None:
    machine.write(PSI, "garbage")
    assert "# add psi=1" in examine().finding()["fix"]
    machine.write("/proc/cmdline", "quiet psi=0\n")
    assert "psi=0" in examine_again(examine)["text"]
    machine.write("/proc/cmdline", "quiet\n")
    machine.write("/boot/config-6.12.0-test", "# comment\n# CONFIG_PSI is not set\n")
    finding = examine_again(examine)
    assert "CONFIG_PSI=y" in finding["text"] and finding["fix"] == ""
    machine.write("/boot/config-6.12.0-test", "# comment\nCONFIG_PSI=y\nCONFIG_PSI_DEFAULT_DISABLED=y\n")
    assert "psi=1" in examine_again(examine)["fix"]


def examine_again(examine) -> dict[str, Any]:
    """The finding of another look; what listens is in the tree already."""
    return examine(None).finding()


def test_swap(examine, machine) -> None:
    machine.write("/proc/swaps", "Filename Type Size Used Priority\n")
    machine.write("/usr/bin/apt-get", "")
    finding = examine().finding()
    assert finding["check"] == "swap" and "zram-tools" in finding["fix"]
    machine.remove("/usr/bin/apt-get")
    assert "zramctl -f -s 2048M" in examine_again(examine)["fix"]
    machine.write("/proc/swaps", "Filename Type Size Used Priority\n/dev/mmcblk0p3 partition 1 0 -2\n")
    assert examine(None).findings == [], "Ollama may not swap: all is well"
    machine.units["ollama.service"]["MemorySwapMax"] = "infinity"
    machine.write_units()
    assert examine_again(examine)["fix"] == "sudo systemctl set-property ollama.service MemorySwapMax=0"


def test_cgroups(examine, machine) -> None:
    machine.write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n")
    finding = examine().finding()
    assert finding["check"] == "cgroup" and "cgroup_enable=memory" in finding["fix"]
    machine.remove("/sys/fs/cgroup/cgroup.controllers")
    machine.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1\n")
    old = examine(None).of("cgroup")[0]
    assert old["state"] == "unknown" and "unified_cgroup_hierarchy" in old["fix"]


@pytest.mark.parametrize("comm", ["earlyoom", "systemd-oomd", "nohang"])
def test_who_else_kills(examine, machine, comm: str) -> None:
    machine.write("/proc/77/comm", comm + "\n")
    doctor = examine()
    assert doctor.findings == []
    assert [c["text"].split()[0] for c in doctor.of("killers")] == [comm]


def test_an_empty_machine(env, machine) -> None:
    """Nothing can be read, nobody answers: each is said, and nothing hangs or crashes."""
    empty = Machine.__new__(Machine)
    empty.root = env.directory / "empty"
    empty.root.mkdir()
    doctor = Doctor(None, empty, "--ollama", f"127.0.0.1:{env.port()}")
    assert [c["check"] for c in doctor.findings] == ["psi", "cgroup", "daemon"]
    assert {c["check"] for c in doctor.checks if c["state"] == "unknown"} == {
        "memory", "swap", "killers", "unit", "ollama", "fit",
    }


@pytest.mark.parametrize("junk", ["\0" * 5000, "x" * 300_000, ":::\n" * 1000, "  sl\n 0: 0:0\n", "\xff\xfe"])
def test_files_full_of_junk(env, machine, junk: str) -> None:
    for path in (PSI, "/proc/meminfo", "/proc/swaps", "/proc/cmdline", "/proc/net/tcp", "/proc/net/tcp6", "/proc/1/comm",
                 "/sys/fs/cgroup/cgroup.controllers", "/proc/sys/kernel/osrelease"):
        machine.write(path, junk)
    machine.write("/usr/bin/systemctl", f"#!/bin/sh\ncat {machine.root}/proc/meminfo\n").chmod(0o755)
    Doctor(None, machine, "--ollama", f"127.0.0.1:{env.port()}")


# ---------------------------------------------------------------------------------------------- Ollama


@pytest.mark.parametrize(
    "name, value, advised",
    [
        ("LLAMA_ARG_CACHE_RAM", None, "0"),
        ("LLAMA_ARG_CACHE_RAM", "8192", "0"),
        ("LLAMA_ARG_CACHE_RAM", "-1", "0"),
        ("OLLAMA_NUM_PARALLEL", "4", "1"),
        ("OLLAMA_MAX_LOADED_MODELS", None, "1"),
        ("OLLAMA_MAX_LOADED_MODELS", "0", "1"),
        ("OLLAMA_MAX_QUEUE", None, "8"),
        ("OLLAMA_MAX_QUEUE", "512", "8"),
    ],
)
def test_environment_of_ollama(env, machine, server, name: str, value: Any, advised: str) -> None:
    """Of the process that listens; the slots are those of the daemon's deployment."""
    sluice = env.start({"m": server.deployment()})
    environment = {k: v for k, v in {**GOOD_ENVIRONMENT, name: value}.items() if v is not None}
    machine.ollama(port_of(server), environment)
    finding = Doctor(sluice, machine).finding()
    assert name in finding["text"]
    assert f"Environment={name}={advised}" in finding["fix"] and "restart ollama.service" in finding["fix"]


def test_slots_and_parallel(env, machine, server) -> None:
    sluice = env.start({"m": server.deployment(max_parallel_requests=3)})
    machine.ollama(port_of(server), GOOD_ENVIRONMENT)
    finding = Doctor(sluice, machine).finding()
    assert "3 slots" in finding["text"] and "OLLAMA_NUM_PARALLEL=3" in finding["fix"]


def test_environment_by_systemd(examine, machine) -> None:
    """Where /proc does not say whose the socket is, and with systemd's quotes."""
    words = [f"{name}={value}" for name, value in GOOD_ENVIRONMENT.items()]
    machine.units["ollama.service"]["Environment"] = '"A=b c" ' + " ".join(words)
    machine.write_units()
    assert examine(None).findings == []
    machine.units["ollama.service"]["Environment"] = "OLLAMA_HOST=0.0.0.0"
    machine.write_units()
    assert len(examine(None).findings) == 3, "cache, models, queue"


def test_an_ollama_that_cannot_be_seen(examine, machine) -> None:
    del machine.units["ollama.service"]
    machine.write_units()
    doctor = examine(None)
    assert doctor.findings == []
    assert any(c["fix"] == "sudo sluicectl doctor" for c in doctor.of("ollama"))


def test_not_ollama_but_a_container(examine) -> None:
    doctor = examine(GOOD_ENVIRONMENT, "docker-proxy")
    assert doctor.findings == [] and "docker-proxy" in doctor.of("ollama")[0]["text"]


def test_started_by_hand(examine, machine) -> None:
    machine.units["ollama.service"]["MainPID"] = "0"
    machine.write_units()
    finding = examine({**GOOD_ENVIRONMENT, "LLAMA_ARG_CACHE_RAM": "4096"}).finding()
    assert finding["fix"].startswith("LLAMA_ARG_CACHE_RAM=0 ollama serve")


@pytest.mark.parametrize(
    "name, value, fix",
    [
        ("OOMPolicy", "stop", "OOMPolicy=continue"),
        ("OOMScoreAdjust", "0", "OOMScoreAdjust=300"),
        ("DropInPaths", "", "examples/ollama.service.d/sluice.conf"),
    ],
)
def test_unit_of_ollama(examine, machine, name: str, value: str, fix: str) -> None:
    machine.units["ollama.service"][name] = value
    machine.write_units()
    assert fix in examine().finding()["fix"]


def test_ceiling_of_ollama(examine, machine) -> None:
    machine.units["ollama.service"].update(MemoryHigh="infinity", MemoryMax="infinity")
    machine.write_units()
    assert examine().finding()["fix"] == "sudo systemctl set-property ollama.service MemoryHigh=75% MemoryMax=80%"


# ---------------------------------------------------------------------------------------------- models


def test_which_models_fit(examine, server) -> None:
    server.on_tags(raw(tags(("big:70b", 40 * GIB), ("middle:3b", 2 * GIB), ("small", GIB))), fin())
    doctor = examine()
    finding = doctor.finding()
    assert "big:70b can never fit" in finding["text"] and "ollama rm 'big:70b'" in finding["fix"]
    assert [c["state"] for c in doctor.of("fit")] == ["finding", "unknown", "fine"]


def test_what_the_daemon_knows_of_sizes(env, machine) -> None:
    """Of the models that its configuration names: learned, told, computed; of the others what is computed here."""
    upstream = env.ollama()
    takes = {"a": 640, "b": 640, "c": 640, "d": 640}
    device = Processes(env.directory / "root", upstream, **takes)
    upstream.digests = {name: digest(name) for name in takes}
    upstream.on_tags(raw(tags(*((f"{name}:latest", size) for name, size in upstream.sizes.items()))), fin())
    models = {name: upstream.deployment(name) for name in "abc"}
    config = env.config(models, settings(env))
    config["model_list"][1]["model_info"] = {"ram_mb": 1900}
    sluice = env.start(to_yaml(config))
    device.put("a", 500, 20)
    assert sluice.post("/v1/chat/completions", chat_body("a")).status == 200
    eventually(lambda: sluice.status().deployments[0].need_source == "learned", "it is learned")
    machine.ollama(port_of(upstream), GOOD_ENVIRONMENT, "ollama")
    said_of = {c["text"].split()[0].rstrip(":"): c for c in Doctor(sluice, machine, "--ollama", upstream.url).of("fit")}
    assert said_of["a:latest"]["text"] == "a:latest fits: it takes 520 MiB (learned)"
    assert said_of["b:latest"]["state"] == "finding" and "never fit: it takes 1900 MiB (configured)" in said_of["b:latest"]["text"]
    # 1.1 x 399 MiB + 200: known by the daemon, and guessed here
    assert "c:latest: it takes 638 MiB (computed)" in said_of["c:latest"]["text"]
    assert "it takes at least 638 MiB (computed)" in said_of["d:latest"]["text"]


def test_what_the_daemon_knows_of_sizes_behind_a_wildcard(env, machine) -> None:
    upstream = env.ollama()
    takes = {"a": 640, "b": 640}
    device = Processes(env.directory / "root", upstream, **takes)
    upstream.digests = {name: digest(name) for name in takes}
    upstream.on_tags(raw(tags(*((f"{name}:latest", size) for name, size in upstream.sizes.items()))), fin())
    sluice = env.start(to_yaml(env.config({"local/*": upstream.deployment("*")}, settings(env))))
    device.put("a", 500, 20)
    assert sluice.post("/v1/chat/completions", chat_body("local/a")).status == 200
    machine.ollama(port_of(upstream), GOOD_ENVIRONMENT, "ollama")

    def told() -> dict[str, str]:
        doctor = Doctor(sluice, machine, "--ollama", upstream.url)
        return {c["text"].split()[0].rstrip(":"): c["text"] for c in doctor.of("fit")}

    learned = "a:latest fits: it takes 520 MiB (learned)"
    eventually(lambda: told().get("a:latest") == learned, "it is learned")
    assert "b:latest: it takes 638 MiB (computed)" in told()["b:latest"], "and not guessed here"


LIES: list[bytes] = [
    b"", b"HTTP/1.0 500 Oops\r\n\r\n{}", b"HTTP/1.0 200 OK\r\n\r\n[]", b"HTTP/1.0 200 OK\r\n\r\n{", b"SSH-2.0-x\r\n",
    tags(("a'; rm -rf /", 40 * GIB)), tags(("huge", 1e300)), tags(("less", -1)), tags(("text", "5")), tags((5, 5)),  # type: ignore[arg-type]
    b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * (2 << 20),
]


@pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
def test_a_server_that_lies(examine, server, lie: bytes) -> None:
    server.on_tags(raw(lie), fin())
    doctor = examine()
    assert doctor.findings == [] and [c["state"] for c in doctor.of("fit")] == ["unknown"]


# ---------------------------------------------------------------------------------------------- the daemon


def test_no_daemon(machine, server) -> None:
    machine.ollama(port_of(server), GOOD_ENVIRONMENT)
    finding = Doctor(None, machine, "--ollama", server.url).finding()
    assert finding["check"] == "daemon"


def test_unit_of_the_daemon(examine, machine) -> None:
    machine.units["sluice.service"]["OOMScoreAdjust"] = "0"
    machine.write_units()
    assert "OOMScoreAdjust=-900" in examine().finding()["fix"]
    machine.units["sluice.service"].update(OOMScoreAdjust="-500", LimitNOFILE="256")
    machine.write_units()
    assert "LimitNOFILE=65536" in examine_again(examine)["fix"]


def test_a_deployment_that_is_off(env, machine, server) -> None:
    sluice = env.start({"m": server.deployment(), "n": {"model": "openai/x", "api_base": server.url, "api_key": "os.environ/NOT_SET_HERE"}})
    machine.ollama(port_of(server), GOOD_ENVIRONMENT)
    finding = Doctor(sluice, machine).finding()
    assert finding["check"] == "models" and "NOT_SET_HERE" in finding["text"]


def test_many_deployments_that_are_off(env, machine, server) -> None:
    """The first are named, the others counted, and what comes behind them is still told."""
    off = {"model": "openai/x", "api_base": server.url, "api_key": "os.environ/NOT_SET_HERE"}
    sluice = env.start({f"n{i:03}": off for i in range(100)})
    server.on_tags(raw(tags(("big:70b", 40 * GIB))), fin())
    machine.ollama(port_of(server), GOOD_ENVIRONMENT)
    doctor = Doctor(sluice, machine, "--ollama", server.url)
    named = [f"a deployment of n{i:03} is off" for i in range(8)]
    assert [c["text"].split(":")[0] for c in doctor.findings] == [*named, "further deployments that are off", "big"]
    assert doctor.findings[8]["text"].endswith(": 92")
    assert [c["fix"].split(" #")[0] for c in doctor.findings[7:]] == ["sluicectl check-config", "sluicectl status", "ollama rm 'big:70b'"]


def test_more_than_the_list_takes(env, machine) -> None:
    """Seven Ollamas, on each more models than memory: findings are counted that are not shown, and no command gets to another's entry."""
    models = [(f"m{i:02}", 40 * GIB) for i in range(16)]
    servers = [env.ollama() for _ in range(7)]
    for server in servers:
        server.on_tags(raw(tags(*models)), fin())
    sluice = env.start({f"s{i}": server.deployment() for i, server in enumerate(servers)})
    doctor = Doctor(sluice, machine)
    assert len(doctor.checks) == 97 and doctor.checks[-1]["check"] == "more"
    last, more = doctor.findings[-2:]
    assert f"ollama rm '{last['text'].split()[0]}'" in last["fix"]
    n_shown = len(doctor.findings) - 1
    n_left, n_findings = [int(n) for n in re.findall("[0-9]+", more["text"])]
    assert n_findings == 7 * 16 - n_shown and n_left > n_findings, "also what is said of the last server itself"


def test_a_deployment_that_pauses(env, machine, server) -> None:
    """Its rate is used up: that passes, and nothing that is configured is wrong. Another one is off."""
    off = {"model": "openai/x", "api_base": server.url, "api_key": "os.environ/NOT_SET_HERE"}
    models = {"it's": env.openai().deployment(rpm=1), "far": off}
    config = env.config(models, router={"optional_pre_call_checks": ["enforce_model_rate_limits"]})
    config["model_list"][0]["model_info"] = {"id": "the-one"}
    sluice = env.start(to_yaml(config))
    machine.ollama(port_of(server), GOOD_ENVIRONMENT)
    assert Doctor(sluice, machine, "--ollama", server.url).finding()["text"].startswith("a deployment of far is off")
    assert sluice.post("/v1/chat/completions", chat_body("it's")).status == 200
    doctor = Doctor(sluice, machine, "--ollama", server.url)
    assert doctor.finding()["text"].startswith("a deployment of far is off")
    (paused,) = [c for c in doctor.of("models") if c["state"] == "unknown"]
    assert paused["text"] == "a deployment of it's pauses: its rpm or tpm are used up"
    assert paused["fix"].startswith("journalctl -n 20 SLUICE_DEPLOYMENT='the-one' #")
    assert "paused: its rpm or tpm are used up" in run(sluice, "top", "-n", "1").stdout.decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_who_may_connect(env, machine, server) -> None:
    """The group of the socket, and the command that adds the caller to it."""
    elsewhere = Elsewhere(env.directory)
    env.directory.chmod(0o755)
    path = env.directory / "rpc.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o660)
        os.chown(path, 0, elsewhere.group.gr_gid)
        result = elsewhere.run(str(path), "doctor", "--json", "--root", str(machine.root), "--socket", str(path), "--ollama", server.url)
    finding = next(c for c in document(result)["checks"] if c["check"] == "daemon")
    assert finding["fix"].startswith(f"sudo usermod -aG {elsewhere.group.gr_name} ")


# ---------------------------------------------------------------------------------------------- what may be restarted

RESTARTS = """\
sluice:
  upstreams:  # restart_unit: none.service
    http://localhost:11434: {{restart_unit: {unit}}}
    #  http://localhost:11435: {{restart_unit: commented.service}}
    http://localhost:11436:
      restart_unit: "{unit}" # twice
"""


def restartable(machine: Machine, unit: str = "ollama.service", pkcheck: str = "exit 0") -> None:
    """Named in the configuration; and a polkit that answers so, when asked the right thing."""
    question = "--action-id org.freedesktop.systemd1.manage-units --process 4712 --detail unit {} --detail verb restart"
    machine.write("/etc/sluice/sluice.yaml", RESTARTS.format(unit=unit))
    machine.write("/usr/bin/pkcheck", f'#!/bin/sh\n[ "$*" = "{question.format(unit)}" ] || exit 3\n{pkcheck}\n').chmod(0o755)
    machine.units["sluice.service"].update(User="sluice", MainPID="4712")
    machine.write_units()


def test_it_may_be_restarted(examine, machine) -> None:
    restartable(machine)
    doctor = examine()
    assert doctor.findings == [] and [c["state"] for c in doctor.of("restart")] == ["fine"]
    machine.write("/etc/sluice/sluice.yaml", "sluice: {upstreams: {'http://localhost:11434': {restart_unit: off}}}\n")
    assert not examine(None).of("restart"), "off is off"


def test_polkit_does_not_let_it(examine, machine) -> None:
    """The fix is the shipped rule with that unit's name, and without one there is none to copy."""
    machine.units["llama@1.service"] = {"LoadState": "loaded"}
    restartable(machine, "llama@1.service", "exit 1")
    finding = examine().finding()
    assert finding["check"] == "restart" and "user sluice" in finding["text"] and finding["fix"] == ""
    machine.write("/usr/share/polkit-1/rules.d/50-sluice.rules", "")
    fix = examine_again(examine)["fix"]
    assert "s/ollama[.]service/llama@1.service/" in fix and "/etc/polkit-1/rules.d/50-sluice-llama@1.service.rules" in fix


def test_there_is_no_polkit(examine, machine) -> None:
    restartable(machine)
    machine.remove("/usr/bin/pkcheck")
    machine.write("/usr/bin/apt-get", "")
    assert examine().finding()["fix"] == "sudo apt-get install -y polkitd"
    machine.units["sluice.service"]["User"] = ""
    machine.write_units()
    assert examine(None).findings == [], "root needs none"


def test_there_is_no_such_unit(examine, machine) -> None:
    restartable(machine, "olama.service")
    finding = examine().finding()
    assert finding["check"] == "restart" and "olama.service" in finding["text"] and "list-unit-files" in finding["fix"]


def test_what_does_not_run_cannot_be_asked_about(examine, machine) -> None:
    restartable(machine)
    machine.units["sluice.service"]["MainPID"] = "0"
    machine.write_units()
    doctor = examine()
    assert doctor.findings == [] and [c["state"] for c in doctor.of("restart")] == ["unknown"]


@pytest.mark.parametrize("text", ["restart_unit:", "restart_unit: '" + "x" * 5000 + "'", "restart_unit: $(reboot)", "restart_unit: \\x2d",
                                  "#restart_unit: a.service", "restart_unit: a\n" * 20, "\0restart_unit: b", "x" * 400_000])
def test_configuration_full_of_junk(machine, env, text: str) -> None:
    restartable(machine)
    machine.write("/etc/sluice/sluice.yaml", text)
    doctor = Doctor(None, machine, "--ollama", f"127.0.0.1:{env.port()}")
    assert {c["text"].split()[0] for c in doctor.of("restart")} <= {"/etc/sluice/sluice.yaml"}


# ---------------------------------------------------------------------------------------------- for people


def test_page_and_colours(env, machine, server) -> None:
    machine.remove(PSI)
    machine.ollama(port_of(server), GOOD_ENVIRONMENT)
    args = ("doctor", "--root", str(machine.root), "--ollama", server.url)
    page = run(None, *args)
    assert page.returncode == FAILED and page.stderr == b"" and b"\033" not in page.stdout
    assert page.stdout.decode().startswith("FIX   psi ") and "                $ " in page.stdout.decode()
    shown = terminal(env, None, *args)
    assert shown.wait_exit() == FAILED and "\033[31mFIX" in shown.screen


@pytest.mark.parametrize("url", ["", "https://h", "ftp://h", "http://", "h:", "h:123456", "[::1"])
def test_bad_addresses(machine, url: str) -> None:
    result = run(None, "doctor", "--root", str(machine.root), f"--ollama={url}")
    assert result.returncode == USAGE and "--ollama" in said(result)
