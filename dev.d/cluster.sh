# shellcheck shell=bash
# A cluster behind sluice: a Python environment with Ray Serve, and the tests that put sluiced in front of it.
#
# Sourced, never run. The environment lies in $CACHE/ray and takes half a gigabyte, which is why only ./dev test cluster and
# ./dev test all make it.

CLUSTER=tests/cluster

# Skipped, and counted, where Ray has no package for this machine or this Python.
suites_cluster() {
    if ! need_ray; then
        say "suite: a cluster on Ray Serve: SKIPPED: Ray cannot be installed here"
        SKIPPED+=("a cluster on Ray Serve (no Ray for this machine)")
        return
    fi
    suite "a cluster on Ray Serve" suite_cluster "$@"
}

suite_cluster() {
    build dev &&
        SLUICED=$ROOT/build/dev/bin/sluiced SLUICE_TEST_RAY_PYTHON=$CACHE/ray/bin/python \
            "$PY" -m pytest -q -p no:cacheprovider -c tests/e2e/pytest.ini --rootdir "$CLUSTER" "$@" "$CLUSTER" </dev/null
}

need_ray() {
    local wanted
    wanted=$(sha256sum <"$CLUSTER/requirements.txt" | cut -c 1-16)-$(python3 -VV)
    stamped "$CACHE/ray/.done" "$wanted" && return 0
    rm -rf "$CACHE/ray"
    mkdir -p "$CACHE"
    step ray "making a Python environment with Ray Serve (once; half a gigabyte)" _make_ray || return
    printf '%s\n' "$wanted" >"$CACHE/ray/.done"
}

_make_ray() {
    python3 -m venv "$CACHE/ray" &&
        "$CACHE/ray/bin/python" -m pip --disable-pip-version-check --no-input install -r "$CLUSTER/requirements.txt"
}
