# shellcheck shell=bash
# The Python package: every Python that is to be found, an environment for each, its test suite, its wheels.
#
# Sourced, never run. Environments lie in $CACHE/bindings, one for each Python, made anew when the requirements or that Python change.
#
# Wheels (./dev wheel) are the sdist, the pure wheel (for distributions: it uses the system's libsluice), and a wheel with
# libsluice inside. That library is a build of its own: protobuf-c linked statically and no packed relocations (they need glibc
# 2.36), so that it needs nothing but a C library. How old that may be is read from the library itself and becomes the wheel's tag.

BINDING=bindings/python
BINDING_MINORS="8 9 10 11 12 13 14" # of Python 3
WHEEL_BUILD=build/wheel
WHEEL_DIST=build/wheel/dist

# ---------------------------------------------------------------- Pythons and environments

# binding_python MINOR: prints the path of a Python 3.MINOR that can make environments; the newest patch where there are several.
binding_python() {
    local path
    for path in "/usr/bin/python3.$1" "/usr/local/bin/python3.$1" \
        $(find "$HOME/.pyenv/versions" -maxdepth 1 -name "3.$1.*" 2>/dev/null | sort -rV | sed 's|$|/bin/python3|'); do
        if "$path" -c "import sys, ctypes, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, $1))" 2>/dev/null; then
            echo "$path"
            return 0
        fi
    done
    return 1
}

# need_binding_env NAME PYTHON REQUIREMENTS-FILE: an environment in $CACHE/bindings/NAME.
need_binding_env() {
    local dir=$CACHE/bindings/$1 wanted
    wanted=$(sha256sum <"$3" | cut -c 1-16)-$("$2" -VV)
    stamped "$dir/.done" "$wanted" && return 0
    rm -rf "$dir"
    mkdir -p "$CACHE/bindings"
    step "bindings-$1" "making a Python environment ($1)" _make_binding_env "$dir" "$2" "$3" || return
    printf '%s\n' "$wanted" >"$dir/.done"
}

_make_binding_env() {
    "$2" -m venv "$1" &&
        "$1/bin/python" -m pip --disable-pip-version-check --no-input install -r "$3"
}

# ---------------------------------------------------------------- tests

# ./dev test's own Python runs everything, also what does not depend on its version. Then the other Pythons, and the own one once
# more with a libsluice that has sanitizers, as many at a time as there are processors.
suites_python() {
    suite "Python package, types" suite_python_types
    suite "Python package" suite_python
    suite "Python package, other Pythons, and libsluice with sanitizers" suite_other_pythons
}

binding_pytest() {
    local python=$1
    shift
    SLUICED=${SLUICED:-$ROOT/build/dev/bin/sluiced} PYTHONDONTWRITEBYTECODE=1 \
        "$python" -m pytest -q -c "$BINDING/pyproject.toml" "$@" "$BINDING/tests" </dev/null
}

suite_python_types() {
    need_binding_env build "$PY" "$BINDING/build-requirements.txt" &&
        (cd "$BINDING" && "$CACHE/bindings/build/bin/python" -m mypy --cache-dir "$ROOT/build/mypy")
}

suite_python() {
    build dev && build release && build_wheels &&
        SLUICE_LIBRARY=$ROOT/build/release/lib/libsluice.so.0 SLUICE_TEST_DIST=$ROOT/$WHEEL_DIST \
            SLUICE_TEST_BUILD_PYTHON=$CACHE/bindings/build/bin/python binding_pytest "$PY"
}

suite_other_pythons() {
    local minor path found=() missing=()
    for minor in $BINDING_MINORS; do
        if [ "$minor" = "$("$PY" -c 'import sys; print(sys.version_info[1])')" ]; then
            continue
        elif path=$(binding_python "$minor"); then
            need_binding_env "3.$minor" "$path" "$BINDING/tests/requirements.txt" || return
            found+=("3.$minor")
        else
            missing+=("3.$minor")
        fi
    done
    say "Pythons found beside $("$PY" -V): ${#found[@]} (${found[*]:-none}); not on this machine: ${#missing[@]} (${missing[*]:-none})"
    export BINDING CACHE ROOT PY
    export -f binding_pytest
    each other_python_one sanitized "${found[@]}"
}

# other_python_one VERSION|sanitized. The Python itself has no sanitizer, so that has to be loaded before it.
other_python_one() {
    local log=build/python-$1.log python=$CACHE/bindings/$1/bin/python
    if [ "$1" = sanitized ]; then
        python=$PY
        export SLUICE_LIBRARY=$ROOT/build/dev/lib/libsluice.so.0 ASAN_OPTIONS=detect_leaks=0
        LD_PRELOAD=$(gcc -print-file-name=libasan.so)
        export LD_PRELOAD
    else
        export SLUICE_LIBRARY=$ROOT/build/release/lib/libsluice.so.0 SLUICED=$ROOT/build/release/bin/sluiced
    fi
    if binding_pytest "$python" -m "not once" >"$log" 2>&1; then
        printf '   Python %s: %s\n' "$1" "$(tail -n 1 "$log")"
    else
        printf '   Python %s FAILED; the end of %s:\n' "$1" "$log"
        tail -n 60 "$log" | sed 's/^/   | /'
        return 1
    fi
}

# ---------------------------------------------------------------- wheels

wheel_command() {
    # shellcheck disable=SC2046 # a list of words
    need_packages "the Python packages" $(packages_build) $(packages_python)
    need_python
    build_wheels
    say "built, in $WHEEL_DIST:"
    (cd "$WHEEL_DIST" && ls -1) | sed 's/^/   /' >&2
}

build_wheels() {
    need_binding_env build "$PY" "$BINDING/build-requirements.txt" &&
        step wheel-configure "configuring (wheel)" cmake -G Ninja -B "$WHEEL_BUILD" -DCMAKE_BUILD_TYPE=Release \
            -DCMAKE_C_COMPILER=gcc -DSLUICE_HARDEN=ON -DSLUICE_STATIC_PROTOBUF_C=ON -Dhave_relr=OFF &&
        step wheel-library "building libsluice (wheel)" cmake --build "$WHEEL_BUILD" --target sluice &&
        strip -o "$WHEEL_BUILD/libsluice.so.0" "$WHEEL_BUILD/lib/libsluice.so.0" || return
    rm -rf "$WHEEL_DIST"
    step wheel-sdist "making the sdist" _python_package "" "" sdist &&
        step wheel-pure "making the pure wheel" _python_package "" "" bdist_wheel &&
        step wheel-bundled "making the wheel with libsluice" _python_package \
            "$WHEEL_BUILD/libsluice.so.0" "$(_wheel_platform "$WHEEL_BUILD/libsluice.so.0")" bdist_wheel
}

# _python_package LIBRARY PLATFORM COMMAND: from a copy, because setuptools builds inside the source.
_python_package() {
    local copy library=$1 platform=$2 rc=0
    copy=$(mktemp -d) || return
    cp -rL "$BINDING/." "$copy" && rm -rf "$copy"/build "$copy"/dist "$copy"/*.egg-info || return
    [ -z "$library" ] || cp "$library" "$copy/libsluice.so.0" || return
    (cd "$copy" && SLUICE_BUNDLE_LIBRARY=${library:+libsluice.so.0} SLUICE_BUNDLE_PLATFORM=$platform \
        "$CACHE/bindings/build/bin/python" setup.py "$3" --dist-dir "$ROOT/$WHEEL_DIST") || rc=$?
    rm -rf "$copy"
    return "$rc"
}

# manylinux_2_N_ARCH where the library needs glibc alone, of at most 2.N (PEP 600); else a tag that only says Linux.
_wheel_platform() {
    local arch versions
    arch=$(uname -m)
    versions=$(readelf -V "$1" | grep -o 'GLIBC_[A-Z0-9._]*' | sort -Vu)
    if readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -qv -e '^libc\.so' -e '^ld-linux' ||
        grep -q '[A-Z]$' <<<"$versions"; then
        echo "linux_$arch"
    else
        tail -n 1 <<<"$versions" | sed "s/GLIBC_2\.\([0-9]*\).*/manylinux_2_\1_$arch/"
    fi
}
