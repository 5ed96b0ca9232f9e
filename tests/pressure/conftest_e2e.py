"""The environment of the end-to-end tests, whose file has the name that pytest keeps for itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("e2e_conftest", Path(__file__).parent.parent / "e2e" / "conftest.py")
assert _spec and _spec.loader
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
Env = _module.Env
