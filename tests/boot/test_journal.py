"""The real journal: a record for each call, with its fields; and what a reload says."""
from __future__ import annotations

import re
from typing import Optional

from installation import CONFIGURATION
from machine import CONFIG, SERVICE, SOURCE, Machine, eventually_in

FIELDS = {"SLUICE_REQUEST_ID", "SLUICE_KIND", "SLUICE_MODEL", "SLUICE_DEPLOYMENT", "SLUICE_PROVIDER", "SLUICE_CLASS", "SLUICE_UID", "SLUICE_PID",
          "SLUICE_FRONTEND", "SLUICE_OUTCOME", "SLUICE_QUEUE_USEC", "SLUICE_TTFT_USEC", "SLUICE_TOTAL_USEC", "SLUICE_BYTES_IN",
          "SLUICE_TOKENS_IN", "SLUICE_TOKENS_OUT"}
NEW_MODEL = """\
  - model_name: newcomer
    litellm_params:
      model: openai/newcomer
      mock_response: said by the newcomer
"""


def test_call_leaves_its_record(running: Machine) -> None:
    cursor = running.cursor()
    running.run("sluicectl chat --model plain 'a secret question' </dev/null", user="alice")
    record = running.record(cursor, SLUICE_MODEL="plain")
    assert FIELDS <= set(record), FIELDS - set(record)
    assert record["SLUICE_OUTCOME"] == "completed"
    assert record["_COMM"] == "sluiced"
    everything = running.run(f"journalctl -q -o export --after-cursor='{cursor}' -u {SERVICE}")
    assert "secret" not in everything and "half" not in everything


def test_reload_takes_a_good_file(running: Machine) -> None:
    pid = running.show("MainPID")
    running.write(CONFIG, CONFIGURATION + NEW_MODEL)
    running.run(f"systemctl reload {SERVICE}")
    eventually_in("the new model", lambda: "newcomer" in running.run("sluicectl models", user="alice"))
    assert "said by the newcomer" in running.run("sluicectl chat --model newcomer hello </dev/null", user="alice")
    assert running.show("MainPID") == pid


def test_reload_refuses_a_bad_file(running: Machine) -> None:
    """The bad file changes nothing, and the journal says what is wrong with it and where."""
    pid, cursor = running.show("MainPID"), running.cursor()
    running.write(CONFIG, CONFIGURATION + "sluice: {queue: {length: none}}\n")
    running.run(f"systemctl reload {SERVICE}", check=False)
    eventually_in("word of the bad file",
                  lambda: [r for r in running.records(cursor) if f"{CONFIG}:" in str(r.get("MESSAGE")) and int(r["PRIORITY"]) <= 4])
    eventually_in("the service is active again", lambda: running.show("ActiveState") == "active")
    assert running.show("MainPID") == pid
    assert "said by nobody" in running.run("sluicectl chat --model canned hello </dev/null", user="alice")


def test_catalogue_explains(running: Machine) -> None:
    """journalctl -x says of a message what our catalogue says of its MESSAGE_ID: of a start, and of a refused file."""
    cursor = running.cursor()
    running.write(CONFIG, "model_list: [\n")
    running.run(f"systemctl reload {SERVICE}", check=False)
    running.run(f"systemctl restart {SERVICE}", check=False)
    catalogue = (SOURCE / "systemd/sluice.catalog").read_text()
    subjects = dict(re.findall(r"^-- ([0-9a-f]{32})\nSubject: (.*)$", catalogue, re.M))

    def known() -> Optional[set[str]]:
        ids = {r["MESSAGE_ID"] for r in running.records(cursor) if r.get("MESSAGE_ID") in subjects}
        return ids if len(ids) >= 2 else None

    ids = eventually_in("records of two kinds that the catalogue knows", known)
    explained = running.run(f"journalctl -x --no-pager --after-cursor='{cursor}' -u {SERVICE}")
    for subject in (subjects[i] for i in ids):
        assert re.search("░░ Subject: " + re.sub("@[A-Z_]+@", ".*", re.escape(subject)), explained), (subject, explained)
