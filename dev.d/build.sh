# shellcheck shell=bash
# Building: a preset of CMakePresets.json into build/PRESET.
#
# Sourced, never run.

# build PRESET [CMAKE-ARGUMENT...]: configures (again) and builds; the packages must be there.
build() {
    local preset=$1
    shift
    step "configure-$preset" "configuring ($preset)" cmake --preset "$preset" "$@" &&
        step "build-$preset" "building ($preset)" cmake --build --preset "$preset"
}

build_command() {
    local preset=${1:-release}
    # shellcheck disable=SC2046 # a list of words
    case $preset in
    release) need_packages "the release build" $(packages_build) ;;
    dev | clang) need_packages "the $preset build" $(packages_test) ;;
    *) die "presets are release, dev and clang, not $preset" ;;
    esac
    build "$preset" "${@:2}"
    say "built: build/$preset/bin, build/$preset/lib"
}
