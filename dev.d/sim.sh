# shellcheck shell=bash
# The simulator of overload (tests/sim): builds it, runs it, draws its plots.
#
# Sourced, never run. Matplotlib lies in an environment of its own, $CACHE/plots, which only this command makes; without it
# (--no-plots, or where it cannot be installed, which is said) there are the tables and the JSON.

SIM_REQUIREMENTS=tests/sim/requirements.txt

sim_command() {
    local out=$ROOT/build/sim plots=1 args=()
    while [ $# -gt 0 ]; do
        case $1 in
        --out)
            [ $# -ge 2 ] || die "--out needs a folder"
            out=$2
            shift
            ;;
        --no-plots) plots=0 ;;
        *) args+=("$1") ;;
        esac
        shift
    done
    # shellcheck disable=SC2046 # a list of words
    need_packages "the simulator" $(packages_build)
    build release -DSLUICE_SIM=ON
    mkdir -p "$out"
    build/release/bin/sluice_sim --json "$out/sim.json" "${args[@]}" | tee "$out/sim.txt"
    say "$out/sim.txt, $out/sim.json"
    [ "$plots" -eq 0 ] || _sim_plots "$out"
}

_sim_plots() {
    if ! need_plots; then
        say "no plots: matplotlib could not be installed"
        return
    fi
    "$CACHE/plots/bin/python" tests/sim/plot.py "$1/sim.json" "$1"
}

need_plots() {
    local wanted
    wanted=$(sha256sum <"$SIM_REQUIREMENTS" | cut -c 1-16)-$(python3 -VV)
    stamped "$CACHE/plots/.done" "$wanted" && return 0
    rm -rf "$CACHE/plots"
    mkdir -p "$CACHE"
    step plots "installing matplotlib for the plots" _make_plots || return
    printf '%s\n' "$wanted" >"$CACHE/plots/.done"
}

_make_plots() {
    python3 -m venv "$CACHE/plots" &&
        "$CACHE/plots/bin/python" -m pip --disable-pip-version-check --no-input install -r "$SIM_REQUIREMENTS"
}
