"""sluice.h, libsluice.map and the table of prototypes say the same: names, types, constants."""

from __future__ import annotations

import re
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
from typing import Any, Dict, List, Tuple

from conftest import SOURCE
from sluice import _native
from sluice._native import PROTOTYPES, CallHandle, ClientHandle, RequestHandle

TYPES: Dict[str, Any] = {
    "void": None,
    "int": c_int,
    "double": c_double,
    "uint32_t": c_uint32,
    "uint64_t": c_uint64,
    "int64_t": c_int64,
    "size_t": c_size_t,
    "size_t *": POINTER(c_size_t),
    "uint64_t *": POINTER(c_uint64),
    "void *": c_void_p,
    "float *": c_void_p,
    "char *": c_char_p,
    "sluice_client *": ClientHandle,
    "sluice_request *": RequestHandle,
    "sluice_call *": CallHandle,
    "sluice_client **": POINTER(ClientHandle),
    "sluice_request **": POINTER(RequestHandle),
    "sluice_call **": POINTER(CallHandle),
}
# char * results with a length beside them: not NUL-terminated, so not c_char_p
BYTES = {
    *("sluice_call_text", "sluice_call_logprobs_json", "sluice_call_tool_arguments"),
    "sluice_call_result_json",
}


def header() -> str:
    text = (SOURCE / "clients" / "c" / "sluice.h").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"^[ \t]*#.*$", "", text, flags=re.M)


def type_of(declaration: str) -> str:
    """ "const char *text" -> "char *"."""
    match = re.match(r"(?:const )?(\w+) (\**)\w*$", declaration)
    assert match, declaration
    return f"{match.group(1)} {match.group(2)}".rstrip()


def declared() -> Dict[str, Tuple[str, List[str]]]:
    found = {}
    text = re.sub(r"\s+", " ", header())
    for result, name, arguments in re.findall(r"((?:const )?\w+ \**)(sluice_\w+)\(([^)]*)\)", text):
        parts = [] if arguments == "void" else arguments.split(",")
        found[name] = (type_of(result + "x"), [type_of(p.strip()) for p in parts])
    return found


def test_every_function_has_its_prototype() -> None:
    functions = declared()
    assert len(functions) > 70
    assert set(functions) == set(PROTOTYPES)
    for name, (result, arguments) in functions.items():
        wanted = c_void_p if name in BYTES else TYPES[result]
        assert PROTOTYPES[name] == (wanted, tuple(TYPES[a] for a in arguments)), name
        function = getattr(_native.lib, name)
        assert function.restype is wanted, name
        assert function.argtypes == [TYPES[a] for a in arguments], name


def test_the_symbol_map_lists_them() -> None:
    text = (SOURCE / "clients" / "c" / "libsluice.map").read_text()
    assert set(re.findall(r"\b(sluice_\w+);", text)) == set(PROTOTYPES)


def test_constants() -> None:
    enums = re.findall(r"enum sluice_(\w+) \{(.*?)\}", header(), re.S)
    assert {name for name, _ in enums} == set(_native.ENUMS)
    for name, body in enums:
        prefix = f"SLUICE_{name.upper()}_"
        wanted = {k: int(v) for k, v in re.findall(rf"{prefix}(\w+)\s*=\s*(\d+)", body)}
        ours = {k: v for k, v in vars(_native.ENUMS[name]).items() if k.isupper()}
        assert ours == wanted, name


def test_abi() -> None:
    text = (SOURCE / "clients" / "c" / "sluice.h").read_text()
    found = re.findall(r"#define SLUICE_ABI_(?:MAJOR|MINOR) (\d+)", text)
    assert [int(n) for n in found] == [_native.ABI_MAJOR, _native.ABI_MINOR]
