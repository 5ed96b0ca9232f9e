#!/usr/bin/env python3
"""./dev demo, once the machine is ready: a model server, sluiced in front of it, one answer by RPC and one by HTTP.

    demo.py --bin DIR [--once]

Finds the model server in this order: an Ollama that answers on 127.0.0.1:11434 (pulling tinyllama if it holds no chat model),
`ollama` on the PATH, an Ollama of our own (dev.d/model_server.sh), llama-server alone where that cannot be had.

Owns every process it starts: each is in a session of its own, is told by the kernel when this one dies, and ends before this
one does. Owns one temporary folder (configuration, sockets, log), removed at the end. Touches nothing else.
"""
import argparse
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("SLUICE_DEV_CACHE") or Path.home() / ".cache/sluice-dev")
OLLAMA_PORT = 11434
HTTP_PORT = 4000
PULLED_MODEL = "tinyllama"
# models that the tests make: they talk nonsense
MADE_MODELS = ("script", "loop", "tiny", "tiny2", "rand-1b")
QUESTION = "What is the capital of France? Answer in one sentence."
SERVER_START_SEC = 60
ANSWER_SEC = 300  # a big model on a small machine is slow to load, not broken
LLAMA_NOT_OLLAMA = 3  # exit status of model_server.sh


class DemoError(Exception):
    """What the person at the terminal is told; the demo ends."""


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def note(text):
    print(f"   {text}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- processes

children = []


def die_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def spawn(argv, log=None, **options):
    """A child that ends with us; its output goes to log (a path), or stays where options put it."""
    if log:
        options["stdout"] = options["stderr"] = open(log, "ab")
    options.setdefault("stdin", subprocess.DEVNULL)
    child = subprocess.Popen([str(a) for a in argv], start_new_session=True, preexec_fn=die_with_parent, **options)
    if log:
        options["stdout"].close()
    children.append(child)
    return child


def stop(child, grace_sec=10):
    """Ends a child and all of its session."""
    for how, wait_sec in ((signal.SIGTERM, grace_sec), (signal.SIGKILL, grace_sec)):
        try:
            os.killpg(child.pid, how)
        except ProcessLookupError:
            pass
        try:
            child.wait(wait_sec)
            break
        except subprocess.TimeoutExpired:
            continue
    try:
        os.killpg(child.pid, signal.SIGKILL)  # what it left behind
    except ProcessLookupError:
        pass
    children.remove(child)


def stop_all():
    for child in reversed(children[:]):  # sluiced before the model server it talks to
        stop(child)


def wait_until(condition, what, child, limit_sec):
    """Polls condition() with a counter on the terminal; False where child ended first."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if child.poll() is not None or waited > limit_sec:
            return False
        if sys.stderr.isatty() and waited >= 1:
            print(f"\r\033[K== waiting for {what} ... {waited:.0f} s", end="", file=sys.stderr, flush=True)
        time.sleep(0.05)
    clear_line()
    return True


def clear_line():
    """Removes a counter from the terminal."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def tail(path, lines=15):
    return "\n".join(f"   | {line}" for line in Path(path).read_text(errors="replace").splitlines()[-lines:])


def is_taken(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---------------------------------------------------------------- HTTP


def fetch(url, body=None, timeout_sec=10):
    """The parsed JSON of url, or None where nobody answers, or not so."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=timeout_sec) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def is_up(url):
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


# ---------------------------------------------------------------- the model server


@dataclass
class ModelServer:
    what: str  # said to the person
    provider: str  # prefix of litellm_params.model: ollama_chat, openai
    api_base: str
    chat: str
    embed: str = ""


class Ollama:
    """An Ollama that answers at url."""

    def __init__(self, url):
        self.url = url

    def is_up(self):
        return fetch(f"{self.url}/api/version", timeout_sec=2) is not None

    def models(self):
        """name -> what it can do, smallest first."""
        listed = (fetch(f"{self.url}/api/tags") or {}).get("models") or []
        return {m["name"]: self._abilities(m) for m in sorted(listed, key=lambda m: m.get("size", 0))}

    def _abilities(self, model):
        known = model.get("capabilities")
        if known is None:
            known = (fetch(f"{self.url}/api/show", {"model": model["name"]}) or {}).get("capabilities")
        if known is None:  # an Ollama of before 2025
            known = ["embedding" if "bert" in model.get("details", {}).get("family", "") else "completion"]
        return known

    def choose(self):
        """(chat model or None, embedder or "")."""
        models = self.models()
        chats = [n for n, can in models.items() if "completion" in can and n.partition(":")[0] not in MADE_MODELS]
        embedders = [n for n, can in models.items() if "embedding" in can and not n.startswith("tiny-")]
        chats.sort(key=lambda n: n.partition(":")[0] not in ("smollm2", PULLED_MODEL))
        return (chats[0] if chats else None), (embedders[0] if embedders else "")

    def pull(self, name):
        """Downloads a model, with progress. False where that does not work."""
        say(f"this Ollama holds no chat model: pulling {name}")
        request = urllib.request.Request(f"{self.url}/api/pull", json.dumps({"model": name}).encode())
        told = 0.0
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                for line in answer:
                    state = json.loads(line)
                    if "error" in state:
                        note(f"cannot pull: {state['error']}")
                        return False
                    if state.get("total") and time.monotonic() - told > (0.5 if sys.stderr.isatty() else 10):
                        told = time.monotonic()
                        self._show(state)
                    if state.get("status") == "success":
                        clear_line()
                        return True
        except (OSError, ValueError) as e:
            note(f"cannot pull: {e}")
        return False

    @staticmethod
    def _show(state):
        done, total = state.get("completed", 0) / 1e6, state["total"] / 1e6
        start, end = ("\r\033[K", "") if sys.stderr.isatty() else ("", "\n")
        print(f"{start}   {done:.0f} of {total:.0f} MB", end=end, file=sys.stderr, flush=True)

    def served(self, what):
        """The ModelServer of this Ollama, or None where it has no chat model and can get none."""
        chat, embed = self.choose()
        if chat is None and self.pull(PULLED_MODEL):
            chat, embed = self.choose()
        if chat is None:
            say("no chat model to be had from this Ollama")
            return None
        return ModelServer(what, "ollama_chat", self.url, chat.removesuffix(":latest"), embed.removesuffix(":latest"))


def start_ollama(argv, port, folder, env):
    """Starts `ollama serve` and waits until it answers; None where it does not."""
    server = Ollama(f"http://127.0.0.1:{port}")
    env = {**os.environ, "OLLAMA_HOST": f"127.0.0.1:{port}", "GIN_MODE": "release", **env}
    child = spawn([*argv, "serve"], folder / "ollama.log", env=env)
    if wait_until(server.is_up, "Ollama", child, SERVER_START_SEC):
        return server, child
    say(f"{argv[0]} serve did not come up:\n{tail(folder / 'ollama.log')}")
    stop(child)
    return None, None


def running_ollama(_folder):
    server = Ollama(f"http://127.0.0.1:{OLLAMA_PORT}")
    if not server.is_up():
        return None
    say(f"an Ollama answers on {server.url}")
    return server.served("the Ollama that was running")


def installed_ollama(folder):
    path = shutil.which("ollama")
    if path is None:
        return None
    say(f"starting {path}")
    port = free_port() if is_taken(OLLAMA_PORT) else OLLAMA_PORT
    server, child = start_ollama([path], port, folder, {})
    served = server and server.served(f"{path}, started for this demo")
    if server and not served:
        stop(child)
    return served


def own_server(folder):
    """Sets one up below the cache folder; takes seconds when it is there."""
    if not (CACHE / "env.sh").exists():
        say(f"no Ollama on this machine: setting one up in {CACHE} (about two minutes, 0.6 GB; nothing in the system)")
    setup = spawn([HERE / "model_server.sh"], stderr=None, stdout=None)
    if setup.wait() not in (0, LLAMA_NOT_OLLAMA):
        raise DemoError("no model server could be set up; install Ollama and run ./dev demo again")
    children.remove(setup)
    paths = read_env(CACHE / "env.sh")
    if setup.returncode == 0:
        ours = {"OLLAMA_MODELS": paths["OLLAMA_MODELS"], "HOME": paths["OLLAMA_HOME"], "OLLAMA_NO_CLOUD": "1"}
        server, _ = start_ollama([paths["OLLAMA_BIN"]], free_port(), folder, ours)
        served = server and server.served("an Ollama of its own, with small models")
        if served:
            return served
    say("going on with llama-server alone, without Ollama")
    return own_llama(paths, folder)


def own_llama(paths, folder):
    url = f"http://127.0.0.1:{free_port()}"
    argv = [paths["LLAMA_SERVER"], "-m", f"{paths['OLLAMA_GGUF']}/smollm2.gguf", "--alias", "smollm2"]
    argv += ["--host", "127.0.0.1", "--port", url.rpartition(":")[2], "--offline", "--no-webui", "-c", "2048", "-t", "1"]
    child = spawn(argv, folder / "llama.log")
    if not wait_until(lambda: is_up(f"{url}/health"), "llama-server", child, SERVER_START_SEC):
        raise DemoError(f"llama-server did not come up:\n{tail(folder / 'llama.log')}")
    return ModelServer("llama-server alone", "openai", f"{url}/v1", "smollm2")


def read_env(path):
    """The variables that a file of `export NAME=value` sets (values may name other variables)."""
    script = f'. "{path}" && env -0'
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "LLAMA_"))}
    out = subprocess.run(["sh", "-c", script], env=clean, capture_output=True, check=True).stdout.decode()
    return dict(item.split("=", 1) for item in out.split("\0") if "=" in item)


# ---------------------------------------------------------------- sluiced


def write_config(path, server):
    """LiteLLM's format: what a person would write by hand."""
    names = [("chat", f"{server.provider}/{server.chat}")]
    if server.embed:
        names.append(("embed", f"ollama/{server.embed}"))
    lines = ["# written by ./dev demo", "model_list:"]
    for name, model in names:
        lines += [f"  - model_name: {name}", "    litellm_params:"]
        lines += [f"      model: {model}", f"      api_base: {server.api_base}"]
        if server.provider == "openai":
            lines.append("      api_key: none")
    path.write_text("\n".join(lines) + "\n")


class Sluice:
    """A running sluiced with its own sockets and log."""

    def __init__(self, binaries, folder, config):
        self.binaries, self.folder = binaries, folder
        self.port = HTTP_PORT
        if is_taken(HTTP_PORT):
            self.port = free_port()
            say(f"port {HTTP_PORT} is taken on this machine: sluiced listens on {self.port}")
        self.socket = folder / "rpc.sock"
        self.log = folder / "sluiced.log"
        self.url = f"http://localhost:{self.port}"
        argv = [binaries / "sluiced", "--config", config, "--log-format", "text", "--listen", f"rpc=unix:{self.socket}"]
        argv += ["--port", str(self.port)]
        self.process = spawn(argv, self.log)
        ready = f"http://127.0.0.1:{self.port}/health/readiness"
        if not wait_until(lambda: self.socket.exists() and is_up(ready), "sluiced", self.process, SERVER_START_SEC):
            raise DemoError(f"sluiced did not come up:\n{tail(self.log)}")

    def records(self, after):
        """The log records of finished calls beyond byte `after` of the log."""
        with open(self.log, "rb") as f:
            f.seek(after)
            return [line for line in f.read().decode(errors="replace").splitlines() if "SLUICE_REQUEST_ID" in line]


def show_answer(sluice, title, argv, env):
    """Runs one client, shows its answer as it comes and the record of the call. True where there was an answer."""
    say(title)
    note(f"$ {' '.join(str(a) for a in argv)}")
    log_size = sluice.log.stat().st_size
    began = time.monotonic()
    errors = sluice.folder / "client.err"
    with open(errors, "wb") as err:
        child = spawn(argv, stdout=subprocess.PIPE, stderr=err, env={**os.environ, **env})
    pieces = []  # (when, bytes)
    print(flush=True)
    while select.select([child.stdout], [], [], max(0, began + ANSWER_SEC - time.monotonic()))[0]:
        piece = os.read(child.stdout.fileno(), 65536)
        if not piece:
            break
        pieces.append((time.monotonic() - began, piece))
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()
    print("" if pieces and pieces[-1][1].endswith(b"\n") else "\n", flush=True)
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        pass
    stop(child)
    good = child.returncode == 0 and any(piece.strip() for _, piece in pieces)
    if good:
        note(f"({len(pieces)} pieces, the first after {pieces[0][0]:.2f} s, the last after {pieces[-1][0]:.2f} s)")
    else:
        say(f"that failed: exit status {child.returncode}, {sum(len(p) for _, p in pieces)} bytes\n{tail(errors)}")
        note(f"sluiced said:\n{tail(sluice.log)}")
    wait_until(lambda: sluice.records(log_size), "the log record", sluice.process, 5)
    records = sluice.records(log_size)
    note("its record in the log:" if records else "no record of it in the log")
    for record in records:
        note(record)
    return good and bool(records)


def show_calls(sluice, python):
    ctl = sluice.binaries / "sluicectl"
    by_rpc = show_answer(
        sluice,
        "a streamed answer through the RPC socket, by sluicectl",
        [ctl, "chat", "--model", "chat", QUESTION],
        {"SLUICE_SOCKET": str(sluice.socket)},
    )
    by_http = show_answer(
        sluice,
        "a streamed answer through the HTTP port, by a Python script with the openai package",
        [python, HERE / "demo_openai.py", sluice.url, "chat", QUESTION],
        {},
    )
    return by_rpc and by_http


def say_what_next(sluice, server, config, python):
    lines = [
        "",
        "sluiced stays up until you press Ctrl-C. Things to try in another terminal:",
        "",
        f"  export SLUICE_SOCKET={sluice.socket}",
        f"  {sluice.binaries}/sluicectl chat --model chat        a conversation",
        f"  {sluice.binaries}/sluicectl status                   what runs, what waits, memory pressure",
        f"  {sluice.binaries}/sluicectl models",
    ]
    if server.embed:
        lines.append(f"  {sluice.binaries}/sluicectl embed --model embed 'some text'")
    lines += [
        f"  {python} {HERE}/demo_openai.py {sluice.url} chat 'Tell me a story.'",
        f"  {'curl' if shutil.which('curl') else 'wget -qO -'} {sluice.url}/v1/models",
        f"  tail -f {sluice.log}",
        "",
        f"  configuration: {config}",
        f"  model server:  {server.what}: {server.api_base}",
    ]
    print("\n".join(lines), flush=True)


def wait_for_end(sluice):
    """Until a signal, or the daemon's unexpected end."""
    wanted = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    while signal.sigtimedwait(wanted, 1) is None:
        if sluice.process.poll() is not None:
            raise DemoError(f"sluiced ended by itself:\n{tail(sluice.log)}")
    say("stopping")


def demo(options, folder):
    server = running_ollama(folder) or installed_ollama(folder) or own_server(folder)
    say(f"model server: {server.what}; chat model {server.chat}" + (f", embedder {server.embed}" if server.embed else ""))
    config = folder / "config.yaml"
    write_config(config, server)
    say(f"sluiced --config {config}, which says:")
    print("".join(f"   {line}\n" for line in config.read_text().splitlines()), end="", file=sys.stderr, flush=True)
    sluice = Sluice(options.bin, folder, config)
    say(f"sluiced is up: RPC on {sluice.socket}, HTTP on {sluice.url}")
    good = show_calls(sluice, sys.executable)
    if options.once:
        say("both answers came" if good else "the demo failed")
    else:
        say_what_next(sluice, server, config, sys.executable)
        wait_for_end(sluice)
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(prog="./dev demo")
    parser.add_argument("--bin", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--once", action="store_true", help="end after the two answers; exit 1 if one of them failed")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    try:
        sys.exit(demo(options, folder))
    except DemoError as e:
        say(str(e))
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # the end is not to be interrupted
        stop_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
