# shellcheck shell=bash
# The LiteLLM proxy beside sluice: a Python environment with a pinned release of it, and the suite that asks both the same.
#
# Sourced, never run. The environment lies in $CACHE/litellm and takes 0.75 GB, which is why only ./dev test compat and
# ./dev test all make it. It is made anew when its requirements or the Python that made it change.

LITELLM_REQUIREMENTS=tests/compat/requirements.txt

# Skipped, and counted, where LiteLLM cannot be installed.
suites_compat() {
    local hindrance
    hindrance=$(litellm_hindrance)
    if [ -z "$hindrance" ] && ! need_litellm; then
        hindrance="LiteLLM could not be installed"
    fi
    if [ -n "$hindrance" ]; then
        say "suite: LiteLLM beside sluice: SKIPPED: $hindrance"
        SKIPPED+=("LiteLLM beside sluice ($hindrance)")
        return
    fi
    suite "LiteLLM beside sluice" suite_compat "$@"
}

suite_compat() {
    build release &&
        SLUICED=$ROOT/build/release/bin/sluiced \
            "$PY" tests/compat/compat.py --litellm "$CACHE/litellm/bin/litellm" "$@" </dev/null
}

# Why it cannot be installed here; nothing where it can.
litellm_hindrance() {
    python3 -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' ||
        echo "the pinned LiteLLM needs Python 3.10 to 3.14, and this is $(python3 -V)"
}

need_litellm() {
    local wanted
    wanted=$(sha256sum <"$LITELLM_REQUIREMENTS" | cut -c 1-16)-$(python3 -VV)
    stamped "$CACHE/litellm/.done" "$wanted" && return 0
    rm -rf "$CACHE/litellm"
    mkdir -p "$CACHE"
    step litellm "installing the LiteLLM proxy to compare with (0.75 GB, a minute or two)" _make_litellm || return
    printf '%s\n' "$wanted" >"$CACHE/litellm/.done"
}

_make_litellm() {
    python3 -m venv "$CACHE/litellm" &&
        "$CACHE/litellm/bin/python" -m pip --disable-pip-version-check --no-input install -r "$LITELLM_REQUIREMENTS"
}
