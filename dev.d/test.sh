# shellcheck shell=bash
# ./dev test and ./dev fuzz: which suites there are, what each needs, in which order they run.
#
# Sourced, never run. Every suite runs, also after one failed; the last line says which did, and the exit status is 1 if any. A
# suite that cannot run here says why and is counted.
# ctest and pytest print straight to the terminal, so their own closing lines are there to read.

FUZZ_SMOKE_SEC=5
FUZZ_LONG_SEC=60

test_command() {
    local suite=${1:-}
    [ $# -eq 0 ] || shift
    case $suite in
    "" | all | unit | e2e | pressure | boot | cluster | compat | deb | lint | fuzz | python) ;;
    *) die "suites are unit, e2e, pressure, boot, cluster, compat, deb, lint, fuzz, python and all, not $suite" ;;
    esac
    # shellcheck disable=SC2046 # lists of words
    if [ "$suite" = all ]; then
        need_packages "the tests" $(packages_test_all)
    else
        need_packages "the tests" $(packages_test)
    fi
    need_python
    case $suite in
    "" | all | e2e | pressure | python | compat) need_model_server ;;
    esac

    FAILED=() SKIPPED=()
    case $suite in
    lint) suite "lint" suite_lint ;;
    unit) suites_unit ;;
    fuzz) suites_fuzz "$FUZZ_SMOKE_SEC" ;;
    e2e) suites_e2e "$@" ;;
    python) suites_python ;;
    pressure) suites_pressure "$@" ;;
    boot) suites_boot "$@" ;;
    cluster) suites_cluster "$@" ;;
    deb) suites_deb "$@" ;;
    compat) suites_compat "$@" ;;
    "")
        suites_unit
        suites_fuzz "$FUZZ_SMOKE_SEC"
        suites_e2e -m "not slow"
        suites_memory
        suites_pressure -m "not slow"
        suites_python
        suites_boot
        ;;
    all)
        suites_unit
        suite "unit tests under valgrind" suite_valgrind
        suites_fuzz "$FUZZ_LONG_SEC"
        suites_e2e
        suites_memory
        suites_pressure
        suites_python
        suites_boot
        suites_cluster
        suites_compat
        suites_deb
        ;;
    esac
    [ ${#SKIPPED[@]} -eq 0 ] || say "skipped ${#SKIPPED[@]}: ${SKIPPED[*]/%/;}"
    if [ ${#FAILED[@]} -gt 0 ]; then
        say "FAILED: ${FAILED[*]/%/;}"
        exit 1
    fi
    say "all suites passed${SKIPPED:+ but ${#SKIPPED[@]} skipped}, in $SECONDS s"
}

# suite NAME COMMAND...: runs one suite, remembers whether it failed, and says how long it took.
suite() {
    local name=$1 began=$SECONDS
    shift
    say "suite: $name"
    if "$@"; then
        say "suite: $name: passed in $((SECONDS - began)) s"
    else
        say "suite: $name: FAILED after $((SECONDS - began)) s"
        FAILED+=("$name")
    fi
}

# ---------------------------------------------------------------- ctest: unit tests and lint

suites_unit() {
    suite "lint and unit tests, gcc" suite_ctest dev
    suite "unit tests, clang" suite_ctest clang -R '^unit'
}

# The symbol and header lints look at a build, so lint has one too.
suite_lint() { suite_ctest dev -R '^lint'; }

suite_ctest() {
    local preset=$1
    shift
    build "$preset" && ctest --preset "$preset" -j "$(nproc)" "$@" </dev/null
}

# Without the sanitizers, which valgrind does not go with.
suite_valgrind() {
    step configure-valgrind "configuring (valgrind)" cmake -G Ninja -B build/valgrind -DCMAKE_BUILD_TYPE=Debug \
        -DSLUICE_TESTS=ON &&
        step build-valgrind "building (valgrind)" cmake --build build/valgrind &&
        each valgrind_one build/valgrind/bin/test_*
}

valgrind_one() {
    CK_FORK=no quietly "${1##*/}" build/valgrind/"${1##*/}".log \
        valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite "$1"
}

# each FUNCTION ARG...: calls FUNCTION with each ARG, as many at a time as there are processors.
each() {
    local function=$1
    shift
    export -f "$function" quietly
    printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -I{} bash -c '"$@"' _ "$function" {}
}

# quietly NAME LOG COMMAND...: one line for a success, the end of the output for a failure.
quietly() {
    local name=$1 log=$2 began=$SECONDS
    shift 2
    if "$@" >"$log" 2>&1 </dev/null; then
        printf '   %-28s passed, %d s\n' "$name" "$((SECONDS - began))"
    else
        printf '   %-28s FAILED; the end of %s:\n' "$name" "$log"
        tail -n 40 "$log" | sed 's/^/   | /'
        return 1
    fi
}

# ---------------------------------------------------------------- fuzzers

suites_fuzz() { suite "fuzzers, $1 s each" fuzz_each "$1"; }

fuzz_command() {
    # shellcheck disable=SC2046
    need_packages "fuzzing" $(packages_test)
    fuzz_each "${1:-$FUZZ_LONG_SEC}" "${2:-*}"
}

# fuzz_each SECONDS [NAME]. An input that fails is left in build/clang/crashes.
fuzz_each() {
    local name=${2:-*} harnesses=()
    build clang || return
    mapfile -t harnesses < <(find build/clang/fuzz -name "fuzz_${name#fuzz_}" -type f -perm -u+x | sort)
    [ ${#harnesses[@]} -gt 0 ] || { say "no fuzzer called $name"; return 1; }
    mkdir -p build/clang/crashes
    FUZZ_SEC=$1 each fuzz_one "${harnesses[@]}"
}

fuzz_one() {
    local name=${1##*/} dict=() dirs
    [ ! -e tests/fuzz/"${name#fuzz_}".dict ] || dict=(-dict=tests/fuzz/"${name#fuzz_}".dict)
    dirs=(build/clang/corpus/"$name") # new inputs go into the first
    mkdir -p "${dirs[0]}"
    [ ! -d tests/fuzz/seeds/"${name#fuzz_}" ] || dirs+=(tests/fuzz/seeds/"${name#fuzz_}")
    quietly "$name" build/clang/fuzz/"$name".log "$1" -max_total_time="$FUZZ_SEC" -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="build/clang/crashes/$name-" \
        "${dict[@]}" "${dirs[@]}"
}

# ---------------------------------------------------------------- end to end

need_model_server() {
    local rc=0
    dev.d/model_server.sh || rc=$?
    [ "$rc" -eq 0 ] || die "the end-to-end tests need a real Ollama, and it could not be set up"
    export SLUICE_TEST_OLLAMA_ENV=$CACHE/env.sh
}

suites_e2e() {
    suite "end to end, sanitizer build" suite_e2e dev "$@"
}

# What a sanitizer's own memory blurs.
suites_memory() {
    suite "memory, release build" suite_e2e release -m memory
}

suite_e2e() {
    local bin=$ROOT/build/$1/bin
    build "$1" &&
        SLUICED=$bin/sluiced SLUICECTL=$bin/sluicectl \
            "$PY" -m pytest -q -n "$(nproc)" -p no:cacheprovider -c tests/e2e/pytest.ini "${@:2}" $(all_of tests/e2e "${@:2}") </dev/null
}

# all_of FOLDER ARG...: the folder, unless an argument names a test or a file in it.
all_of() {
    local arg
    for arg in "${@:2}"; do
        [[ $arg != "$1"/* ]] || return 0
    done
    echo "$1"
}

# ---------------------------------------------------------------- real pressure

# In a small control group, by itself: other tests beside it would stall it.
suites_pressure() {
    local hindrance
    hindrance=$(pressure_hindrance)
    if [ -n "$hindrance" ]; then
        say "suite: real memory pressure: SKIPPED: $hindrance"
        SKIPPED+=("real memory pressure ($hindrance)")
        return
    fi
    suite "real memory pressure" suite_pressure "$@"
}

suite_pressure() {
    local bin=$ROOT/build/dev/bin
    build dev &&
        SLUICED=$bin/sluiced SLUICECTL=$bin/sluicectl \
            "$PY" -m pytest -q -p no:cacheprovider -c tests/pressure/pytest.ini "$@" $(all_of tests/pressure "$@") </dev/null
}

# The sentence that says why no group can be limited here and its pressure read; none: it can.
pressure_hindrance() {
    "$PY" tests/pressure/group.py
}

# ---------------------------------------------------------------- in containers

suites_boot() { container_suite "booted systemd" suite_boot "$@"; }

# Built, installed, activated, upgraded, removed and purged on Debian 12 and 13.
suites_deb() { container_suite "Debian packages" tests/deb/check_deb.py --work "$CACHE/deb" "$@"; }

# A suite that boots containers: skipped, and counted, where that cannot be.
container_suite() {
    local hindrance
    hindrance=$(boot_hindrance)
    if [ -n "$hindrance" ]; then
        say "suite: $1: SKIPPED: $hindrance"
        SKIPPED+=("$1 ($hindrance)")
        return
    fi
    suite "$@"
}
