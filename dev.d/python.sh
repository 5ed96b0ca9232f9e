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

# The LiteLLM proxy of tests/compat, pinned, in an environment of its own (0.75 GB): LITELLM is its program. 1 where it cannot be had.
# shellcheck disable=SC2034 # test.sh hands it over
LITELLM=$CACHE/litellm/bin/litellm

need_litellm() {
    local wanted
    wanted=$(sha256sum <tests/compat/requirements.txt | cut -c 1-16)-$(python3 -VV)
    stamped "$CACHE/litellm/.done" "$wanted" && return 0
    rm -rf "$CACHE/litellm"
    mkdir -p "$CACHE"
    step litellm "installing the LiteLLM proxy for comparison (0.75 GB, a minute or two)" _make_litellm || return 1
    printf '%s\n' "$wanted" >"$CACHE/litellm/.done"
}

_make_litellm() {
    python3 -m venv "$CACHE/litellm" &&
        "$CACHE/litellm/bin/python" -m pip --disable-pip-version-check --no-input install -r tests/compat/requirements.txt
}

# Why it cannot be installed here; nothing where it can.
litellm_hindrance() {
    python3 -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' ||
        echo "the pinned LiteLLM needs Python 3.10 to 3.14, and this is $(python3 -V)"
}
