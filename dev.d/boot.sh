# shellcheck shell=bash
# ./dev test boot: Debian roots in which systemd is booted with an installed sluice, and the tests that do so (tests/boot).
#
# Sourced, never run. A root is made once by debootstrap, below the cache, and never written to afterwards: builds and boots see it read-only
# through an overlay in memory, so several may at a time. sluice is built inside (into build/boot/SUITE), so that it is linked with that
# Debian's libraries. Needs root and the right to make namespaces and mounts; where that is missing the suite is skipped, says why, and is
# counted.

BOOT=$CACHE/boot
BOOT_SUITES=(bookworm:12 trixie:13)

suite_boot() {
    local suite version
    for suite in "${BOOT_SUITES[@]}"; do
        version=${suite#*:} suite=${suite%:*}
        need_boot_root "$suite" "$version" && boot_build "$suite" || return
    done
    SLUICE_BOOT_ROOTS=$BOOT "$PY" -m pytest -q -p no:cacheprovider -c tests/boot/pytest.ini "$@" $(all_of tests/boot "$@") </dev/null
}

# Why the suite cannot run here; nothing where it can.
boot_hindrance() {
    local try
    [ "$(id -u)" -eq 0 ] || { echo "booting a container needs root"; return; }
    # the smallest container there is, of this system's own files; fails in a chroot and where namespaces are forbidden
    try=$(mktemp -d)
    mkdir "$try/usr" "$try/etc"
    ln -s usr/bin usr/lib usr/lib64 usr/sbin "$try"
    touch "$try/etc/os-release"
    if ! SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit --directory "$try" --volatile=overlay \
        --private-network --bind-ro=/usr --console=pipe true </dev/null >"$try.log" 2>&1; then
        echo "systemd-nspawn cannot run here: $(grep -v '^Attempted' "$try.log" | tail -n 1)"
    fi
    rm -rf "$try" "$try.log"
}

# What is in a root: an init, what builds sluice, what the tests run inside.
boot_packages() {
    packages_build "$1"
    printf '%s\n' systemd systemd-sysv dbus dbus-user-session polkitd libpam-systemd passwd ca-certificates openssl python3
}

need_boot_root() {
    local suite=$1 packages wanted
    packages=$(boot_packages "$2" | sort -u | paste -sd,)
    wanted=$(sha256sum <<<"$packages" | cut -c 1-16)
    mkdir -p "$BOOT"
    (
        flock 9 # somebody else's ./dev test may be making it
        stamped "$BOOT/$suite.done" "$wanted" && exit 0
        step "root-$suite" "making a root of Debian $2 ($suite)" _make_boot_root "$suite" "$packages" &&
            printf '%s\n' "$wanted" >"$BOOT/$suite.done"
    ) 9>"$BOOT/$suite.lock"
}

_make_boot_root() {
    local root=$BOOT/$1 mirror
    rm -rf "$root" "$root.done" && mkdir -p "$root" &&
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | head -n 1) &&
        debootstrap --variant=minbase --include="$2" "$1" "$root" "$mirror" &&
        rm -f "$root"/var/cache/apt/archives/*.deb
}

# The release, below /usr/local as the README installs it; rebuilt as far as sources changed.
boot_build() {
    local suite=$1
    mkdir -p "$ROOT/build/boot/$suite"
    step "boot-$suite" "building in $suite" systemd-nspawn --quiet --register=no --keep-unit --machine="sluice-build-$$" \
        --directory "$BOOT/$suite" --read-only --volatile=overlay --private-network --bind-ro="$ROOT:/src" \
        --bind="$ROOT/build/boot/$suite:/build" --console=pipe \
        sh -c 'cmake -G Ninja -S /src -B /build -DCMAKE_BUILD_TYPE=Release -DSLUICE_HARDEN=ON && cmake --build /build'
}
