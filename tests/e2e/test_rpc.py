"""The RPC as a ttrpc client sees it: every method, the order of events, cancel, deadlines, many calls on one connection."""

from __future__ import annotations

from typing import Any

import pytest
from testenv import ttrpc
from testenv.daemon import mock
from testenv.ttrpc import CONTROL, ENGINE, Client, RpcError, kinds, text_of
from testenv.upstream import Gate, Upstream, end, say, stall, text, vector, wait_for, whole
from testenv.waiting import eventually


def error_of(client: Client, stream_id: int) -> RpcError:
    with pytest.raises(RpcError) as e:
        list(client.events(stream_id))
    return e.value


# ---------------------------------------------------------------------------------------------- information


def test_get_info(env) -> None:
    sluice = env.start()
    rpc = sluice.rpc()
    info = rpc.unary(ENGINE, "GetInfo", rpc.schema.GetInfoRequest(), "GetInfoResponse")
    assert info.version and info.api_level >= 1
    assert info.limits.frame_bytes == 4 << 20
    assert info.limits.calls_per_connection > 0 and info.limits.messages == 4096
    assert info.limits.output_high_water_bytes > 0 and info.limits.stalled_reader_usec > 0
    assert {"chat", "complete", "embed", "cancel"} <= set(info.features)
    assert info.api_level >= 2 and {"watch", "reload", "drain", "unload"} <= set(info.features)
    assert info.api_level >= 3 and {"rerank", "classify"} <= set(info.features)
    for name in ("ChatRequest", "Event", "StatusResponse", "ErrorDetail"):
        assert getattr(rpc.schema, name)


def test_list_models(env) -> None:
    upstream = env.ollama()
    off = upstream.deployment(api_key="os.environ/SLUICE_TEST_NOT_SET")
    sluice = env.start({"a/b:c": mock(), "two": [upstream.deployment(), off]})
    rpc = sluice.rpc()
    answer = rpc.unary(ENGINE, "ListModels", rpc.schema.ListModelsRequest(), "ListModelsResponse")
    assert [m.name for m in answer.models] == ["a/b:c", "two"]
    assert [m.provider for m in answer.models] == ["mock", "ollama"]
    assert [(m.deployments, m.available_deployments) for m in answer.models] == [(1, 1), (2, 1)]


def test_status_of_deployments(env) -> None:
    """Where a deployment leads, whether its model is in memory, and since when nobody asked."""
    upstream, other = env.ollama(), env.openai()
    models = {"here": upstream.deployment("um"), "there": other.deployment("om"), "m": mock()}
    sluice = env.start(models)
    rpc = sluice.rpc()
    before = {d.model: d for d in rpc.status().deployments}
    assert [d.upstream_model for d in before.values()] == ["um", "om", "mock"]
    assert [d.api_base for d in before.values()] == [upstream.url, other.api_base, ""]
    assert not any(d.loaded or d.idle_usec for d in before.values())

    gate = Gate()
    upstream.next(text("a"), wait_for(gate), end())
    stream = rpc.chat("here")
    while next(stream).WhichOneof("kind") != "text":
        pass
    during = {d.model: d for d in rpc.status().deployments}
    assert during["here"].slots_in_use == 1 and during["here"].idle_usec == 0
    gate.open()
    assert kinds(list(stream))[-1] == "done"
    assert kinds(list(rpc.chat("there")))[-1] == "done"
    after = {d.model: d for d in rpc.status().deployments}
    assert after["here"].loaded and after["here"].idle_usec > 0
    assert not after["there"].loaded, "nothing is known of such servers"
    assert after["there"].idle_usec > 0
    assert not after["m"].loaded and after["m"].idle_usec == 0


def test_status(env) -> None:
    off = env.openai().deployment(api_key="os.environ/SLUICE_TEST_NOT_SET")
    sluice = env.start({"m": mock(), "off": off})
    rpc = sluice.rpc()
    assert kinds(list(rpc.chat("m")))[-1] == "done"
    with pytest.raises(RpcError):
        list(rpc.chat("nope"))
    s = rpc.status()
    assert s.version and s.uptime_usec > 0 and s.config_generation == 1
    assert not s.draining and s.connections >= 1
    assert s.calls_completed == 1 and s.calls_refused == 1 and s.calls_failed == 0
    assert (s.calls_queued, s.calls_running, s.tickets) == (0, 0, 0)
    deployments = {d.model: d for d in s.deployments}
    assert deployments["m"].available and deployments["m"].slots >= 1
    assert not deployments["off"].available
    assert "SLUICE_TEST_NOT_SET" in deployments["off"].unavailable_reason


def test_upload_is_not_there_yet(env) -> None:
    """After an early error the rest of the client's stream is thrown away in silence."""
    rpc = env.start().rpc()
    stream_id = rpc.start(ENGINE, "Upload", b"", ttrpc.REMOTE_OPEN)
    rpc.send_frame(stream_id, ttrpc.DATA, 0, ttrpc.blob(1, b"x" * 1000))
    rpc.send_frame(stream_id, ttrpc.DATA, ttrpc.REMOTE_CLOSED | ttrpc.NO_DATA)
    response = ttrpc.Response.decode(rpc.recv_on(stream_id).payload)
    assert response.code == ttrpc.UNIMPLEMENTED and response.payload == b""
    assert rpc.status().version
    assert not rpc.pending


# ---------------------------------------------------------------------------------------------- calls


def test_chat(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment()})
    rpc = sluice.rpc()
    events = list(rpc.chat("m"))
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    names = kinds(events)
    assert names.count("started") == 1 and names[-1] == "done"
    order = ["queued", "started", "text", "done"]
    assert names == sorted(names, key=order.index)
    started = next(e.started for e in events if e.WhichOneof("kind") == "started")
    assert started.model == "m" and started.request_id and started.deployment
    assert text_of(events) == "Hello world"
    done = events[-1].done
    assert list(done.finish_reasons) == [rpc.schema.value("FinishReason", "FINISH_STOP")]
    assert (done.usage.input_tokens, done.usage.output_tokens) == (7, 2)
    times = done.timings
    assert times.queue_usec <= times.first_token_usec <= times.total_usec
    assert times.total_usec > 0


def test_sampling_reaches_the_upstream(env, upstream: Upstream) -> None:
    sluice = env.start({"m": upstream.deployment("the-model")})
    rpc = sluice.rpc()
    request = rpc.chat_request("m")
    request.sampling.temperature = 0.0  # set, though zero
    request.sampling.seed = -1
    request.sampling.max_tokens = 5
    request.sampling.stop.append("END")
    request.messages.add(role=rpc.schema.value("Role", "ROLE_ASSISTANT"), text="ok")
    assert kinds(list(rpc.events(rpc.stream("Chat", request))))[-1] == "done"
    got = upstream.wait_request().json
    values = got["options"] if upstream.dialect.name == "ollama" else got
    limit = "num_predict" if upstream.dialect.name == "ollama" else "max_tokens"
    assert values["temperature"] == 0 and values["seed"] == -1 and values["stop"] == ["END"]
    assert values[limit] == 5 and "top_p" not in values
    assert [m["role"] for m in got["messages"]] == ["user", "assistant"]


def test_complete(env, upstream: Upstream) -> None:
    rpc = env.start({"m": upstream.deployment()}).rpc()
    request = rpc.schema.CompleteRequest(model="m", prompt="once upon")
    events = list(rpc.events(rpc.stream("Complete", request)))
    assert text_of(events) == "Hello world"
    assert upstream.wait_request(1, "complete").json["prompt"] == "once upon"


def test_embed(env, upstream: Upstream) -> None:
    rpc = env.start({"m": upstream.deployment()}).rpc()
    request = rpc.schema.EmbedRequest(model="m", inputs=["a", "bbb", "日本"])
    events = list(rpc.events(rpc.stream("Embed", request)))
    vectors = [e.embedding for e in events if e.WhichOneof("kind") == "embedding"]
    assert [v.index for v in vectors] == [0, 1, 2]
    assert [list(v.values) for v in vectors] == [vector(x) for x in ("a", "bbb", "日本")]
    assert events[-1].done.usage.input_tokens == 9


def many_vectors(upstream: Upstream, n: int, n_values: int) -> bytes:
    """The answer to an embedding request with n inputs, in the server's dialect."""
    values = b"[" + b",".join([b"0.1234567"] * n_values) + b"]"
    if upstream.dialect.name == "ollama":
        return b'{"model":"m","embeddings":[' + b",".join([values] * n) + b"]}"
    items = [b'{"object":"embedding","index":%d,"embedding":%b}' % (i, values) for i in range(n)]
    return b'{"object":"list","data":[' + b",".join(items) + b"]}"


def test_embedding_answer_larger_than_any_stream(env, upstream: Upstream) -> None:
    """2,048 inputs for a model with 2,560 dimensions: 20 MiB of vectors that come in one piece."""
    rpc = env.start({"m": upstream.deployment()}).rpc()
    upstream.next(whole(200, many_vectors(upstream, 2048, 2560)))
    request = rpc.schema.EmbedRequest(model="m", inputs=["x"] * 2048)
    events = list(rpc.events(rpc.stream("Embed", request)))
    vectors = [e.embedding for e in events if e.WhichOneof("kind") == "embedding"]
    assert [v.index for v in vectors] == list(range(2048))
    assert all(len(v.values) == 2560 for v in vectors)
    assert events[-1].WhichOneof("kind") == "done"


def test_embedding_answer_over_the_budget(env, upstream: Upstream) -> None:
    """It ends its own call with an error, and no other of the connection."""
    limits = {"limits": {"body": "1MiB", "buffered": "1MiB"}, "slots": 2}
    rpc = env.start({"m": upstream.deployment()}, sluice=limits).rpc()
    gate = Gate()
    upstream.next(text("other"), wait_for(gate), end())
    other = rpc.chat("m")
    seen = [next(other)]
    upstream.wait_request(1)
    upstream.next(whole(200, many_vectors(upstream, 512, 2048)))
    request = rpc.schema.EmbedRequest(model="m", inputs=["x"] * 512)
    error = error_of(rpc, rpc.stream("Embed", request))
    assert error.detail.code == "out_of_memory" and error.detail.retry_after_usec > 0
    gate.open()
    assert text_of(seen + list(other)) == "other"


def test_text_is_not_held_back(env, upstream: Upstream) -> None:
    rpc = env.start({"m": upstream.deployment()}).rpc()
    gate = Gate()
    upstream.next(text("first"), wait_for(gate), text("second"), end())
    events = rpc.chat("m")
    seen = []
    while text_of(seen) != "first":
        seen.append(next(events))
    gate.open()
    assert text_of(seen + list(events)) == "firstsecond"


def test_many_calls_on_one_connection(env) -> None:
    """Streams are interleaved, answers come in any order, unary calls pass them all."""
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 16})
    rpc = sluice.rpc()
    gates = [Gate() for _ in range(8)]
    for i, gate in enumerate(gates):
        upstream.next(text(f"<{i}"), wait_for(gate), text(f">{i}"), end())
    ids = []
    for i in range(8):
        ids.append(rpc.stream("Chat", rpc.chat_request("m", f"call {i}")))
        upstream.wait_request(i + 1)
    eventually(lambda: rpc.status().calls_running == 8, "8 calls run")
    for i in reversed(range(8)):
        gates[i].open()
        assert text_of(list(rpc.events(ids[i]))) == f"<{i}>{i}"


@pytest.mark.parametrize("first_id", [1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_stream_ids_are_echoed(env, first_id: int) -> None:
    rpc = env.start().rpc()
    rpc.schema
    rpc.next_id = first_id
    assert text_of(list(rpc.chat("m"))) == "mocked"
    rpc.next_id = 5  # smaller than before: ids need not grow
    assert text_of(list(rpc.chat("m"))) == "mocked"


@pytest.mark.parametrize("flags", [0x00, 0x01, 0x02, 0x06, 0xF0])
def test_flags_do_not_decide_the_kind(env, flags: int) -> None:
    rpc = env.start().rpc()
    request = rpc.chat_request("m").SerializeToString()
    stream_id = rpc.start(ENGINE, "Chat", request, flags)
    assert text_of(list(rpc.events(stream_id))) == "mocked"
    unary_id = rpc.start(ENGINE, "GetInfo", b"", flags)
    assert rpc.recv_on(unary_id).type == ttrpc.RESPONSE


def test_too_many_calls(env) -> None:
    upstream = env.openai()
    upstream.always(stall())
    sluice = env.start(
        {"m": upstream.deployment()},
        sluice={"slots": 16, "limits": {"calls_per_connection": 3}},
    )
    rpc = sluice.rpc()
    ids = [rpc.stream("Chat", rpc.chat_request("m")) for _ in range(4)]
    error = error_of(rpc, ids[3])
    assert error.code == ttrpc.RESOURCE_EXHAUSTED and error.detail.code == "too_many_calls"
    assert error.detail.http_status == 429
    other = sluice.rpc()
    assert other.status().calls_running == 3


# ---------------------------------------------------------------------------------------------- errors


def test_errors_carry_their_detail(env) -> None:
    rpc = env.start({"codegemma": mock()}).rpc()
    error = error_of(rpc, rpc.stream("Chat", rpc.chat_request("codegema", request_id="mine")))
    assert error.code == ttrpc.NOT_FOUND and error.payload == b""
    assert error.detail.code == "model_not_found" and error.detail.http_status == 404
    assert "codegemma" in error.message
    assert error.detail.request_id == "mine"


@pytest.mark.parametrize(
    "what, param",
    [
        ("no messages", "messages"),
        ("no role", "messages[0].role"),
        ("bad request id", "options.request_id"),
        ("long request id", "options.request_id"),
        ("too many messages", "messages"),
        ("no model", "model"),
        ("bad tools", "tools_json"),
        ("bad class", "options.class"),
    ],
)
def test_wrong_requests(env, what: str, param: str) -> None:
    rpc = env.start().rpc()
    request = rpc.chat_request("m")
    if what == "no messages":
        request.ClearField("messages")
    elif what == "no role":
        request.messages[0].role = 0
    elif what == "bad request id":
        request.options.request_id = "with blank"
    elif what == "long request id":
        request.options.request_id = "x" * 65
    elif what == "too many messages":
        for _ in range(4096):
            request.messages.add(role=2, text="x")
    elif what == "no model":
        request.model = ""
    elif what == "bad tools":
        request.tools_json = "[{"
    elif what == "bad class":
        setattr(request.options, "class", 77)
    error = error_of(rpc, rpc.stream("Chat", request))
    assert error.code == ttrpc.INVALID_ARGUMENT
    assert error.detail.code == "invalid_request"
    assert param.split(".")[-1] in error.detail.param, error.detail
    assert text_of(list(rpc.chat("m"))) == "mocked"


def test_request_id_that_runs_already(env) -> None:
    upstream = env.openai()
    upstream.always(text("x"), stall())
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 4})
    rpc = sluice.rpc()
    first = rpc.chat("m", request_id="twin")
    assert next(first).seq == 1
    upstream.wait_request()
    error = error_of(rpc, rpc.stream("Chat", rpc.chat_request("m", request_id="twin")))
    assert error.code == ttrpc.INVALID_ARGUMENT
    assert rpc.cancel("twin")


# ---------------------------------------------------------------------------------------------- cancel and deadlines


def test_cancel(env, upstream: Upstream) -> None:
    """By request id, from any connection of the same user."""
    upstream.always(text("some"), stall())
    sluice = env.start({"m": upstream.deployment()})
    rpc, other = sluice.rpc(), sluice.rpc()
    stream_id = rpc.stream("Chat", rpc.chat_request("m", request_id="c-1"))
    exchange = upstream.wait_request()
    eventually(lambda: rpc.status().calls_running == 1, "it runs")
    assert other.cancel("c-1") is True
    error = error_of(rpc, stream_id)
    assert error.code == ttrpc.CANCELLED and error.detail.code == "cancelled"
    assert exchange.peer_left.wait(10)
    assert other.cancel("c-1") is False
    assert other.cancel("never-there") is False
    s = rpc.status()
    assert s.calls_cancelled == 1 and s.calls_running == 0


def test_closed_connection_cancels_its_calls(env, upstream: Upstream) -> None:
    upstream.always(text("some"), stall())
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 4})
    rpc = sluice.rpc()
    for i in range(3):
        rpc.stream("Chat", rpc.chat_request("m"))
    exchanges = [upstream.wait_request(i + 1) for i in range(3)]
    rpc.close()
    for exchange in exchanges:
        assert exchange.peer_left.wait(10)
    sluice.expect_idle()


@pytest.mark.parametrize("how", ["options", "envelope", "both"])
def test_deadline(env, upstream: Upstream, how: str) -> None:
    upstream.always(text("some"), stall())
    sluice = env.start({"m": upstream.deployment()})
    rpc = sluice.rpc()
    options: dict[str, Any] = {}
    nano = 0
    if how in ("options", "both"):
        options["deadline_usec"] = 200_000 if how == "options" else 60_000_000
    if how in ("envelope", "both"):
        nano = 200_000_000
    stream_id = rpc.stream("Chat", rpc.chat_request("m", **options), nano)
    error = error_of(rpc, stream_id)
    assert error.code == ttrpc.DEADLINE_EXCEEDED and error.detail.code == "deadline_exceeded"
    if upstream.requests():
        assert upstream.requests()[0].peer_left.wait(10)
    assert sluice.wait_call_records(1)[0]["SLUICE_OUTCOME"] == "deadline_exceeded"


def test_deadline_that_is_over_already(env) -> None:
    upstream = env.openai()
    rpc = env.start({"m": upstream.deployment()}).rpc()
    error = error_of(rpc, rpc.stream("Chat", rpc.chat_request("m"), -1))
    assert error.code == ttrpc.DEADLINE_EXCEEDED
    assert not upstream.requests()


def test_deadline_that_is_kept(env) -> None:
    rpc = env.start().rpc()
    assert text_of(list(rpc.chat("m", deadline_usec=20_000_000))) == "mocked"


def test_queue_positions(env) -> None:
    upstream = env.openai()
    sluice = env.start({"m": upstream.deployment()}, sluice={"slots": 1})
    gate = Gate()
    upstream.next(wait_for(gate), *say("one"))
    rpc = sluice.rpc()
    first = rpc.stream("Chat", rpc.chat_request("m"))
    upstream.wait_request()
    second = rpc.stream("Chat", rpc.chat_request("m"))
    third = rpc.stream("Chat", rpc.chat_request("m"))
    event = next(rpc.events(third))
    assert event.queued.position == 2
    gate.open()
    assert text_of(list(rpc.events(first))) == "one"
    for stream_id in (second, third):
        events = list(rpc.events(stream_id))
        positions = [e.queued.position for e in events if e.WhichOneof("kind") == "queued"]
        assert positions == sorted(positions, reverse=True) and text_of(events) == "Hello world"
