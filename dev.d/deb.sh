# shellcheck shell=bash
# ./dev deb: Debian packages of the working tree, in build/deb.
#
# Sourced, never run. The packages are built from a copy of what git knows (and of what it does not ignore), so that nothing of a
# developer's build gets into them and they leave nothing between the sources.

DEB=$ROOT/build/deb

deb_command() {
    local version tree
    # shellcheck disable=SC2046 # a list of words
    need_packages "the Debian packages" $(packages_deb)
    version=$(dpkg-parsechangelog -l "$ROOT/debian/changelog" -S Version)
    tree=$DEB/sluice-$version
    rm -rf "$DEB"
    mkdir -p "$tree"
    deb_sources | tar -C "$ROOT" --null --files-from - --create | tar -C "$tree" --extract
    step deb-build "building Debian packages $version" deb_build "$tree" "$@" || exit
    rm -rf "$tree"
    step deb-lintian "lintian" deb_lintian || exit
    say "built, in build/deb:"
    (cd "$DEB" && ls -- *.deb) | sed 's/^/   /' >&2
}

# Names of the source files, each ended by NUL.
deb_sources() (
    cd "$ROOT" || exit
    if [ -e .git ]; then
        git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
            [ ! -e "$file" ] || printf '%s\0' "$file" # deleted, and not yet committed
        done
    else
        find . -path ./build -prune -o -name __pycache__ -prune -o -type f -print0
    fi
)

# With the system's programs only: a Python or CMake of a developer's own has not what Debian's has beside it.
deb_build() (
    cd "$1" && PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg-buildpackage --unsigned-source --unsigned-changes "${@:2}"
)

# Errors fail, warnings are shown in the log.
deb_lintian() (
    cd "$DEB" && lintian --fail-on error --allow-root ./*.changes
)
