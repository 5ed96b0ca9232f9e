"""What a client may send that is not a request: the answer, the named member, and that nobody else is disturbed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from testenv.daemon import mock
from testenv.http import Closed, chat_body
from testenv.waiting import eventually

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "x"}


# ---------------------------------------------------------------------------------------------- JSON

MALFORMED = {
    "empty": b"",
    "blank": b"  ",
    "not JSON": b"hello",
    "cut": b'{"model":"m","messages":[{"role":"user"',
    "bytes after the end": b'{"model":"m","messages":[{"role":"user","content":"x"}]} x',
    "two documents": b"{}{}",
    "single quotes": b"{'model':'m'}",
    "comma at the end": b'{"model":"m",}',
    "not a number": b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":NaN}',
    "leading zero": b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":01}',
    "control character in a string": b'{"model":"m\n"}',
    "bad escape": b'{"model":"\\x"}',
    "lone surrogate": b'{"model":"\\ud800"}',
    "not UTF-8": b'{"model":"\xff\xfe"}',
    "overlong UTF-8": b'{"model":"\xc0\xaf"}',
    "U+0000 in a name": b'{"mo\\u0000del":"m"}',
    "a name twice": b'{"model":"m","model":"m","messages":[{"role":"user","content":"x"}]}',
    "too deep": b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":'
    + b"[" * 65
    + b"]" * 65
    + b"}",
    "much too deep": b"[" * 500_000,
    "array": b"[]",
    "string": b'"x"',
    "null": b"null",
    "byte order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_json(env, name: str) -> None:
    sluice = env.start()
    with sluice.http() as http:
        answer = http.request("POST", CHAT, MALFORMED[name])
        assert answer.status == 400, answer
        assert answer.error["type"] == "invalid_request_error"
        assert answer.error["code"] == "invalid_request"
        # Wrong JSON is no reason to lose the connection.
        assert http.request("POST", CHAT, chat_body()).status == 200


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "model missing": ({"messages": [USER]}, "model"),
    "model null": ({"model": None, "messages": [USER]}, "model"),
    "model a number": ({"model": 5, "messages": [USER]}, "model"),
    "model empty": ({"model": "", "messages": [USER]}, "model"),
    "model too long": ({"model": "m" * 300, "messages": [USER]}, "model"),
    "messages missing": ({"model": "m"}, "messages"),
    "messages null": ({"model": "m", "messages": None}, "messages"),
    "messages a string": ({"model": "m", "messages": "hi"}, "messages"),
    "messages empty": ({"model": "m", "messages": []}, "messages"),
    "too many messages": ({"model": "m", "messages": [USER] * 16385}, "messages"),
    "message a string": ({"model": "m", "messages": ["hi"]}, "messages[0]"),
    "role missing": ({"model": "m", "messages": [{"content": "x"}]}, "messages[0].role"),
    "role unknown": (
        {"model": "m", "messages": [USER, {"role": "boss", "content": "x"}]},
        "messages[1].role",
    ),
    "role a number": (
        {"model": "m", "messages": [{"role": 1, "content": "x"}]},
        "messages[0].role",
    ),
    "content a number": (
        {"model": "m", "messages": [{"role": "user", "content": 5}]},
        "messages[0].content",
    ),
    "temperature a string": (chat_body(temperature="hot"), "temperature"),
    "top_p an array": (chat_body(top_p=[1]), "top_p"),
    "max_tokens negative": (chat_body(max_tokens=-2), "max_tokens"),
    "max_tokens a fraction": (chat_body(max_tokens=1.5), "max_tokens"),
    "max_tokens huge": (chat_body(max_tokens=10**18), "max_tokens"),
    "max_completion_tokens a string": (
        chat_body(max_completion_tokens="1"),
        "max_completion_tokens",
    ),
    "stream a string": (chat_body(stream="yes"), "stream"),
    "stream_options a number": (chat_body(stream=True, stream_options=1), "stream_options"),
    "stop a number": (chat_body(stop=5), "stop"),
    "stop of numbers": (chat_body(stop=[5]), "stop"),
    "too many stops": (chat_body(stop=["x"] * 17), "stop"),
    "n zero": (chat_body(n=0), "n"),
    "n huge": (chat_body(n=1000), "n"),
    "seed a string": (chat_body(seed="x"), "seed"),
    "tools an object": (chat_body(tools={}), "tools"),
    "response_format a string": (chat_body(response_format="json"), "response_format"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_members_are_named(env, name: str) -> None:
    body, param = WRONG[name]
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})
    with sluice.http() as http:
        answer = http.request("POST", CHAT, body)
        assert answer.status == 400, answer
        error = answer.error
        assert error["type"] == "invalid_request_error"
        assert error["param"] is not None and error["param"].startswith(param), error
        assert http.request("POST", CHAT, chat_body()).status == 200
    assert len(upstream.requests()) == 1, "a bad request reached the model server"


@pytest.mark.parametrize(
    "path, body, param",
    [
        ("/v1/embeddings", {"model": "m"}, "input"),
        ("/v1/embeddings", {"model": "m", "input": 5}, "input"),
        ("/v1/embeddings", {"model": "m", "input": []}, "input"),
        ("/v1/embeddings", {"model": "m", "input": [None]}, "input"),
        ("/v1/embeddings", {"model": "m", "input": ["x"] * 2049}, "input"),
        ("/v1/embeddings", {"input": "x"}, "model"),
        (
            "/v1/embeddings",
            {"model": "m", "input": "x", "encoding_format": "hex"},
            "encoding_format",
        ),
        ("/v1/embeddings", {"model": "m", "input": "x", "dimensions": "many"}, "dimensions"),
        ("/v1/completions", {"model": "m"}, "prompt"),
        ("/v1/completions", {"model": "m", "prompt": {"a": 1}}, "prompt"),
        ("/v1/completions", {"prompt": "x"}, "model"),
    ],
)
def test_wrong_members_of_other_kinds(env, path: str, body: Any, param: str) -> None:
    answer = env.start().post(path, body)
    assert answer.status == 400 and answer.error["param"].startswith(param), answer


def test_what_ollama_cannot_do_is_said(env) -> None:
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})
    for members, param in (
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
    ):
        answer = sluice.post(CHAT, chat_body(**members))
        assert answer.status == 400 and answer.error["param"] == param, answer
        assert answer.error["code"] == "unsupported_parameter"


# ---------------------------------------------------------------------------------------------- unknown model


def test_unknown_model_names_the_nearest(env) -> None:
    sluice = env.start({"codegemma": mock(), "llama3": mock(), "gpt-4o": mock()})
    answer = sluice.post(CHAT, chat_body("codegema"))
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found" and answer.error["param"] == "model"
    assert "codegemma" in answer.error["message"] and "codegema" in answer.error["message"]
    assert sluice.post("/v1/embeddings", {"model": "lama3", "input": "x"}).status == 404
    assert sluice.post(CHAT, chat_body("CODEGEMMA")).status == 404


def test_hostile_model_names(env) -> None:
    """Names come back in a message and in a log line; both must stay well-formed."""
    sluice = env.start()
    for name in ('"quote"', "new\nline", "\x1b[31mred", "<script>", "x" * 256, "日本" * 30, "%s%n"):
        answer = sluice.post(CHAT, chat_body(name))
        assert answer.status in (400, 404) and answer.error
        assert "\x1b" not in answer.error["message"]
    sluice.wait_call_records(5)  # two are no names at all
    for line in list(sluice.lines):
        json.loads(line)


# ---------------------------------------------------------------------------------------------- HTTP


def post(extra: bytes, body: bytes = b"{}") -> bytes:
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\n" + extra + b"\r\n" + body
    )


HTTP_REFUSED: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", (400,)),
    "HTTP/0.9": (b"GET /v1/models\r\n\r\n", (400, 505)),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    "HTTP/1.2": (b"GET /v1/models HTTP/1.2\r\nHost: localhost\r\n\r\n", (400, 505)),
    "HTTP/3.1": (b"GET /v1/models HTTP/3.1\r\nHost: localhost\r\n\r\n", (400, 505)),
    "lower-case method": (b"get /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", (400, 405)),
    "two blanks": (b"GET  /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", (400,)),
    "blank in the target": (b"GET /v1 /models HTTP/1.1\r\nHost: localhost\r\n\r\n", (400,)),
    "tab for a blank": (b"GET\t/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", (400,)),
    "bare LF": (b"GET /v1/models HTTP/1.1\nHost: localhost\n\n", (400,)),
    "one bare LF": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", (400,)),
    "bare CR": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n", (400,)),
    "no Host": (b"GET /v1/models HTTP/1.1\r\n\r\n", (400,)),
    "two Hosts": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", (400,)),
    "Host with a path": (b"GET /v1/models HTTP/1.1\r\nHost: localhost/x\r\n\r\n", (400, 421)),
    "folded header": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", (400,)),
    "folded first header": (b"GET /v1/models HTTP/1.1\r\n Host: localhost\r\n\r\n", (400,)),
    "blank before the colon": (b"GET /v1/models HTTP/1.1\r\nHost : localhost\r\n\r\n", (400,)),
    "no colon": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", (400,)),
    "empty name": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n", (400,)),
    "NUL in a value": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", (400,)),
    "DEL in a value": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: a\x7fb\r\n\r\n", (400,)),
    "NUL in the target": (b"GET /v1/mod\0els HTTP/1.1\r\nHost: localhost\r\n\r\n", (400,)),
    "absolute target with a user": (
        b"GET http://me@localhost/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
        (400,),
    ),
    "target without a slash": (b"GET v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", (400,)),
    "long target": (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", (414,)),
    "two lengths": (post(b"Content-Length: 2\r\nContent-Length: 2\r\n"), (400,)),
    "different lengths": (post(b"Content-Length: 2\r\nContent-Length: 3\r\n"), (400,)),
    "list of lengths": (post(b"Content-Length: 2, 2\r\n"), (400,)),
    "signed length": (post(b"Content-Length: +2\r\n"), (400,)),
    "negative length": (post(b"Content-Length: -2\r\n"), (400,)),
    "hexadecimal length": (post(b"Content-Length: 0x2\r\n"), (400,)),
    "empty length": (post(b"Content-Length: \r\n"), (400,)),
    "endless length": (post(b"Content-Length: " + b"9" * 30 + b"\r\n"), (400, 413)),
    "length and chunked": (
        post(b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        (400,),
    ),
    "chunked twice": (post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), (400, 501)),
    "two codings": (
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (400, 501),
    ),
    "gzip coding": (post(b"Transfer-Encoding: gzip\r\n", b""), (400, 501)),
    "identity coding": (post(b"Transfer-Encoding: identity\r\n", b""), (400, 501)),
    "chunked in HTTP/1.0": (
        b"POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        (400,),
    ),
    "chunk size not hexadecimal": (
        post(b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n"),
        (400,),
    ),
    "chunk size negative": (post(b"Transfer-Encoding: chunked\r\n", b"-1\r\n{}\r\n"), (400,)),
    "chunk size too long": (
        post(b"Transfer-Encoding: chunked\r\n", b"0" * 30 + b"2\r\n{}\r\n"),
        (400,),
    ),
    "chunk longer than said": (
        post(b"Transfer-Encoding: chunked\r\n", b"1\r\n{}\r\n0\r\n\r\n"),
        (400,),
    ),
    "chunk ended by LF": (post(b"Transfer-Encoding: chunked\r\n", b"2\n{}\n0\n\n"), (400,)),
    "unknown expectation": (post(b"Content-Length: 2\r\nExpect: 200-ok\r\n"), (417,)),
    "too many headers": (
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        (431, 400),
    ),
}


@pytest.mark.parametrize("name", HTTP_REFUSED)
def test_refused_http(env, name: str) -> None:
    data, statuses = HTTP_REFUSED[name]
    sluice = env.start()
    with sluice.http() as http:
        http.send(data)
        answer = http.read_answer()
        assert answer.status in statuses, answer
        assert answer.error["message"]
        assert answer.header("connection") == "close"
        http.wait_closed()
    assert sluice.post(CHAT, chat_body()).status == 200


@pytest.mark.parametrize(
    "line, statuses",
    [
        (b"TRACE /v1/models", (405,)),
        (b"CONNECT localhost:80", (400, 404, 405)),
        (b"PUT /v1/models", (405,)),
        (b"DELETE /v1/models", (405,)),
        (b"BREW /v1/models", (400, 405)),
        (b"GET /v1/models/a%00b", (400, 404)),
        (b"GET /v1/models/%zz", (400, 404)),
        (b"GET /v1/models/../../etc/passwd", (400, 404)),
    ],
)
def test_targets_and_methods_that_are_not_served(
    env, line: bytes, statuses: tuple[int, ...]
) -> None:
    """Good HTTP, so the connection may live on; whichever it is, the answer is an error object."""
    sluice = env.start()
    with sluice.http() as http:
        http.send(line + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = http.read_answer()
        assert answer.status in statuses and answer.error["message"]
        if answer.header("connection") == "close":
            http.wait_closed()
        else:
            assert http.request("GET", "/v1/models").status == 200


def test_what_follows_a_refusal_is_not_served(env) -> None:
    """Request smuggling needs a second request behind a disputed first one."""
    upstream = env.ollama()
    sluice = env.start({"m": upstream.deployment()})
    body = json.dumps(chat_body()).encode()
    hidden = post(b"Content-Length: %d\r\n" % len(body), body)
    with sluice.http() as http:
        http.send(
            post(b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n") + hidden
        )
        assert http.read_answer().status == 400
        with pytest.raises(Closed):
            http.read_answer()
    assert sluice.post(CHAT, chat_body()).status == 200
    assert len(upstream.requests()) == 1


def test_random_bytes(env) -> None:
    """A few hundred connections of noise, some of it nearly HTTP; afterwards all is as before."""
    sluice = env.start()
    rng = random.Random(20260101)
    good = post(b"Content-Length: 2\r\n")
    fds = sluice.n_fds()
    for i in range(200):
        data = bytearray(good) if i % 2 else bytearray(rng.randbytes(rng.randrange(1, 400)))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with sluice.http() as http:
            try:
                http.send(bytes(data))
            except (BrokenPipeError, ConnectionResetError):
                pass
    assert sluice.post(CHAT, chat_body()).status == 200
    eventually(lambda: sluice.n_fds() <= fds + 2, "the connections are gone")
