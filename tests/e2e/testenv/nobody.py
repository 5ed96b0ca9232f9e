"""Being somebody without privileges, in a child process. Only root can become nobody."""

from __future__ import annotations

import os
from typing import Any, Callable, Optional

UID = 65534


def become(groups: tuple[int, ...] = ()) -> None:
    """This process is nobody from here on: for a child, before it runs a program."""
    os.setgroups(groups)
    os.setgid(UID)
    os.setuid(UID)


def run(action: Callable[[], Any]) -> Optional[str]:
    """Runs action in a child without privileges; None, or what went wrong."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "died"
        try:
            become()
            action()
            said = ""
        except BaseException as e:
            said = repr(e)
        finally:
            os.write(write_end, said.encode())
            os._exit(0)
    os.close(write_end)
    os.waitpid(pid, 0)
    said = os.read(read_end, 65536).decode()
    os.close(read_end)
    return said or None
