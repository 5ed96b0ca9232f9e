# shellcheck shell=bash
# The Python environment of ./dev: clang-format, pytest, the openai package, in the
# versions that requirements.txt (and tests/e2e/requirements.txt, which it includes) names.
#
# Sourced, never run. Lies in $CACHE/py; made anew when requirements.txt or the Python that made it changes.

PY=$CACHE/py/bin/python
# tests/lint/lint_format.py takes the formatter from here
export SLUICE_CLANG_FORMAT=$CACHE/py/bin/clang-format

need_python() {
    local wanted
    wanted=$(cat dev.d/requirements.txt tests/e2e/requirements.txt | sha256sum | cut -c 1-16)-$(python3 -VV)
    stamped "$CACHE/py/.done" "$wanted" && return 0
    rm -rf "$CACHE/py"
    mkdir -p "$CACHE"
    step venv "making a Python environment with openai, pytest and clang-format" _make_python
    printf '%s\n' "$wanted" >"$CACHE/py/.done"
}

_make_python() {
    python3 -m venv "$CACHE/py" &&
        "$PY" -m pip --disable-pip-version-check --no-input install -r dev.d/requirements.txt
}
