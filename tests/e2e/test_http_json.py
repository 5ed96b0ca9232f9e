"""What JSON can say and many programs change in silence: the rule for each, and that it holds up to the model server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testenv.daemon import Daemon
from testenv.http import Answer
from testenv.upstream import Upstream, say

CHAT = "/v1/chat/completions"
# Everything but what sluice itself says: model, stream, stream_options. Spaces, order, escapes and numbers as no printer writes them.
CARRIED = (
    b'"messages": [ {"role" : "user","content":"\\u0041\\/\\u0000 \\ud83d\\ude00 \xc3\xa9","name":"n\\u006f"} ]',
    b'"seed":9007199254740993',
    b'"user":"u"',
    b'"x_big":123456789012345678901234567890',
    b'"x_float":1.0',
    b'"x_exp":1E400',
    b'"x_small":-0.0',
    b'"x_nested":{"b":1,"a":[ null,true , 0.10 ],"":{}}',
    b'"\\u0078_escaped":2',
    b'"metadata":{"n":"9007199254740993"}',
    b'"tools":[{"type":"function","function":{"name":"f","parameters":{"maximum":18446744073709551615}}}]',
    b'"tool_choice":"auto"',
    b'"parallel_tool_calls":false',
    b'"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"enum":[1.0,1]}}}',
    b'"service_tier":"flex"',
    b'"store":true',
    b'"logit_bias":{"50256":-100.0}',
    b'"temperature":0.70000000000000000001',
    b'"verbosity":"low"',
)


def post(sluice: Daemon, body: bytes) -> Answer:
    with sluice.http() as http:
        return http.request("POST", CHAT, body)


def body_with(*members: bytes) -> bytes:
    return b'{ "model":"m" , ' + b" ,\n".join(members) + b" }"


def test_unknown_and_known_members_arrive_byte_for_byte(env) -> None:
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    server.always(say("hi"))
    assert post(sluice, body_with(*CARRIED)).status == 200
    sent = server.wait_request().body
    at = 0
    for member in CARRIED:
        name, value = member.split(b":", 1)
        # A name is written again: only its escapes may differ.
        found = sent.find(json.dumps(json.loads(name)).encode() + b":" + value.strip(), at)
        assert found >= 0, (member, sent)
        at = found


def test_integers_that_sluice_reads_are_exact(env, upstream: Upstream) -> None:
    """A seed above 2^53: read, and for Ollama written again."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(say("hi"))
    for seed in (2**53 + 1, -(2**63), 2**63 - 1):
        body = b'{"model":"m","seed":%d,"messages":[{"role":"user","content":"x"}]}' % seed
        assert post(sluice, body).status == 200
    for i, seed in enumerate((2**53 + 1, -(2**63), 2**63 - 1)):
        sent = upstream.wait_request(i + 1).json
        assert (sent["options"] if upstream.dialect.name == "ollama" else sent)["seed"] == seed
    answer = post(sluice, b'{"model":"m","seed":9223372036854775808,"messages":[{"role":"user"}]}')
    assert answer.status == 400 and answer.error["param"] == "seed"


def test_integers_may_be_written_as_floats(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(say("hi"))
    body = b'{"model":"m","max_tokens":5.0,"messages":[{"role":"user","content":"x"}]}'
    assert post(sluice, body).status == 200
    sent = upstream.wait_request().json
    assert (sent["options"]["num_predict"] if "options" in sent else sent["max_tokens"]) == 5


def test_u0000_is_a_character(env, upstream: Upstream) -> None:
    """In text and in arguments, both ways."""
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(say("a\0b"))
    messages = [{"role": "user", "content": "x\0y"}]
    answer = post(sluice, json.dumps({"model": "m", "messages": messages}).encode())
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == "a\0b"
    assert upstream.wait_request().json["messages"][0]["content"] == "x\0y"


REFUSED = {
    "U+0000 in the name of a member": b'"x\\u0000y":1',
    "U+0000 in the name of a model": b'"fallbacks":["a\\u0000b"]',
    "U+0000 in a tag": b'"tags":["a\\u0000b"]',
    "a lone high surrogate": b'"user":"\\ud800"',
    "a lone low surrogate": b'"user":"\\udc00"',
    "surrogates the wrong way round": b'"user":"\\udc00\\ud800"',
    "a surrogate as UTF-8": b'"user":"\xed\xa0\x80"',
    "invalid UTF-8": b'"user":"\xff"',
    "cut UTF-8": b'"user":"\xe2\x82"',
    "overlong UTF-8": b'"user":"\xc0\xaf"',
    "beyond U+10FFFF": b'"user":"\xf4\x90\x80\x80"',
    "a name twice": b'"user":"a","user":"b"',
    "a name twice, once with escapes": b'"user":"a","\\u0075ser":"b"',
    "a name twice, deep inside": b'"x":[{"y":{"a":1,"a":1}}]',
    "NaN": b'"x":NaN',
    "Infinity": b'"x":-Infinity',
    "a hexadecimal number": b'"x":0x10',
    "a comment": b'"x":1 /* one */',
    "a raw control character": b'"user":"a\tb"',
    "65 levels": b'"x":' + b"[" * 64 + b"]" * 64,
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_rather_than_altered(env, name: str) -> None:
    server = env.openai()
    sluice = env.start({"m": server.deployment()})
    message = b'"messages":[{"role":"user","content":"x"}]'
    answer = post(sluice, body_with(message, REFUSED[name]))
    assert answer.status == 400, answer
    assert answer.error["type"] == "invalid_request_error"
    assert post(sluice, body_with(message)).status == 200
    assert len(server.requests()) == 1


# ---------------------------------------------------------------------------------------------- much of it


def big(**members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "x"}], **members}


BIG = {
    "10,000 messages": big(messages=[{"role": "user", "content": "x"}] * 10_000),
    "200 tools": big(
        tools=[{"type": "function", "function": {"name": f"f{i}"}} for i in range(200)]
    ),
    "a tool schema of 1 MB": big(
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "parameters": {
                        "type": "object",
                        "properties": {f"p{i}": {"description": "x" * 1000} for i in range(1000)},
                    },
                },
            }
        ]
    ),
    "an image of 20 MB": big(
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64," + "A" * (20_000_000 * 4 // 3)},
                    }
                ],
            }
        ]
    ),
}


@pytest.mark.parametrize("name", BIG)
def test_much_is_served(env, upstream: Upstream, name: str) -> None:
    sluice = env.start({"m": upstream.deployment()})
    upstream.always(say("hi"))
    answer = post(sluice, json.dumps(BIG[name]).encode())
    assert answer.status == 200, answer
    sent = upstream.wait_request().json
    if upstream.dialect.name == "openai":
        assert {k: sent[k] for k in BIG[name] if k != "model"} == {
            k: v for k, v in BIG[name].items() if k != "model"
        }
    else:
        assert len(sent["messages"]) == len(BIG[name]["messages"])
        assert len(sent.get("tools", [])) == len(BIG[name].get("tools", []))


def test_what_is_too_much_names_its_limit(env) -> None:
    server = env.openai()
    sluice = env.start(
        {"m": server.deployment()}, sluice={"limits": {"body": "1MiB", "buffered": "1MiB"}}
    )
    with sluice.http() as http:  # refused by its length, before it is sent
        length = {"Content-Length": "1048577", "Content-Type": "application/json"}
        answer = http.request("POST", CHAT, headers=length)
    assert answer.status == 413 and "sluice.limits.body" in answer.error["message"]
    answer = post(sluice, json.dumps(BIG["a tool schema of 1 MB"]).encode())
    assert answer.status == 503 and "sluice.limits.buffered" in answer.error["message"]
    answer = post(sluice, json.dumps(big(messages=[{"role": "user"}] * 16_385)).encode())
    assert answer.status == 400 and "16384" in answer.error["message"]
    assert not server.requests()
