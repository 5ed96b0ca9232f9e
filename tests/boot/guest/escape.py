"""Tries what sluiced's sandbox forbids, and what it must allow; prints as JSON which attempt succeeded. Runs in sluiced's place."""
import ctypes
import json
import mmap
import os
import socket
import subprocess
import urllib.request

CLONE_NEWUSER = 0x10000000
SCHED_FIFO = 1
libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def write(path):
    with open(path, "w", encoding="ascii"):
        pass


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read(100)


def somebody_elses_process():
    if not os.path.exists("/proc/1/cmdline"):
        raise PermissionError("invisible")


def servers_group():
    """The group of another user's unit, as sizes of models are learned from it: who is in it (and its memory, where it is counted)."""
    group = "/sys/fs/cgroup/system.slice/dbus.service"
    pids = read(group + "/cgroup.procs").split()
    if not pids or "0" in pids or os.path.exists("/proc/" + pids[0]):
        raise PermissionError(f"processes {pids}")
    if os.path.exists(group + "/memory.stat"):
        read(group + "/memory.stat")


FORBIDDEN = {
    "write /etc": lambda: write("/etc/sluice/x"),
    "write /usr": lambda: write("/usr/x"),
    "write /run": lambda: write("/run/sluice/x"),
    "move a process": lambda: write("/sys/fs/cgroup/system.slice/dbus.service/cgroup.procs"),
    "read a home": lambda: read("/home/alice/note"),
    "read a key": lambda: read("/root/good.key"),
    "see other processes": somebody_elses_process,
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "raw packets": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM),
    "user namespace": lambda: checked(libc.unshare(CLONE_NEWUSER)),
    "writable code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "become root": lambda: os.setuid(0),
    "host name": lambda: socket.sethostname("x"),
    "real-time": lambda: os.sched_setscheduler(0, SCHED_FIFO, os.sched_param(1)),
    "set-uid file": lambda: (write("/tmp/s"), os.chmod("/tmp/s", 0o4755)),
    "a disk's node": lambda: os.mknod("/tmp/disk", 0o060600, os.makedev(8, 0)),
    "kernel setting": lambda: write("/proc/sys/kernel/panic"),
    "gain by exec": lambda: subprocess.run(["su", "-c", "true"], check=True, stdin=subprocess.DEVNULL, capture_output=True),
}
ALLOWED = {
    "pressure": lambda: read("/proc/pressure/memory"),
    "memory": lambda: read("/proc/meminfo"),
    "a server's group": servers_group,
    "private /tmp": lambda: write("/tmp/x"),
    "configuration": lambda: read("/etc/sluice/sluice.yaml"),
    "name": lambda: socket.getaddrinfo("models.test", 8001),
    "http": lambda: urllib.request.urlopen("http://models.test:8001/seen", timeout=20).read(),
    "https": lambda: urllib.request.urlopen("https://models.test:8443/seen", timeout=20).read(),
}


def attempt(action):
    try:
        action()
        return "done"
    except Exception as error:  # whatever it is, it was not done
        return f"{type(error).__name__}: {error}"


print(json.dumps({"forbidden": {name: attempt(action) for name, action in FORBIDDEN.items()},
                  "allowed": {name: attempt(action) for name, action in ALLOWED.items()}}))
