# shellcheck shell=bash
# What every part of ./dev shares: words on the terminal, steps with progress, the cache folder, stamps.
#
# Sourced, never run. A step's output goes to a log file below the cache and is shown only when the step fails; on a
# terminal a ticker counts the seconds meanwhile, in a pipe a plain line comes every 20 seconds. The command of a step
# stays in the foreground (only the ticker is in the background), so that Ctrl-C reaches it.

CACHE=${SLUICE_DEV_CACHE:-$HOME/.cache/sluice-dev}
export SLUICE_DEV_CACHE=$CACHE
LOGS=$CACHE/logs

say() { printf '== %s\n' "$*" >&2; }
note() { printf '   %s\n' "$*" >&2; }
die() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}

# step NAME TEXT COMMAND...: runs COMMAND quietly, shows TEXT and the time it takes; on failure the end of its output.
step() {
    local text=$2 log=$LOGS/$1.log began=$SECONDS ticker rc=0
    shift 2
    mkdir -p "$LOGS"
    _tick "$text" "$$" &
    ticker=$!
    "$@" >"$log" 2>&1 </dev/null || rc=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    [ -t 2 ] && printf '\r\033[K' >&2
    if [ "$rc" -ne 0 ]; then
        say "$text: failed after $((SECONDS - began)) s; the end of $log:"
        tail -n 30 "$log" | sed 's/^/   | /' >&2
        return "$rc"
    fi
    say "$text: $((SECONDS - began)) s"
}

# The ticker of step(). Ends by itself within a second of its parent, and waits with the shell's own read, because a
# sleep that outlives it would keep the caller's pipe open.
_tick() {
    local text=$1 parent=$2 began=$SECONDS told=0 never
    trap '' INT
    exec {never}<> <(:)
    [ -t 2 ] || printf '== %s ...\n' "$text" >&2
    while kill -0 "$parent" 2>/dev/null; do
        if [ -t 2 ]; then
            printf '\r\033[K== %s ... %d s' "$text" "$((SECONDS - began))" >&2
        elif [ $((SECONDS - began - told)) -ge 20 ]; then
            told=$((SECONDS - began))
            printf '== %s ... %d s\n' "$text" "$told" >&2
        fi
        read -r -t 1 -u "$never" _ || true
    done
}

# stamped FILE WANTED: true where FILE says that WANTED (versions, a checksum) is what stands there.
stamped() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
