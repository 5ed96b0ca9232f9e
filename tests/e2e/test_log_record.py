"""One record for each finished call, with what an operator needs, and never with what belongs to the user."""

from __future__ import annotations

import os
from typing import Any

import pytest
from testenv.daemon import mock
from testenv.http import chat_body
from testenv.ttrpc import RpcError
from testenv.upstream import Upstream, say, stall, text, whole
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
PROMPT = "zebra crossing at midnight"
REPLY = "giraffes prefer noon"
KEY = "sk-user-0123456789abcdef"
NUMBERS = ("SLUICE_QUEUE_USEC", "SLUICE_TOTAL_USEC")


def check_numbers(record: dict[str, str]) -> None:
    for name in NUMBERS:
        assert int(record[name]) >= 0
    if "SLUICE_TTFT_USEC" in record:
        queue, ttft, total = (int(record[f"SLUICE_{n}_USEC"]) for n in ("QUEUE", "TTFT", "TOTAL"))
        assert queue <= ttft <= total


@pytest.mark.parametrize("stream", [False, True])
def test_completed_call(env, upstream: Upstream, stream: bool) -> None:
    sluice = env.start({"m": upstream.deployment("inner-name")}, general={"master_key": KEY})
    upstream.always(say(REPLY))
    headers: dict[str, Any] = {"Authorization": f"Bearer {KEY}", "X-Request-Id": "my-id"}
    body = chat_body(content=PROMPT, stream=stream)
    assert sluice.post(CHAT, body, headers=headers).status == 200
    (record,) = sluice.wait_call_records(1)
    check_numbers(record)
    assert record["SLUICE_REQUEST_ID"] == "my-id"
    assert record["SLUICE_MODEL"] == "m"
    assert record["SLUICE_DEPLOYMENT"]
    assert record["SLUICE_PROVIDER"] == upstream.dialect.name
    assert record["SLUICE_FRONTEND"] == "http"
    assert record["SLUICE_KIND"] == "chat"
    assert record["SLUICE_CLASS"] == "interactive"
    assert record["SLUICE_OUTCOME"] == "completed"
    assert int(record["SLUICE_TTFT_USEC"]) > 0
    assert record["SLUICE_TOKENS_IN"] == "7" and record["SLUICE_TOKENS_OUT"] == "1"
    assert record["level"] == "info"


def test_callers_of_unix_sockets(env) -> None:
    sluice = env.start()
    with sluice.rpc() as rpc:
        list(rpc.chat("m", request_id="by-rpc"))
        request = rpc.schema.EmbedRequest(model="m", inputs=["x"])
        setattr(request.options, "class", rpc.schema.value("Class", "CLASS_BACKGROUND"))
        list(rpc.events(rpc.stream("Embed", request)))
    with sluice.http_unix() as http:
        body = {"model": "m", "prompt": "x"}
        assert http.request("POST", "/v1/completions", body).status == 200
    first, second, third = sluice.wait_call_records(3)
    for record in (first, second, third):
        assert record["SLUICE_UID"] == str(os.getuid())
    assert first["SLUICE_REQUEST_ID"] == "by-rpc"
    assert [r["SLUICE_FRONTEND"] for r in (first, second)] == ["rpc", "rpc"]
    assert [r["SLUICE_KIND"] for r in (first, second, third)] == ["chat", "embed", "complete"]
    assert second["SLUICE_CLASS"] == "background"
    assert second["SLUICE_REQUEST_ID"] != first["SLUICE_REQUEST_ID"]


def test_every_end_has_its_outcome(env) -> None:
    """Refused, failed, cancelled: one record each, no more."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()})
    assert sluice.post(CHAT, chat_body("nope")).status == 404
    upstream.next(whole(500, {"error": {"message": "boom"}}))
    assert sluice.post(CHAT, chat_body()).status == 502
    upstream.next(text("x"), stall())
    with sluice.http() as http:
        http.send_request("POST", CHAT, chat_body(stream=True))
        upstream.wait_request(2)
    sluice.wait_call_records(3)
    with sluice.rpc() as rpc, pytest.raises(RpcError):
        list(rpc.chat("m", deadline_usec=1))
    records = sluice.wait_call_records(4)
    outcomes = [r["SLUICE_OUTCOME"] for r in records]
    assert outcomes == ["model_not_found", "upstream_error", "cancelled", "deadline_exceeded"]
    for record in records:
        check_numbers(record)
    assert "SLUICE_DEPLOYMENT" not in records[0]
    sluice.expect_idle()
    assert len(sluice.call_records) == 4


def test_what_is_never_logged(env, upstream: Upstream) -> None:
    """Prompts, answers, keys, headers: at the most talkative level as well, and when things go wrong."""
    sluice = env.start(
        {"m": upstream.deployment(api_key="sk-upstream-0123456789"), "k": mock()},
        general={"master_key": KEY},
        args=("--log-level", "debug"),
    )
    headers: dict[str, Any] = {"Authorization": f"Bearer {KEY}", "X-Private": "diary"}
    upstream.next(say(REPLY))
    upstream.next(text(REPLY), whole(200, b"broken " + REPLY.encode()))
    upstream.next(whole(400, upstream.dialect.error_body(f"cannot read: {PROMPT}")))
    for _ in range(3):
        sluice.post(CHAT, chat_body(content=PROMPT), headers=headers)
    sluice.post(
        CHAT,
        b'{"model":"m","messages":[{"role":"user","content":"' + PROMPT.encode(),
        headers=headers,
    )
    sluice.post(CHAT, chat_body(content=PROMPT), headers={"Authorization": f"Bearer {KEY}wrong"})
    with sluice.rpc() as rpc:
        list(rpc.chat("k", PROMPT))
    sluice.wait_call_records(4)
    for secret in (PROMPT, "zebra", REPLY, "giraffes", KEY, "sk-upstream", "diary"):
        assert secret not in sluice.log_text, secret


def test_text_format(env) -> None:
    """The default on a terminal: one line of logfmt for each record."""
    sluice = env.start(args=("--log-format", "text"))
    assert sluice.post(CHAT, chat_body()).status == 200
    line = sluice_line(sluice)
    assert "SLUICE_MODEL=m" in line and "SLUICE_OUTCOME=completed" in line


def sluice_line(sluice: Any) -> str:
    def find() -> str:
        return next((x for x in list(sluice.lines) if "SLUICE_OUTCOME=" in x), "")

    return eventually(find, "a call record")
