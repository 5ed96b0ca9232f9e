# shellcheck shell=bash
# ./dev bench: what sluice costs (tests/bench/bench.py), what comes out of a real model under overload, and who is killed for want of
# memory (tests/bench/overload); what one decision of admission takes (tests/bench/decisions.c).
#
# Sourced, never run. nginx and HAProxy are unpacked into the cache, not installed; LiteLLM is the one of ./dev test compat.

bench() {
    case ${1:-} in
    overload)
        shift
        bench_overload "$@"
        ;;
    memory)
        shift
        bench_memory "$@"
        ;;
    decisions)
        shift
        bench_decisions "$@"
        ;;
    *) bench_costs "$@" ;;
    esac
}

bench_costs() {
    # shellcheck disable=SC2046 # a list of words
    need_packages "the benchmark" $(packages_demo)
    need_nginx
    build release -DSLUICE_BENCH=ON
    need_python
    exec "$PY" tests/bench/bench.py --build "$ROOT/build/release" "$@"
}

bench_decisions() {
    build release -DSLUICE_BENCH=ON
    exec "$ROOT/build/release/bin/decisions" "$@"
}

bench_overload() {
    # shellcheck disable=SC2046
    need_packages "the benchmark" $(packages_demo)
    need_python
    need_model_server
    build release
    _is_wanted nginx "$@" && need_nginx
    _is_wanted haproxy "$@" && need_haproxy
    if _is_wanted litellm "$@"; then
        need_litellm || die "LiteLLM could not be installed; --targets ollama,nginx,haproxy,haproxy-classes,sluice leaves it out"
        export SLUICE_BENCH_LITELLM=$CACHE/litellm/bin/litellm
    fi
    exec "$PY" tests/bench/overload/overload.py --build "$ROOT/build/release" "$@"
}

# In a small control group; root makes one, others are told that nothing was measured.
bench_memory() {
    # shellcheck disable=SC2046
    need_packages "the benchmark" $(packages_demo)
    need_python
    need_model_server
    build release
    exec "$PY" tests/bench/overload/memory.py --build "$ROOT/build/release" "$@"
}

# _is_wanted RIVAL ARG...: false where --targets (or --quick without it) leaves that rival out.
_is_wanted() {
    local rival=$1
    shift
    case " $* " in
    *" --targets"*) [[ " $* " == *"$rival"* ]] ;;
    *) [[ " $* " != *" --quick "* ]] ;;
    esac
}
