"""From the arguments that openai's create() takes to a request of libsluice.

build_chat(), build_complete(), build_embed(), build_rerank() and build_classify() return a Request, which owns the sluice_request: close it after the start. An argument
that is not known is a TypeError that names it; a value that cannot be is a BadRequestError with `param`, as from the daemon.
What OpenAI knows and the RPC has no place for goes to the model server as it is (extra_json).
"""

from __future__ import annotations

import base64
import binascii
import errno
import json
import os
from dataclasses import dataclass, is_dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Tuple,
    Union,
)

from ._errors import APIStatusError, bad_request
from ._native import Class, Double, Int, RequestHandle, Role, Text, lib

if TYPE_CHECKING:
    from typing import TypedDict

    class CallOptions(TypedDict, total=False):
        """What every call takes."""

        timeout: Optional[float]
        deadline: Optional[float]
        class_: Optional[str]
        priority: Optional[str]
        service_tier: Optional[str]
        request_id: Optional[str]
        user: Optional[str]

    class SamplingOptions(CallOptions, total=False):
        temperature: Optional[float]
        top_p: Optional[float]
        min_p: Optional[float]
        top_k: Optional[int]
        seed: Optional[int]
        frequency_penalty: Optional[float]
        presence_penalty: Optional[float]
        max_tokens: Optional[int]
        stop: Union[str, List[str], None]
        n: Optional[int]
        logit_bias: Optional[Dict[str, int]]
        stream_options: Optional[Mapping[str, Any]]
        extra_body: Optional[Mapping[str, Any]]

    class ChatOptions(SamplingOptions, total=False):
        max_completion_tokens: Optional[int]
        logprobs: Optional[bool]
        top_logprobs: Optional[int]
        tools: Optional[Iterable[Any]]
        tool_choice: Union[str, Mapping[str, Any], None]
        response_format: Optional[Mapping[str, Any]]
        reasoning_effort: Optional[str]
        parallel_tool_calls: Optional[bool]
        metadata: Optional[Mapping[str, str]]
        store: Optional[bool]
        verbosity: Optional[str]
        prompt_cache_key: Optional[str]
        safety_identifier: Optional[str]

    class CompleteOptions(SamplingOptions, total=False):
        logprobs: Optional[int]
        suffix: Optional[str]
        echo: Optional[bool]
        best_of: Optional[int]

    class EmbedOptions(CallOptions, total=False):
        dimensions: Optional[int]
        encoding_format: Optional[str]

    class RerankOptions(CallOptions, total=False):
        top_n: Optional[int]
        return_documents: Optional[bool]
        extra_body: Optional[Mapping[str, Any]]

    class ClassifyOptions(CallOptions, total=False):
        extra_body: Optional[Mapping[str, Any]]


_CLASSES = {"interactive": Class.INTERACTIVE, "batch": Class.BATCH, "background": Class.BACKGROUND}
_TIERS = {"flex": Class.BATCH}  # as over HTTP: what is not known is any other call
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}


class Request:
    """A sluice_request and what Python has to know about the call. Close it once."""

    def __init__(
        self,
        new: Callable[..., int],
        *arguments: Any,
        kind: str,
        model: str = "",
        param: str = "model",  # what the library judges when the request is made
    ):
        self.handle = RequestHandle()
        self.kind = kind
        self.model = model
        self.timeout: Optional[float] = None
        self.has_timeout = False
        self.include_usage = False
        self.wants_base64 = False
        self.documents: List[str] = []  # of a rerank
        self.return_documents: Optional[bool] = None
        check(new(*arguments, self.handle), param)

    def close(self) -> None:
        handle, self.handle = self.handle, RequestHandle()
        lib.sluice_request_free(handle)

    # ---- setters: what the library refuses is told with the argument's name

    def set_int(self, what: int, value: Any, param: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{param} must be an integer, not {type(value).__name__}")
        if not -(1 << 63) <= value < 1 << 63:
            raise bad_request(f"'{param}' is out of range", param)
        check(lib.sluice_request_set_int(self.handle, what, int(value)), param)

    def set_double(self, what: int, value: Any, param: str) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{param} must be a number, not {type(value).__name__}")
        check_float(value, param)
        check(lib.sluice_request_set_double(self.handle, what, value), param)

    def set_text(self, what: int, value: Any, param: str) -> None:
        data = encode(value, param)
        check(lib.sluice_request_set_text(self.handle, what, data, len(data)), param)

    def set_json(self, what: int, value: Any, param: str) -> None:
        self.set_text(what, to_json(value, param), param)


def check(r: int, param: str) -> None:
    """What the library says about an argument, as an exception."""
    if r >= 0:
        return
    if r == -errno.ENOMEM:
        raise MemoryError
    if r == -errno.EMSGSIZE:
        text = "the request is larger than the 4 MiB that fit into a frame"
        raise APIStatusError(text, status_code=413, code="payload_too_large", param=param)
    if r == -errno.EILSEQ:
        raise bad_request(f"'{param}' must not hold NUL characters", param)
    if r == -errno.E2BIG:
        raise bad_request(f"'{param}' has too many entries", param)
    if r == -errno.EINVAL:
        raise bad_request(f"'{param}' is out of range, or not for this kind of call", param)
    raise bad_request(f"'{param}': {os.strerror(-r)}", param)


def encode(value: Any, param: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{param} must be a string, not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise bad_request(f"'{param}' must not hold lone surrogates", param) from None


def check_float(value: Any, param: str) -> None:
    try:
        float(value)
    except OverflowError:
        raise bad_request(f"'{param}' is out of range", param) from None


def seconds_of(value: Any, param: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{param} must be seconds, not {type(value).__name__}")
    check_float(value, param)
    if not value > 0:  # nor NaN
        raise bad_request(f"'{param}' must be a positive number of seconds", param)
    return float(value)


def flag_of(value: Any, param: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{param} must be True or False, not {type(value).__name__}")
    return bool(value)


def items_of(value: Any, param: str) -> List[Any]:
    """Of a list or any other iterable, but not of what is one thing itself."""
    if isinstance(value, (str, bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{param} must be a list, not {type(value).__name__}")
    return list(value)


def name_bytes(value: Any, param: str) -> bytes:
    """For NUL-terminated arguments: what stands behind a NUL must not be lost in silence."""
    data = encode(value, param)
    if b"\0" in data:
        raise bad_request(f"'{param}' must not hold NUL characters", param)
    return data


def plain(value: Any) -> Any:
    """The dict behind an object of this package, of openai, or of pydantic; other values as they are."""
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(exclude_none=True)
    if is_dataclass(value) and not isinstance(value, type):
        return {k: v for k, v in vars(value).items() if v is not None}
    raise TypeError(f"{type(value).__name__} cannot be sent")


def to_json(value: Any, param: str) -> str:
    try:
        return json.dumps(
            value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=plain
        )
    except (TypeError, ValueError) as e:
        raise type(e)(f"{param}: {e}") from None


def as_mapping(value: Any, param: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    try:
        found = plain(value)
    except TypeError:
        found = None
    if not isinstance(found, Mapping):
        raise TypeError(f"{param} must be a dict, or an object with model_dump()")
    return found


# ---------------------------------------------------------------------------------------------- options


def check_class(value: Any, param: str) -> None:
    encode(value, param)
    if value not in _CLASSES:
        raise bad_request(f"'{param}' must be one of {', '.join(_CLASSES)}", param)


def _set_class(req: Request, value: Any, param: str) -> None:
    check_class(value, param)
    req.set_int(Int.CLASS, _CLASSES[value], param)


def _set_tier(req: Request, value: Any, param: str) -> None:
    encode(value, param)
    req.set_int(Int.CLASS, _TIERS.get(value, Class.INTERACTIVE), param)


def _set_deadline(req: Request, value: Any, param: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{param} must be seconds, not {type(value).__name__}")
    if not 0 < value < 1e9:
        raise bad_request(f"'{param}' must be a positive number of seconds", param)
    req.set_int(Int.DEADLINE_USEC, max(1, round(value * 1e6)), param)


def _set_timeout(req: Request, value: Any, param: str) -> None:
    req.timeout = seconds_of(value, param)


def _set_stop(req: Request, value: Any, param: str) -> None:
    for text in [value] if isinstance(value, str) else items_of(value, param):
        data = encode(text, param)
        check(lib.sluice_request_add_stop(req.handle, data, len(data)), param)


def _set_n(req: Request, value: Any, param: str) -> None:
    if value != 1:
        text = "only one answer is given for a call: 'n' must be 1"
        raise bad_request(text, param, "unsupported_parameter")


def _set_logprobs_chat(req: Request, value: Any, param: str) -> None:
    req.set_int(Int.LOGPROBS, int(flag_of(value, param)), param)


def _set_logprobs_complete(req: Request, value: Any, param: str) -> None:
    """Here it is the number of alternatives."""
    req.set_int(Int.TOP_LOGPROBS, value, param)
    req.set_int(Int.LOGPROBS, 1, param)


def _set_stream_options(req: Request, value: Any, param: str) -> None:
    req.include_usage = bool(as_mapping(value, param).get("include_usage"))


def _set_encoding_format(req: Request, value: Any, param: str) -> None:
    if value not in ("float", "base64"):
        raise bad_request(f"'{param}' must be 'float' or 'base64'", param)
    req.wants_base64 = value == "base64"


def _set_return_documents(req: Request, value: Any, param: str) -> None:
    req.return_documents = flag_of(value, param)


def _set_tools(req: Request, value: Any, param: str) -> None:
    tools = [as_mapping(tool, f"{param}[{i}]") for i, tool in enumerate(items_of(value, param))]
    if tools:
        req.set_json(Text.TOOLS_JSON, tools, param)


def _int(what: int) -> Callable[[Request, Any, str], None]:
    return lambda req, value, param: req.set_int(what, value, param)


def _double(what: int) -> Callable[[Request, Any, str], None]:
    return lambda req, value, param: req.set_double(what, value, param)


def _text(what: int) -> Callable[[Request, Any, str], None]:
    return lambda req, value, param: req.set_text(what, value, param)


def _json(what: int) -> Callable[[Request, Any, str], None]:
    return lambda req, value, param: req.set_json(what, value, param)


Setters = Dict[str, Callable[[Request, Any, str], None]]

_CALL: Setters = {
    "timeout": _set_timeout,
    "deadline": _set_deadline,
    "class_": _set_class,
    "priority": _set_class,
    "service_tier": _set_tier,
    "request_id": _text(Text.REQUEST_ID),
}
_SAMPLING: Setters = {
    **_CALL,
    "temperature": _double(Double.TEMPERATURE),
    "top_p": _double(Double.TOP_P),
    "min_p": _double(Double.MIN_P),
    "frequency_penalty": _double(Double.FREQUENCY_PENALTY),
    "presence_penalty": _double(Double.PRESENCE_PENALTY),
    "top_k": _int(Int.TOP_K),
    "seed": _int(Int.SEED),
    "max_tokens": _int(Int.MAX_TOKENS),
    "stop": _set_stop,
    "n": _set_n,
    "stream_options": _set_stream_options,
}
_CHAT: Setters = {
    **_SAMPLING,
    "max_completion_tokens": _int(Int.MAX_TOKENS),  # after max_tokens: the newer name wins
    "logprobs": _set_logprobs_chat,
    "top_logprobs": _int(Int.TOP_LOGPROBS),
    "tools": _set_tools,
    "tool_choice": _json(Text.TOOL_CHOICE_JSON),
    "response_format": _json(Text.RESPONSE_FORMAT_JSON),
    "reasoning_effort": _text(Text.REASONING_EFFORT),
}
_COMPLETE: Setters = {
    **_SAMPLING,
    "logprobs": _set_logprobs_complete,
    "suffix": _text(Text.SUFFIX),
}
_EMBED: Setters = {
    **_CALL,
    "dimensions": _int(Int.DIMENSIONS),
    "encoding_format": _set_encoding_format,
}
_RERANK: Setters = {
    **_CALL,
    "top_n": _int(Int.TOP_N),
    "return_documents": _set_return_documents,
}
# To the model server as they are.
_CARRIED = ("user", "logit_bias")
_CARRIED_CHAT = _CARRIED + (
    "parallel_tool_calls",
    "metadata",
    "store",
    "verbosity",
    "prompt_cache_key",
    "safety_identifier",
)
_CARRIED_COMPLETE = _CARRIED + ("echo", "best_of")
_IGNORED_EMBED = ("user",)


@dataclass(frozen=True)
class Table:
    """What create() of one kind knows."""

    setters: Setters
    carried: Tuple[str, ...] = ()
    ignored: Tuple[str, ...] = ()
    has_extra: bool = False
    function: str = "create"

    @property
    def names(self) -> List[str]:
        return [
            *self.setters,
            *self.carried,
            *self.ignored,
            *(["extra_body"] if self.has_extra else []),
        ]


CHAT = Table(_CHAT, _CARRIED_CHAT, has_extra=True)
COMPLETE = Table(_COMPLETE, _CARRIED_COMPLETE, has_extra=True)
EMBED = Table(_EMBED, ignored=_IGNORED_EMBED)
RERANK = Table(_RERANK, ("user",), has_extra=True, function="rerank")
CLASSIFY = Table(_CALL, ("user",), has_extra=True, function="classify")


def _apply(req: Request, table: Table, options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in table.names:
            raise TypeError(f"{table.function}() got an unexpected keyword argument '{name}'")
    if options.get("class_") and options.get("priority"):
        raise TypeError("class_ and priority are the same: give one of them")
    req.has_timeout = "timeout" in options
    given = {name: value for name, value in options.items() if value is not None}
    if "max_completion_tokens" in given:
        given.pop("max_tokens", None)
    if "class_" in given or "priority" in given:
        given.pop("service_tier", None)
    for name, setter in table.setters.items():
        if name in given:
            setter(req, given[name], name)
    if not table.has_extra:
        return
    extra = {name: given[name] for name in table.carried if name in given}
    extra.update(as_mapping(given.get("extra_body", {}), "extra_body"))
    if extra:
        req.set_json(Text.EXTRA_JSON, extra, "extra_body")


def _filled(req: Request, fill: Callable[[], None]) -> Request:
    try:
        fill()
    except BaseException:
        req.close()
        raise
    return req


# ---------------------------------------------------------------------------------------------- messages


def _image(req: Request, url: Any, param: str) -> None:
    if isinstance(url, Mapping):
        url = url.get("url")
    text = encode(url, param + ".url").decode()
    if not text.startswith("data:"):
        if not text.startswith(("http://", "https://")):
            raise bad_request(f"'{param}' must be a data: or http URL", param)
        check(lib.sluice_request_add_image_url(req.handle, name_bytes(text, param)), param)
        return
    head, comma, data = text[len("data:") :].partition(",")
    media_type, *words = head.split(";")
    if not comma or "base64" not in words:
        raise bad_request(f"'{param}' must be 'data:TYPE;base64,...'", param)
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise bad_request(f"'{param}' is not valid base64", param) from None
    name = name_bytes(media_type, param) or None
    check(lib.sluice_request_add_image(req.handle, content, len(content), name), param)


def _content(content: Any, param: str) -> Tuple[str, List[Tuple[Any, str]]]:
    """(text, images): text parts become one text, a line for each, as the HTTP port joins them."""
    if content is None:
        return "", []
    if isinstance(content, str):
        return content, []
    texts: List[str] = []
    images: List[Tuple[Any, str]] = []
    if isinstance(content, (bytes, Mapping)) or not isinstance(content, Iterable):
        raise TypeError(f"{param} must be a string or a list of parts")
    for i, item in enumerate(content):
        at = f"{param}[{i}]"
        part = {"type": "text", "text": item} if isinstance(item, str) else as_mapping(item, at)
        kind = part.get("type")
        if kind in ("text", "input_text", "refusal"):
            texts.append(encode(part.get("refusal" if kind == "refusal" else "text"), at).decode())
        elif kind in ("image_url", "input_image"):
            images.append((part.get("image_url"), f"{at}.image_url"))
        else:
            text = f"'{at}': parts of the type {kind!r} are not supported"
            raise bad_request(text, at, "unsupported_parameter")
    return "\n".join(texts), images


def _tool_call(req: Request, value: Any, param: str) -> None:
    call = as_mapping(value, param)
    function = as_mapping(call.get("function"), param + ".function")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = to_json(arguments if arguments is not None else {}, param)
    data = encode(arguments, param)
    ident = name_bytes(call.get("id") or "", param + ".id")
    name = name_bytes(function.get("name"), param + ".function.name")
    check(lib.sluice_request_add_tool_call(req.handle, ident, name, data, len(data)), param)


def _message(req: Request, value: Any, param: str) -> None:
    message = as_mapping(value, param)
    name = message.get("role")
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise bad_request(f"'{param}.role' must be one of {', '.join(_ROLES)}", f"{param}.role")
    text, images = _content(message.get("content"), f"{param}.content")
    data = encode(text, f"{param}.content")
    check(lib.sluice_request_add_message(req.handle, role, data, len(data)), param)
    for url, at in images:
        _image(req, url, at)
    for i, call in enumerate(items_of(message.get("tool_calls") or (), f"{param}.tool_calls")):
        _tool_call(req, call, f"{param}.tool_calls[{i}]")
    for name, what in (
        ("name", Text.MESSAGE_NAME),
        ("tool_call_id", Text.MESSAGE_TOOL_CALL_ID),
        ("reasoning_content", Text.MESSAGE_THINKING),
    ):
        if message.get(name):
            req.set_text(what, message[name], f"{param}.{name}")


# ---------------------------------------------------------------------------------------------- requests


def build_watch(interval: float) -> Request:
    if isinstance(interval, bool) or not isinstance(interval, (int, float)):
        raise TypeError(f"interval must be seconds, not {type(interval).__name__}")
    if not 0.1 <= interval <= 60:
        raise bad_request("'interval' must be 0.1 to 60 seconds", "interval")
    return Request(lib.sluice_watch_new, round(interval * 1e6), kind="watch")


def build_load(model: Any) -> Request:
    return Request(lib.sluice_load_new, name_bytes(model, "model"), kind="load", model=model)


def build_unload(model: Any) -> Request:
    return Request(lib.sluice_unload_new, name_bytes(model, "model"), kind="unload", model=model)


def build_explain(model: Any, request_id: Any, class_: Optional[str]) -> Request:
    name, ident = name_bytes(model, "model"), name_bytes(request_id, "request_id")
    if not name and not ident:
        raise bad_request("'model' or 'request_id' must be given", "model")
    if class_ is not None:
        check_class(class_, "class_")
    number = 0 if class_ is None else _CLASSES[class_]
    new, what = lib.sluice_explain_new, "explain"
    return Request(new, name, ident, number, kind=what, model=model, param="request_id")


def build_chat(model: Any, messages: Any, options: Mapping[str, Any]) -> Request:
    req = Request(lib.sluice_chat_new, name_bytes(model, "model"), kind="chat", model=model)

    def fill() -> None:
        _apply(req, CHAT, options)
        given = items_of(messages, "messages")
        for i, message in enumerate(given):
            _message(req, message, f"messages[{i}]")
        if not given:
            raise bad_request("'messages' must not be empty", "messages")

    return _filled(req, fill)


def build_complete(model: Any, prompt: Any, options: Mapping[str, Any]) -> Request:
    name = name_bytes(model, "model")
    if not isinstance(prompt, str):
        text = "'prompt' must be one string: lists and token ids are not supported"
        raise bad_request(text, "prompt", "unsupported_parameter")
    data = encode(prompt, "prompt")
    parts = (name, data, len(data))
    req = Request(
        lib.sluice_complete_new, *parts, kind="complete", model=model, param="prompt"
    )
    return _filled(req, lambda: _apply(req, COMPLETE, options))


def build_embed(model: Any, inputs: Any, options: Mapping[str, Any]) -> Request:
    name = name_bytes(model, "model")
    texts = _texts(inputs)
    req = Request(lib.sluice_embed_new, name, kind="embed", model=model)

    def fill() -> None:
        _apply(req, EMBED, options)
        _add_inputs(req, texts, "input")

    return _filled(req, fill)


def _texts(inputs: Any) -> List[str]:
    texts = [inputs] if isinstance(inputs, str) else items_of(inputs, "input")
    if not texts:
        raise bad_request("'input' must not be empty", "input")
    if not all(isinstance(text, str) for text in texts):
        text = "'input' must be a string or a list of strings: token ids are not supported"
        raise bad_request(text, "input", "unsupported_parameter")
    return texts


def _add_inputs(req: Request, texts: Iterable[str], param: str) -> None:
    for text in texts:
        data = encode(text, param)
        check(lib.sluice_request_add_input(req.handle, data, len(data)), param)


def _document(value: Any, param: str) -> str:
    """Its text: of a string, or of an object that is nothing else."""
    if isinstance(value, str):
        return value
    document = as_mapping(value, param)
    if set(document) != {"text"} or not isinstance(document["text"], str):
        text = f"'{param}' must be a string or {{'text': ...}}: other documents have the HTTP port"
        raise bad_request(text, param, "unsupported_parameter")
    return str(document["text"])


def build_rerank(model: Any, query: Any, documents: Any, options: Mapping[str, Any]) -> Request:
    name, data = name_bytes(model, "model"), encode(query, "query")
    given = items_of(documents, "documents")
    texts = [_document(document, f"documents[{i}]") for i, document in enumerate(given)]
    if not texts:
        raise bad_request("'documents' must not be empty", "documents")
    parts = (name, data, len(data))
    req = Request(lib.sluice_rerank_new, *parts, kind="rerank", model=model, param="query")
    req.documents = texts

    def fill() -> None:
        _apply(req, RERANK, options)
        _add_inputs(req, texts, "documents")

    return _filled(req, fill)


def build_classify(model: Any, inputs: Any, options: Mapping[str, Any]) -> Request:
    name = name_bytes(model, "model")
    texts = _texts(inputs)
    req = Request(lib.sluice_classify_new, name, kind="classify", model=model)

    def fill() -> None:
        _apply(req, CLASSIFY, options)
        _add_inputs(req, texts, "input")

    return _filled(req, fill)
