# shellcheck shell=bash
# The Debian packages that sluice is built and tested with: the one list, and how they get onto the machine.
#
# Sourced, never run. Debian 12 (bookworm) and 13 (trixie). Nothing here runs apt-get while every package is there, so
# a second run costs one dpkg-query. Root installs directly, anybody else by sudo, and never without saying what first.

# packages_build [VERSION]: what a release build needs on that Debian (default: this one). Debian 12 has llhttp only as the C sources inside
# node-llhttp.
packages_build() {
    printf '%s\n' gcc libc6-dev cmake ninja-build pkg-config \
        libprotobuf-c-dev protobuf-c-compiler libcurl4-openssl-dev libcjson-dev libyaml-dev libsystemd-dev libssl-dev scdoc
    case ${1:-$(_debian_version)} in
    12) echo node-llhttp ;;
    *) echo libllhttp-dev ;;
    esac
}

# What a Python environment needs.
packages_python() { printf '%s\n' python3 python3-venv ca-certificates; }

# What the demo and the real model server need beside that: Python for the scripts, g++ for Ollama's own C++.
packages_demo() {
    packages_build
    packages_python
    printf '%s\n' g++ debian-archive-keyring
}

# What the tests need beside that: Check, clang with its sanitizer and fuzzer runtime, llvm for readable stack traces.
packages_test() {
    packages_demo
    printf '%s\n' mandoc # reads the manual as strictly as it should be
    printf '%s\n' check git clang llvm
    printf '%s\n' systemd systemd-container debootstrap # judge the units, boot them
    echo make # for a build file of the examples
    echo systemd-journal-remote # makes journals for the tests of `sluicectl log`
    echo nodejs # the openai package for Node
    command -v npm >/dev/null || echo npm # apart from Debian's, packages of Node have it inside
    echo protobuf-compiler # protoc for the Go client; without Go and Rust those clients' tests are skipped
    case $(_debian_version) in
    12) echo libclang-rt-14-dev ;;
    *) echo libclang-rt-19-dev ;;
    esac
}

# What Debian packages are built and judged with (debian/control says the first as well).
packages_deb() {
    packages_build
    printf '%s\n' build-essential debhelper dh-python check lintian pybuild-plugin-pyproject python3-all python3-setuptools python3-wheel
    case $(_debian_version) in
    12) echo systemd ;;
    *) echo systemd-dev ;;
    esac
}

# What only `./dev test all` needs.
packages_test_all() {
    packages_test
    printf '%s\n' valgrind libc6-dbg zsh fish # the shells whose completions are tried where they are
}

# need_packages WHY PACKAGE...: installs those that are missing.
need_packages() {
    local why=$1 missing
    shift
    command -v dpkg-query >/dev/null || die "for $why these Debian packages are needed, and this system has no dpkg: $*"
    missing=$(comm -23 <(printf '%s\n' "$@" | sort -u) <(_installed "$@" | sort -u) | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0
    say "for $why these Debian packages will now be installed:"
    printf '%s\n' "$missing" | fold -s -w 90 | sed 's/^/   /' >&2
    _as_root || die "that needs root, or sudo without a password where there is no terminal; as root: apt-get install $missing"
    # shellcheck disable=SC2086 # a list of words
    _install $missing
}

# The benchmark's nginx: unpacked, because an installed one would at once be started as the machine's web server.
# Its libraries are there: libcurl's and the system's own.
need_nginx() {
    PATH=$PATH:/usr/sbin:$CACHE/nginx/usr/sbin
    command -v nginx >/dev/null || step nginx "fetching nginx" _unpack_nginx
}

_unpack_nginx() (
    mkdir -p "$CACHE/nginx" && cd "$CACHE/nginx" && rm -f ./*.deb &&
        apt-get -q download nginx && dpkg-deb -x nginx_*.deb . && rm -f ./*.deb
)

# HAProxy for ./dev bench overload, unpacked for the same reason, with those of its libraries that the system lacks.
need_haproxy() {
    PATH=$PATH:/usr/sbin:$CACHE/haproxy
    command -v haproxy >/dev/null || step haproxy "fetching HAProxy" _unpack_haproxy
}

_unpack_haproxy() (
    mkdir -p "$CACHE/haproxy" && cd "$CACHE/haproxy" && rm -f ./*.deb || exit
    # what apt-get would install: itself and what it depends on, in every release's own names
    apt-get -q -s install --no-install-recommends haproxy >plan || exit
    # shellcheck disable=SC2046 # a list of words
    apt-get -q download $(sed -n 's/^Inst \([^ ]*\) .*/\1/p' plan) || exit
    for deb in *.deb; do dpkg-deb -x "$deb" . || exit; done
    rm -f ./*.deb plan
    cat >haproxy <<'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$(find "$here/usr/lib" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:) exec "$here/usr/sbin/haproxy" "$@"
END
    chmod +x haproxy && ./haproxy -v
)

_installed() {
    # shellcheck disable=SC2016 # dpkg-query's own format
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p'
}

_debian_version() {
    # shellcheck disable=SC1091
    (. /etc/os-release && echo "${VERSION_ID:-}")
}

# Sets SUDO to what makes a command run as root. Without a terminal sudo must not wait for a password.
_as_root() {
    SUDO=()
    [ "$(id -u)" -ne 0 ] || return 0
    command -v sudo >/dev/null || return 1
    if [ -t 0 ]; then
        SUDO=(sudo)
        sudo -v
    else
        SUDO=(sudo -n)
        sudo -n true 2>/dev/null
    fi
}

_install() {
    local apt=("${SUDO[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300
        -o Dpkg::Use-Pty=0)
    # A fresh machine has no lists or old ones: fetch them where a package is not known, or not to be had as listed.
    if ! "${apt[@]}" -s install --no-install-recommends "$@" >/dev/null 2>&1; then
        step apt-update "fetching the package lists" "${apt[@]}" update
        step apt-install "installing $# packages" "${apt[@]}" install --no-install-recommends "$@"
    elif ! step apt-install "installing $# packages" "${apt[@]}" install --no-install-recommends "$@"; then
        step apt-update "fetching newer package lists" "${apt[@]}" update
        step apt-install "installing $# packages" "${apt[@]}" install --no-install-recommends "$@"
    fi
}
