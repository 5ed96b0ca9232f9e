"""libsluice as ctypes sees it: constants and a prototype for every function of sluice.h, and the loaded library.

The table is the whole of what this package knows about the C interface. A test compares it with the header and with the
library's symbol map, names, types and constants alike: a missing restype would cut pointers to 32 bits.

Nothing here owns an object. No callbacks: the library needs none.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    c_char_p,
    c_double,
    c_int,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, Dict, Optional, Tuple

from ._library import load

# The interface that this package was written for: the same major, no smaller minor (sluice_abi()).
ABI_MAJOR = 0
ABI_MINOR = 3


class ClientHandle(c_void_p):
    """A sluice_client *. Types of their own, so that ctypes refuses one handle in the place of another."""


class RequestHandle(c_void_p):
    """A sluice_request *."""


class CallHandle(c_void_p):
    """A sluice_call *."""


# Bytes with a length: not c_char_p, which would read up to a NUL.
_Bytes = c_void_p
_SizeOut = POINTER(c_size_t)

# name: (result, arguments). c_char_p is a NUL-terminated name; as a result ctypes copies it at once.
PROTOTYPES: Dict[str, Tuple[Any, Tuple[Any, ...]]] = {
    "sluice_version": (c_uint32, ()),
    "sluice_version_string": (c_char_p, ()),
    "sluice_abi": (c_uint32, ()),
    "sluice_connect": (c_int, (c_char_p, POINTER(ClientHandle))),
    "sluice_connect_fd": (c_int, (c_int, POINTER(ClientHandle))),
    "sluice_connect_error": (c_char_p, ()),
    "sluice_client_free": (ClientHandle, (ClientHandle,)),
    "sluice_client_is_connected": (c_int, (ClientHandle,)),
    "sluice_client_get_fd": (c_int, (ClientHandle,)),
    "sluice_client_get_events": (c_int, (ClientHandle,)),
    "sluice_client_get_timeout_usec": (c_int, (ClientHandle, POINTER(c_uint64))),
    "sluice_client_process": (c_int, (ClientHandle,)),
    "sluice_client_wait": (c_int, (ClientHandle, c_uint64)),
    "sluice_client_ready_call": (CallHandle, (ClientHandle,)),
    "sluice_client_counter": (c_uint64, (ClientHandle, c_int)),
    "sluice_chat_new": (c_int, (c_char_p, POINTER(RequestHandle))),
    "sluice_complete_new": (c_int, (c_char_p, c_char_p, c_size_t, POINTER(RequestHandle))),
    "sluice_embed_new": (c_int, (c_char_p, POINTER(RequestHandle))),
    "sluice_rerank_new": (c_int, (c_char_p, c_char_p, c_size_t, POINTER(RequestHandle))),
    "sluice_classify_new": (c_int, (c_char_p, POINTER(RequestHandle))),
    "sluice_models_new": (c_int, (POINTER(RequestHandle),)),
    "sluice_info_new": (c_int, (POINTER(RequestHandle),)),
    "sluice_status_new": (c_int, (POINTER(RequestHandle),)),
    "sluice_cancel_new": (c_int, (c_char_p, POINTER(RequestHandle))),
    "sluice_watch_new": (c_int, (c_uint64, POINTER(RequestHandle))),
    "sluice_reload_new": (c_int, (POINTER(RequestHandle),)),
    "sluice_drain_new": (c_int, (POINTER(RequestHandle),)),
    "sluice_unload_new": (c_int, (c_char_p, POINTER(RequestHandle))),
    "sluice_load_new": (c_int, (c_char_p, POINTER(RequestHandle))),
    "sluice_explain_new": (c_int, (c_char_p, c_char_p, c_int, POINTER(RequestHandle))),
    "sluice_request_free": (RequestHandle, (RequestHandle,)),
    "sluice_request_add_message": (c_int, (RequestHandle, c_int, c_char_p, c_size_t)),
    "sluice_request_add_image": (c_int, (RequestHandle, _Bytes, c_size_t, c_char_p)),
    "sluice_request_add_image_url": (c_int, (RequestHandle, c_char_p)),
    "sluice_request_add_tool_call": (
        c_int,
        (RequestHandle, c_char_p, c_char_p, c_char_p, c_size_t),
    ),
    "sluice_request_add_input": (c_int, (RequestHandle, c_char_p, c_size_t)),
    "sluice_request_add_stop": (c_int, (RequestHandle, c_char_p, c_size_t)),
    "sluice_request_set_int": (c_int, (RequestHandle, c_int, c_int64)),
    "sluice_request_set_double": (c_int, (RequestHandle, c_int, c_double)),
    "sluice_request_set_text": (c_int, (RequestHandle, c_int, c_char_p, c_size_t)),
    "sluice_call_start": (c_int, (ClientHandle, RequestHandle, POINTER(CallHandle))),
    "sluice_call_free": (CallHandle, (CallHandle,)),
    "sluice_call_next": (c_int, (CallHandle,)),
    "sluice_call_try_next": (c_int, (CallHandle,)),
    "sluice_call_cancel": (c_int, (CallHandle,)),
    "sluice_call_event": (c_int, (CallHandle,)),
    "sluice_call_client": (ClientHandle, (CallHandle,)),
    "sluice_call_request_id": (c_char_p, (CallHandle,)),
    "sluice_call_set_userdata": (None, (CallHandle, c_void_p)),
    "sluice_call_userdata": (c_void_p, (CallHandle,)),
    "sluice_call_queue_position": (c_uint32, (CallHandle,)),
    "sluice_call_model": (c_char_p, (CallHandle,)),
    "sluice_call_deployment": (c_char_p, (CallHandle,)),
    "sluice_call_text": (_Bytes, (CallHandle, _SizeOut)),
    "sluice_call_channel": (c_int, (CallHandle,)),
    "sluice_call_logprobs_json": (_Bytes, (CallHandle, _SizeOut)),
    "sluice_call_choice": (c_uint32, (CallHandle,)),
    "sluice_call_tool_index": (c_uint32, (CallHandle,)),
    "sluice_call_tool_id": (c_char_p, (CallHandle,)),
    "sluice_call_tool_name": (c_char_p, (CallHandle,)),
    "sluice_call_tool_arguments": (_Bytes, (CallHandle, _SizeOut)),
    "sluice_call_embedding_index": (c_uint32, (CallHandle,)),
    "sluice_call_embedding": (_Bytes, (CallHandle, _SizeOut)),
    "sluice_call_result_index": (c_uint32, (CallHandle,)),
    "sluice_call_result_score": (c_double, (CallHandle,)),
    "sluice_call_result_json": (_Bytes, (CallHandle, _SizeOut)),
    "sluice_call_n_choices": (c_size_t, (CallHandle,)),
    "sluice_call_finish_reason": (c_int, (CallHandle, c_size_t)),
    "sluice_finish_reason_name": (c_char_p, (c_int,)),
    "sluice_call_has_usage": (c_int, (CallHandle,)),
    "sluice_call_input_tokens": (c_uint64, (CallHandle,)),
    "sluice_call_cached_input_tokens": (c_uint64, (CallHandle,)),
    "sluice_call_output_tokens": (c_uint64, (CallHandle,)),
    "sluice_call_reasoning_output_tokens": (c_uint64, (CallHandle,)),
    "sluice_call_queue_usec": (c_uint64, (CallHandle,)),
    "sluice_call_first_token_usec": (c_uint64, (CallHandle,)),
    "sluice_call_total_usec": (c_uint64, (CallHandle,)),
    "sluice_call_error_code": (c_char_p, (CallHandle,)),
    "sluice_call_error_message": (c_char_p, (CallHandle,)),
    "sluice_call_error_param": (c_char_p, (CallHandle,)),
    "sluice_call_error_http_status": (c_int, (CallHandle,)),
    "sluice_call_error_rpc_status": (c_int, (CallHandle,)),
    "sluice_call_error_is_retryable": (c_int, (CallHandle,)),
    "sluice_call_error_retry_after_usec": (c_uint64, (CallHandle,)),
    "sluice_call_reply_number": (c_uint64, (CallHandle, c_int)),
    "sluice_call_reply_text": (c_char_p, (CallHandle, c_int)),
    "sluice_call_n_rows": (c_size_t, (CallHandle,)),
    "sluice_call_row_number": (c_uint64, (CallHandle, c_size_t, c_int)),
    "sluice_call_row_text": (c_char_p, (CallHandle, c_size_t, c_int)),
    "sluice_call_select_rows": (None, (CallHandle, c_int)),
    "sluice_call_descriptor_set": (_Bytes, (CallHandle, _SizeOut)),
}


class Role:
    SYSTEM, USER, ASSISTANT, TOOL = 1, 2, 3, 4


class Class:
    INTERACTIVE, BATCH, BACKGROUND = 1, 2, 3


class Int:
    CLASS, DEADLINE_USEC, MAX_TOKENS, SEED, TOP_K = range(1, 6)
    LOGPROBS, TOP_LOGPROBS, DIMENSIONS, TOP_N = range(6, 10)


class Double:
    TEMPERATURE, TOP_P, MIN_P, FREQUENCY_PENALTY, PRESENCE_PENALTY = range(1, 6)


class Text:
    REQUEST_ID, TOOLS_JSON, TOOL_CHOICE_JSON, RESPONSE_FORMAT_JSON = 1, 2, 3, 4
    REASONING_EFFORT, EXTRA_JSON, SUFFIX = 5, 6, 7
    MESSAGE_NAME, MESSAGE_TOOL_CALL_ID, MESSAGE_THINKING = 8, 9, 10


class Event:
    QUEUED, STARTED, TEXT, TOOL_CALL, EMBEDDING = range(1, 6)
    DONE, FAILED, REPLY, STATUS, RESULT = range(6, 11)


class Channel:
    ANSWER, THINKING, REFUSAL = range(3)


class Finish:
    UNKNOWN, STOP, LENGTH, TOOL_CALLS, CONTENT_FILTER = range(5)


class Counter:
    BYTES_SENT, BYTES_RECEIVED, FRAMES_SENT, FRAMES_RECEIVED, CALLS_STARTED, CALLS_OPEN = range(
        1, 7
    )


class Field:
    VERSION, API_LEVEL, MAX_FRAME_BYTES, MAX_CALLS, MAX_MESSAGES, MAX_INPUTS = range(1, 7)
    HIGH_WATER_BYTES, STALLED_READER_USEC, FEATURE, FOUND = range(7, 11)
    MODEL, PROVIDER, DEPLOYMENTS, AVAILABLE_DEPLOYMENTS, DEPLOYMENT = range(20, 25)
    SLOTS, SLOTS_IN_USE, AVAILABLE, UNAVAILABLE_REASON = range(25, 29)
    UPSTREAM_MODEL, API_BASE, LOADED, IDLE_USEC, SERVER_VERSION = range(29, 34)
    ORDER, WEIGHT_PERMILLE, TAGS, LOCAL_ONLY, PAUSED_USEC, ALIASES = range(34, 40)
    UPTIME_USEC, PRESSURE_LEVEL, PRESSURE_SOURCE = range(40, 43)
    PRESSURE_SOME_PERMILLE, PRESSURE_FULL_PERMILLE, DRAINING, CONFIG_GENERATION = range(43, 47)
    CONNECTIONS, CALLS_QUEUED, CALLS_RUNNING, CALLS_COMPLETED = range(47, 51)
    CALLS_FAILED, CALLS_CANCELLED, CALLS_REFUSED, TICKETS = range(51, 55)
    PRESSURE_REASON, HEADROOM_BYTES, MEMORY_BYTES, TOKENS_IN, TOKENS_OUT = range(55, 60)
    MODELS, UNLOADED, UNCHANGED, PIECES_OUT = range(60, 64)
    TEXT, VERDICT, CODE, WAIT_USEC, POSITION = range(64, 69)
    NAME, ROW_QUEUED, ROW_RUNNING, OLDEST_USEC, WEIGHT = range(70, 75)
    MEMORY_STATE, NEED_BYTES, NEED_SOURCE, FITS, FILE_BYTES, HELD_BYTES = range(75, 81)
    RESERVATIONS, RESERVED_BYTES, MODEL_LOADS, MODEL_UNLOADS = range(81, 85)
    LOADS_STOPPED, UNLOADS_STUCK, QUARANTINES, LOAD_USEC, WAS_THERE = range(85, 90)
    CALLS_SPILLED_LEVEL, CALLS_SPILLED_WAIT, CALLS_SPILLED_ROOM = range(90, 93)


class Rows:
    OWN, CLASSES, CALLERS = range(3)


# enum of sluice.h: the class here with its values. For the test; SLUICE_<PREFIX>_<NAME>.
ENUMS = {
    "role": Role,
    "class": Class,
    "int": Int,
    "double": Double,
    "text": Text,
    "event": Event,
    "channel": Channel,
    "finish": Finish,
    "counter": Counter,
    "field": Field,
    "rows": Rows,
}

USEC_NEVER = 2**64 - 1


def declare(library: ctypes.CDLL) -> None:
    """Gives every function its types. ImportError where the library lacks one."""
    for name, (result, arguments) in PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(
                f"{library._name} has no {name}: it is older than this package"
            ) from None
        function.restype = result
        function.argtypes = list(arguments)


lib: Any = load(ABI_MAJOR, ABI_MINOR)
declare(lib)


def copy_bytes(function: Any, handle: Optional[c_void_p]) -> bytes:
    """What a getter with a length lends, copied before anything else can happen to it."""
    n = c_size_t()
    at = function(handle, n)
    return ctypes.string_at(at, n.value) if n.value else b""
