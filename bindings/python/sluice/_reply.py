"""From events to the objects of _types: pieces for streams, one whole for the rest.

ChatChunks and CompletionChunks turn each event into the chunks that the HTTP port would have sent, in the same order: the role alone
first, then the pieces, a last chunk with the finish reason, one with the usage where it was asked for. Collectors build the whole answer
from the same events. What the model server leaves out is filled in as there: ids of tool calls, "{}" for arguments that never came.

Bytes are decoded as they come: a piece may end inside a character, whose rest comes with the next. What never becomes whole is U+FFFD.
"""

from __future__ import annotations

import array
import base64
import codecs
import json
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from . import _types as types
from ._connection import Call
from ._native import Channel, Event, Field, Finish, Rows, copy_bytes, lib

_new_decoder = codecs.getincrementaldecoder("utf-8")
_FINISH_NAMES = {
    reason: lib.sluice_finish_reason_name(reason).decode()
    for reason in range(Finish.UNKNOWN, Finish.CONTENT_FILTER + 1)
}


def _text(function: Any, handle: Any) -> str:
    return str(function(handle).decode("utf-8", "replace"))


def note_end(call: Call) -> None:
    """Timings, from a DONE."""
    h, info = call.handle, call.info
    info.queue_seconds = lib.sluice_call_queue_usec(h) / 1e6
    first = lib.sluice_call_first_token_usec(h)
    info.first_token_seconds = first / 1e6 if first else None
    info.total_seconds = lib.sluice_call_total_usec(h) / 1e6
    info.has_usage = bool(lib.sluice_call_has_usage(h))


def usage_of(call: Call) -> types.CompletionUsage:
    h = call.handle
    n_in, n_out = lib.sluice_call_input_tokens(h), lib.sluice_call_output_tokens(h)
    details = types.PromptTokensDetails(cached_tokens=lib.sluice_call_cached_input_tokens(h))
    n_reasoning = lib.sluice_call_reasoning_output_tokens(h)
    out_details = types.CompletionTokensDetails(n_reasoning) if n_reasoning else None
    return types.CompletionUsage(n_in, n_out, n_in + n_out, details, out_details)


def finish_of(call: Call, choice: int, has_calls: bool) -> str:
    """OpenAI's word; a model server that says "stop" after tool calls means "tool_calls"."""
    reason = lib.sluice_call_finish_reason(call.handle, choice)
    if choice >= lib.sluice_call_n_choices(call.handle):
        reason = Finish.STOP
    if has_calls and reason == Finish.STOP:
        reason = Finish.TOOL_CALLS
    name: str = _FINISH_NAMES.get(reason, _FINISH_NAMES[Finish.UNKNOWN])
    return name


def _logprobs_json(call: Call) -> Any:
    data = copy_bytes(lib.sluice_call_logprobs_json, call.handle)
    return json.loads(data) if data else None


def _chat_logprobs(value: Optional[Dict[str, Any]]) -> Optional[types.ChoiceLogprobs]:
    if not isinstance(value, dict):
        return None

    def tokens(name: str) -> Any:
        found = value.get(name) if value else None
        return None if found is None else [_token(t) for t in found]

    return types.ChoiceLogprobs(tokens("content"), tokens("refusal"))


def _token(t: Dict[str, Any]) -> types.ChatCompletionTokenLogprob:
    top = [
        types.TopLogprob(o.get("token", ""), o.get("logprob", 0.0), o.get("bytes"))
        for o in t.get("top_logprobs") or []
    ]
    return types.ChatCompletionTokenLogprob(
        t.get("token", ""), t.get("logprob", 0.0), t.get("bytes"), top
    )


def _completion_logprobs(value: Optional[Dict[str, Any]]) -> Optional[types.Logprobs]:
    if not isinstance(value, dict):
        return None
    names = ("text_offset", "token_logprobs", "tokens", "top_logprobs")
    return types.Logprobs(*(value.get(name) for name in names))


def _join_logprobs(whole: Optional[Dict[str, Any]], piece: Any) -> Optional[Dict[str, Any]]:
    """The lists inside, list by list."""
    if not isinstance(piece, dict):
        return whole
    joined = whole if whole is not None else {}
    for name, value in piece.items():
        if isinstance(value, list):
            joined.setdefault(name, [])
            joined[name] = (joined[name] or []) + value
        else:
            joined.setdefault(name, value)
    return joined


class _ToolCall:
    """One tool call while its arguments come."""

    def __init__(self) -> None:
        self.decoder = _new_decoder("replace")
        self.is_filled = False


class _Choice:
    """What is known of one answer while it comes."""

    def __init__(self) -> None:
        self.has_begun = False
        self.decoders = tuple(_new_decoder("replace") for _ in range(3))  # by channel
        self.calls: Dict[int, _ToolCall] = {}


class _Pieces:
    """What ChatChunks and CompletionChunks share."""

    prefix = ""

    def __init__(self, call: Call, include_usage: bool):
        self.call = call
        self.id = self.prefix + call.request_id
        self.created = int(time.time())
        self.include_usage = include_usage
        self.choices: Dict[int, _Choice] = {0: _Choice()}

    def _choice(self, index: int) -> _Choice:
        choice = self.choices.get(index)
        if choice is None:
            choice = self.choices[index] = _Choice()
        return choice

    def _read_text(self, index: int, channel: int) -> str:
        data = copy_bytes(lib.sluice_call_text, self.call.handle)
        return str(self._choice(index).decoders[channel].decode(data))

    def feed(self, event: int) -> List[Any]:
        raise NotImplementedError


def _rest(decoder: codecs.IncrementalDecoder) -> str:
    """The beginning of a character that never became whole."""
    text = decoder.decode(b"", True)
    decoder.reset()
    return text


class ChatChunks(_Pieces):
    prefix = "chatcmpl-"

    def feed(self, event: int) -> List[types.ChatCompletionChunk]:
        if event == Event.TEXT:
            return self._text()
        if event == Event.TOOL_CALL:
            return self._tool_call()
        if event == Event.DONE:
            return self._done()
        return []

    def _chunk(
        self,
        index: int,
        delta: types.ChoiceDelta,
        finish: Optional[str] = None,
        logprobs: Optional[types.ChoiceLogprobs] = None,
    ) -> types.ChatCompletionChunk:
        choice = types.ChunkChoice(delta, index, finish, logprobs)
        call = self.call
        return types.ChatCompletionChunk(self.id, [choice], self.created, call.model, call.info)

    def _begin(self, index: int) -> List[types.ChatCompletionChunk]:
        choice = self._choice(index)
        if choice.has_begun:
            return []
        choice.has_begun = True
        return [self._chunk(index, types.ChoiceDelta(content="", role="assistant"))]

    def _delta(self, channel: int, text: str) -> types.ChoiceDelta:
        if channel == Channel.THINKING:
            return types.ChoiceDelta(reasoning_content=text)
        if channel == Channel.REFUSAL:
            return types.ChoiceDelta(refusal=text)
        return types.ChoiceDelta(content=text)

    def _text(self) -> List[types.ChatCompletionChunk]:
        h = self.call.handle
        index, channel = lib.sluice_call_choice(h), lib.sluice_call_channel(h)
        out = self._begin(index)
        if channel != Channel.THINKING:
            out += self._flush_text(index, Channel.THINKING)
        text = self._read_text(index, channel)
        logprobs = _chat_logprobs(_logprobs_json(self.call))
        if text or logprobs:
            out.append(self._chunk(index, self._delta(channel, text), None, logprobs))
        return out

    def _flush_text(self, index: int, channel: int) -> List[types.ChatCompletionChunk]:
        rest = _rest(self._choice(index).decoders[channel])
        return [self._chunk(index, self._delta(channel, rest))] if rest else []

    def _arguments(self, index: int, at: int, text: str) -> types.ChatCompletionChunk:
        function = types.ChoiceDeltaToolCallFunction(arguments=text)
        piece = types.ChoiceDeltaToolCall(at, function=function)
        return self._chunk(index, types.ChoiceDelta(tool_calls=[piece]))

    def _tool_call(self) -> List[types.ChatCompletionChunk]:
        h = self.call.handle
        index, at = lib.sluice_call_choice(h), lib.sluice_call_tool_index(h)
        choice = self._choice(index)
        out = self._begin(index)
        known = choice.calls.get(at)
        tool = known or choice.calls.setdefault(at, _ToolCall())
        data = copy_bytes(lib.sluice_call_tool_arguments, h)
        text = tool.decoder.decode(data)
        tool.is_filled = tool.is_filled or bool(data)
        if known is not None:
            return out + ([self._arguments(index, at, text)] if text else [])
        ident = _text(lib.sluice_call_tool_id, h) or tool_call_id(self.call, index, at)
        function = types.ChoiceDeltaToolCallFunction(text, _text(lib.sluice_call_tool_name, h))
        piece = types.ChoiceDeltaToolCall(at, ident, function, "function")
        return out + [self._chunk(index, types.ChoiceDelta(tool_calls=[piece]))]

    def _finish(self, index: int) -> List[types.ChatCompletionChunk]:
        choice = self._choice(index)
        out = self._begin(index)
        for channel in (Channel.THINKING, Channel.ANSWER, Channel.REFUSAL):
            out += self._flush_text(index, channel)
        for at, tool in sorted(choice.calls.items()):
            rest = _rest(tool.decoder) if tool.is_filled else "{}"
            out += [self._arguments(index, at, rest)] if rest else []
        reason = finish_of(self.call, index, bool(choice.calls))
        return out + [self._chunk(index, types.ChoiceDelta(), reason)]

    def _done(self) -> List[types.ChatCompletionChunk]:
        note_end(self.call)
        out: List[types.ChatCompletionChunk] = []
        for index in sorted(self.choices):
            out += self._finish(index)
        if self.include_usage:
            call = self.call
            last = types.ChatCompletionChunk(self.id, [], self.created, call.model, call.info)
            last.usage = usage_of(call)
            out.append(last)
        return out


class CompletionChunks(_Pieces):
    prefix = "cmpl-"

    def feed(self, event: int) -> List[types.Completion]:
        if event == Event.TEXT:
            return self._text()
        if event == Event.DONE:
            return self._done()
        return []

    def _chunk(self, choice: types.CompletionChoice) -> types.Completion:
        call = self.call
        return types.Completion(self.id, [choice], self.created, call.model, sluice=call.info)

    def _piece(self, index: int, channel: int, text: str) -> types.CompletionChoice:
        if channel == Channel.THINKING:
            return types.CompletionChoice(index, "", reasoning_content=text)
        return types.CompletionChoice(index, text)

    def _text(self) -> List[types.Completion]:
        h = self.call.handle
        index, channel = lib.sluice_call_choice(h), lib.sluice_call_channel(h)
        text = self._read_text(index, channel)
        logprobs = _completion_logprobs(_logprobs_json(self.call))
        if not text and not logprobs:
            return []
        choice = self._piece(index, channel, text)
        choice.logprobs = logprobs
        return [self._chunk(choice)]

    def _done(self) -> List[types.Completion]:
        note_end(self.call)
        out: List[types.Completion] = []
        for index, choice in sorted(self.choices.items()):
            for channel in (Channel.THINKING, Channel.ANSWER, Channel.REFUSAL):
                rest = _rest(choice.decoders[channel])
                out += [self._chunk(self._piece(index, channel, rest))] if rest else []
            reason = finish_of(self.call, index, False)
            out.append(self._chunk(types.CompletionChoice(index, "", reason)))
        if self.include_usage:
            call = self.call
            last = types.Completion(self.id, [], self.created, call.model, sluice=call.info)
            last.usage = usage_of(call)
            out.append(last)
        return out


def tool_call_id(call: Call, choice: int, index: int) -> str:
    """For model servers that give none (Ollama): the same as over HTTP."""
    return f"call_{call.request_id}_{choice}_{index}"


# ---------------------------------------------------------------------------------------------- wholes


class _CollectedChoice:
    def __init__(self) -> None:
        self.texts: Tuple[List[bytes], ...] = ([], [], [])  # by channel
        self.logprobs: Optional[Dict[str, Any]] = None
        self.calls: Dict[int, Tuple[str, str, List[bytes]]] = {}  # id, name, arguments

    def text(self, channel: int) -> str:
        return b"".join(self.texts[channel]).decode("utf-8", "replace")


class Collector:
    """Feed it every event; after DONE result() is the whole answer."""

    def __init__(self, call: Call):
        self.call = call
        self.created = int(time.time())
        self.choices: Dict[int, _CollectedChoice] = {0: _CollectedChoice()}

    def feed(self, event: int) -> None:
        if event == Event.TEXT:
            self._text()
        elif event == Event.TOOL_CALL:
            self._tool_call()

    def _choice(self) -> _CollectedChoice:
        return self.choices.setdefault(lib.sluice_call_choice(self.call.handle), _CollectedChoice())

    def _text(self) -> None:
        choice, h = self._choice(), self.call.handle
        choice.texts[lib.sluice_call_channel(h)].append(copy_bytes(lib.sluice_call_text, h))
        choice.logprobs = _join_logprobs(choice.logprobs, _logprobs_json(self.call))

    def _tool_call(self) -> None:
        choice, h = self._choice(), self.call.handle
        at = lib.sluice_call_tool_index(h)
        if at not in choice.calls:
            index = lib.sluice_call_choice(h)
            ident = _text(lib.sluice_call_tool_id, h) or tool_call_id(self.call, index, at)
            choice.calls[at] = (ident, _text(lib.sluice_call_tool_name, h), [])
        choice.calls[at][2].append(copy_bytes(lib.sluice_call_tool_arguments, h))

    def result(self) -> Any:
        note_end(self.call)
        build = self._chat if self.call.kind == "chat" else self._completion
        return build(sorted(self.choices.items()))

    def _chat(self, choices: List[Tuple[int, _CollectedChoice]]) -> types.ChatCompletion:
        call = self.call
        found = [
            types.Choice(
                finish_of(call, index, bool(c.calls)),
                index,
                self._message(c),
                _chat_logprobs(c.logprobs),
            )
            for index, c in choices
        ]
        ident = ChatChunks.prefix + call.request_id
        out = types.ChatCompletion(ident, found, self.created, call.model, usage=usage_of(call))
        out.sluice = call.info
        return out

    def _message(self, c: _CollectedChoice) -> types.ChatCompletionMessage:
        calls = [
            types.ChatCompletionMessageToolCall(
                ident, types.Function(b"".join(pieces).decode("utf-8", "replace") or "{}", name)
            )
            for _, (ident, name, pieces) in sorted(c.calls.items())
        ]
        text, refusal = c.text(Channel.ANSWER), c.text(Channel.REFUSAL)
        return types.ChatCompletionMessage(
            content=None if (calls or refusal) and not text else text,
            refusal=refusal or None,
            tool_calls=calls or None,
            reasoning_content=c.text(Channel.THINKING) or None,
        )

    def _completion(self, choices: List[Tuple[int, _CollectedChoice]]) -> types.Completion:
        call = self.call
        found = [
            types.CompletionChoice(
                index,
                c.text(Channel.ANSWER) + c.text(Channel.REFUSAL),
                finish_of(call, index, False),
                _completion_logprobs(c.logprobs),
                c.text(Channel.THINKING) or None,
            )
            for index, c in choices
        ]
        ident = CompletionChunks.prefix + call.request_id
        out = types.Completion(ident, found, self.created, call.model, usage=usage_of(call))
        out.sluice = call.info
        return out


class Vectors:
    """The Collector of embeddings."""

    def __init__(self, call: Call, wants_base64: bool):
        self.call = call
        self.wants_base64 = wants_base64
        self.data: List[types.Embedding] = []

    def feed(self, event: int) -> None:
        if event != Event.EMBEDDING:
            return
        h = self.call.handle
        values = array.array("f", _floats(h))
        index = lib.sluice_call_embedding_index(h)
        self.data.append(types.Embedding(self._form(values), index))

    def _form(self, values: "array.array[float]") -> Any:
        if not self.wants_base64:
            return values.tolist()
        if sys.byteorder == "big":
            values.byteswap()
        return base64.b64encode(values.tobytes()).decode()

    def result(self) -> types.CreateEmbeddingResponse:
        note_end(self.call)
        usage = _input_usage(self.call)
        out = types.CreateEmbeddingResponse(self.data, self.call.model, usage=usage)
        out.sluice = self.call.info
        return out


class Ranks:
    """The Collector of a rerank."""

    def __init__(self, call: Call, documents: List[str], return_documents: Optional[bool]):
        self.call = call
        self.documents = documents
        self.return_documents = return_documents
        self.results: List[types.RerankResult] = []

    def feed(self, event: int) -> None:
        if event == Event.RESULT:
            index, score, raw = _result(self.call)
            self.results.append(types.RerankResult(index, score, self._document(index, raw), raw))

    def _document(self, index: int, raw: Dict[str, Any]) -> Optional[types.RerankDocument]:
        wanted = self.return_documents
        if wanted is None:
            wanted = raw.get("document") is not None
        is_known = index < len(self.documents)
        return types.RerankDocument(self.documents[index]) if wanted and is_known else None

    def result(self) -> types.RerankResponse:
        note_end(self.call)
        ident = "rerank-" + self.call.info.request_id
        out = types.RerankResponse(ident, self.results, self.call.model, usage=_input_usage(self.call))
        out.sluice = self.call.info
        return out


class Labels:
    """The Collector of a classify."""

    def __init__(self, call: Call):
        self.call = call
        self.created = int(time.time())
        self.data: List[types.ClassifyResult] = []

    def feed(self, event: int) -> None:
        if event == Event.RESULT:
            index, score, raw = _result(self.call)
            known = raw if isinstance(raw, dict) else {}
            label, probs, n = (known.get(k) for k in ("label", "probs", "num_classes"))
            self.data.append(types.ClassifyResult(index, label, probs, n, score, raw))

    def result(self) -> types.ClassifyResponse:
        note_end(self.call)
        ident = "classify-" + self.call.info.request_id
        usage = _input_usage(self.call)
        out = types.ClassifyResponse(ident, self.data, self.created, self.call.model, usage=usage)
        out.sluice = self.call.info
        return out


def _result(call: Call) -> Tuple[int, float, Any]:
    h = call.handle
    raw = json.loads(copy_bytes(lib.sluice_call_result_json, h))
    return lib.sluice_call_result_index(h), lib.sluice_call_result_score(h), raw


def _input_usage(call: Call) -> types.EmbeddingUsage:
    n = lib.sluice_call_input_tokens(call.handle)
    return types.EmbeddingUsage(n, n)


def _floats(handle: Any) -> bytes:
    import ctypes

    n = ctypes.c_size_t()
    at = lib.sluice_call_embedding(handle, n)
    return ctypes.string_at(at, n.value * ctypes.sizeof(ctypes.c_float)) if n.value else b""


# ---------------------------------------------------------------------------------------------- replies


def _number(call: Call, field: int) -> int:
    return int(lib.sluice_call_reply_number(call.handle, field))


def _reply_text(call: Call, field: int) -> str:
    return str(lib.sluice_call_reply_text(call.handle, field).decode("utf-8", "replace"))


def _row_number(call: Call, row: int, field: int) -> int:
    return int(lib.sluice_call_row_number(call.handle, row, field))


def _row_text(call: Call, row: int, field: int) -> str:
    return str(lib.sluice_call_row_text(call.handle, row, field).decode("utf-8", "replace"))


def _row_lines(call: Call, row: int, field: int) -> List[str]:
    return [word for word in _row_text(call, row, field).split("\n") if word]


def models_of(call: Call) -> types.ModelList:
    created = int(time.time())
    rows = range(lib.sluice_call_n_rows(call.handle))
    return types.ModelList(
        [
            types.Model(
                id=_row_text(call, i, Field.MODEL),
                created=created,
                provider=_row_text(call, i, Field.PROVIDER),
                deployments=_row_number(call, i, Field.DEPLOYMENTS),
                available_deployments=_row_number(call, i, Field.AVAILABLE_DEPLOYMENTS),
                memory_state=_row_text(call, i, Field.MEMORY_STATE),
                need_bytes=_row_number(call, i, Field.NEED_BYTES),
                need_source=_row_text(call, i, Field.NEED_SOURCE),
                fits=_row_text(call, i, Field.FITS),
                file_bytes=_row_number(call, i, Field.FILE_BYTES),
                held_bytes=_row_number(call, i, Field.HELD_BYTES),
                upstream_model=_row_text(call, i, Field.UPSTREAM_MODEL),
                api_base=_row_text(call, i, Field.API_BASE),
            )
            for i in rows
        ]
    )


def _rows_of(call: Call, rows: int) -> range:
    """From now on the functions for rows read these."""
    lib.sluice_call_select_rows(call.handle, rows)
    return range(lib.sluice_call_n_rows(call.handle))


def _classes_of(call: Call) -> List[types.ClassStatus]:
    classes = [
        types.ClassStatus(
            name=_row_text(call, i, Field.NAME),
            calls_queued=_row_number(call, i, Field.ROW_QUEUED),
            calls_running=_row_number(call, i, Field.ROW_RUNNING),
            oldest_seconds=_row_number(call, i, Field.OLDEST_USEC) / 1e6,
        )
        for i in _rows_of(call, Rows.CLASSES)
    ]
    lib.sluice_call_select_rows(call.handle, Rows.OWN)
    return classes


def _callers_of(call: Call) -> List[types.CallerStatus]:
    callers = [
        types.CallerStatus(
            name=_row_text(call, i, Field.NAME),
            calls_queued=_row_number(call, i, Field.ROW_QUEUED),
            calls_running=_row_number(call, i, Field.ROW_RUNNING),
            weight=_row_number(call, i, Field.WEIGHT),
            idle_seconds=_row_number(call, i, Field.IDLE_USEC) / 1e6,
        )
        for i in _rows_of(call, Rows.CALLERS)
    ]
    lib.sluice_call_select_rows(call.handle, Rows.OWN)
    return callers


def status_of(call: Call) -> types.Status:
    deployments = [
        types.DeploymentStatus(
            model=_row_text(call, i, Field.MODEL),
            id=_row_text(call, i, Field.DEPLOYMENT),
            provider=_row_text(call, i, Field.PROVIDER),
            slots=_row_number(call, i, Field.SLOTS),
            slots_in_use=_row_number(call, i, Field.SLOTS_IN_USE),
            is_available=bool(_row_number(call, i, Field.AVAILABLE)),
            unavailable_reason=_row_text(call, i, Field.UNAVAILABLE_REASON),
            upstream_model=_row_text(call, i, Field.UPSTREAM_MODEL),
            api_base=_row_text(call, i, Field.API_BASE),
            is_loaded=bool(_row_number(call, i, Field.LOADED)),
            idle_seconds=_row_number(call, i, Field.IDLE_USEC) / 1e6 or None,
            server_version=_row_text(call, i, Field.SERVER_VERSION),
            order=_row_number(call, i, Field.ORDER) or None,
            weight=_row_number(call, i, Field.WEIGHT_PERMILLE) / 1000 or None,
            tags=_row_lines(call, i, Field.TAGS),
            is_local_only=bool(_row_number(call, i, Field.LOCAL_ONLY)),
            paused_seconds=_row_number(call, i, Field.PAUSED_USEC) / 1e6 or None,
            aliases=_row_lines(call, i, Field.ALIASES),
            memory_state=_row_text(call, i, Field.MEMORY_STATE),
            need_bytes=_row_number(call, i, Field.NEED_BYTES),
            need_source=_row_text(call, i, Field.NEED_SOURCE),
            fits=_row_text(call, i, Field.FITS),
            file_bytes=_row_number(call, i, Field.FILE_BYTES),
            held_bytes=_row_number(call, i, Field.HELD_BYTES),
        )
        for i in range(lib.sluice_call_n_rows(call.handle))
    ]
    return types.Status(
        tokens_in=_number(call, Field.TOKENS_IN),
        tokens_out=_number(call, Field.TOKENS_OUT),
        pieces_out=_number(call, Field.PIECES_OUT),
        classes=_classes_of(call),
        callers=_callers_of(call),
        version=_reply_text(call, Field.VERSION),
        uptime_seconds=_number(call, Field.UPTIME_USEC) / 1e6,
        pressure_level=_number(call, Field.PRESSURE_LEVEL),
        pressure_source=_reply_text(call, Field.PRESSURE_SOURCE),
        pressure_some_permille=_number(call, Field.PRESSURE_SOME_PERMILLE),
        pressure_full_permille=_number(call, Field.PRESSURE_FULL_PERMILLE),
        pressure_reason=_reply_text(call, Field.PRESSURE_REASON),
        headroom_bytes=_number(call, Field.HEADROOM_BYTES),
        memory_bytes=_number(call, Field.MEMORY_BYTES),
        is_draining=bool(_number(call, Field.DRAINING)),
        config_generation=_number(call, Field.CONFIG_GENERATION),
        connections=_number(call, Field.CONNECTIONS),
        calls_queued=_number(call, Field.CALLS_QUEUED),
        calls_running=_number(call, Field.CALLS_RUNNING),
        calls_completed=_number(call, Field.CALLS_COMPLETED),
        calls_failed=_number(call, Field.CALLS_FAILED),
        calls_cancelled=_number(call, Field.CALLS_CANCELLED),
        calls_refused=_number(call, Field.CALLS_REFUSED),
        tickets=_number(call, Field.TICKETS),
        reservations=_number(call, Field.RESERVATIONS),
        reserved_bytes=_number(call, Field.RESERVED_BYTES),
        model_loads=_number(call, Field.MODEL_LOADS),
        model_unloads=_number(call, Field.MODEL_UNLOADS),
        loads_stopped=_number(call, Field.LOADS_STOPPED),
        unloads_stuck=_number(call, Field.UNLOADS_STUCK),
        quarantines=_number(call, Field.QUARANTINES),
        calls_spilled_level=_number(call, Field.CALLS_SPILLED_LEVEL),
        calls_spilled_wait=_number(call, Field.CALLS_SPILLED_WAIT),
        calls_spilled_room=_number(call, Field.CALLS_SPILLED_ROOM),
        deployments=deployments,
    )


def info_of(call: Call) -> types.Info:
    rows = range(lib.sluice_call_n_rows(call.handle))
    return types.Info(
        version=_reply_text(call, Field.VERSION),
        api_level=_number(call, Field.API_LEVEL),
        features=[_row_text(call, i, Field.FEATURE) for i in rows],
        max_frame_bytes=_number(call, Field.MAX_FRAME_BYTES),
        max_calls=_number(call, Field.MAX_CALLS),
        max_messages=_number(call, Field.MAX_MESSAGES),
        max_inputs=_number(call, Field.MAX_INPUTS),
        high_water_bytes=_number(call, Field.HIGH_WATER_BYTES),
        stalled_reader_seconds=_number(call, Field.STALLED_READER_USEC) / 1e6,
        file_descriptor_set=copy_bytes(lib.sluice_call_descriptor_set, call.handle),
    )


def reload_of(call: Call) -> types.ReloadResult:
    return types.ReloadResult(_number(call, Field.CONFIG_GENERATION), _number(call, Field.MODELS))


def drain_of(call: Call) -> types.DrainResult:
    return types.DrainResult(_number(call, Field.CALLS_RUNNING))


def load_of(call: Call) -> types.LoadResult:
    took = _number(call, Field.LOAD_USEC) / 1e6
    return types.LoadResult(bool(_number(call, Field.WAS_THERE)), took, _number(call, Field.NEED_BYTES))


def unload_of(call: Call) -> types.UnloadResult:
    return types.UnloadResult(_number(call, Field.UNLOADED), _number(call, Field.UNCHANGED))


def explanation_of(call: Call) -> types.Explanation:
    return types.Explanation(
        verdict=_reply_text(call, Field.VERDICT),
        text=_reply_text(call, Field.TEXT),
        code=_reply_text(call, Field.CODE) or None,
        wait_seconds=_number(call, Field.WAIT_USEC) / 1e6 or None,
        position=_number(call, Field.POSITION) or None,
    )


class States(_Pieces):
    """The pieces of a watch."""

    def feed(self, event: int) -> List[types.Status]:
        return [status_of(self.call)] if event == Event.STATUS else []


def found_of(call: Call) -> bool:
    return bool(_number(call, Field.FOUND))
