"""A connection and its calls, as far as they are the same for blocking programs and for asyncio.

Connection owns a sluice_client, Call a sluice_call. Three rules keep ctypes from crashing anybody:

  - One thread at a time. Whoever calls into the library holds the client's guard: a lock that never waits but raises, since two
    threads on one client are a mistake of the program. So is a signal's handler that asks something while its own thread waits: it would
    take the events that the interrupted call sleeps for. Such a handler may cancel and close.
  - Nothing is freed under somebody's feet. What such a handler closes, and what a finalizer of another thread cannot free because the
    guard is taken, is left to whoever leaves the guard (`Guard.later`).
  - Cancel is safe from any thread: it needs no guard, only that the call is not freed meanwhile (Call._freeing).

A connection belongs to the process that made it. In a child of fork() everything but close() is a RuntimeError.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
import warnings
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional

from ._errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    PermissionDeniedError,
    SluiceError,
    make_error,
)
from ._native import USEC_NEVER, CallHandle, ClientHandle, Event, lib
from ._request import Request
from ._types import CallInfo

EAGAIN, ENOTCONN, EINTR = -errno.EAGAIN, -errno.ENOTCONN, -errno.EINTR
# What a daemon serves on one connection (GetInfo's calls_per_connection); more calls get a further connection.
MAX_CALLS = 16


class Guard:
    """`with guard:` is the right to call into the library; RuntimeError where another thread has it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._is_taken = False  # by the thread that has the lock
        self._later: Deque[Callable[[], object]] = deque()

    @property
    def is_of_this_process(self) -> bool:
        return os.getpid() == self._pid

    @property
    def is_interrupted(self) -> bool:
        """This thread is inside already: a signal's handler runs, or a finalizer."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._is_taken
        finally:
            self._lock.release()

    def __enter__(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"this client belongs to process {self._pid}: make a new one after fork()"
            )
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(
                "this client is in use by another thread: give each thread a client of its own "
                "(cancel() alone may be called from any thread)"
            )
        if self._is_taken:
            self._lock.release()
            raise RuntimeError(
                "this client is at work in this thread: a signal's handler may only cancel() and close()"
            )
        self._is_taken = True

    def __exit__(self, *_: object) -> None:
        self._is_taken = False
        self._lock.release()
        if self._later:
            self._catch_up()

    def later(self, function: Callable[[], object]) -> None:
        """Calls function now, or when the guard becomes free. From anywhere, also from a finalizer in whichever thread."""
        self._later.append(function)
        self._catch_up()

    def _catch_up(self) -> None:
        # Looks again after the release: what came while the lock was held must not stay.
        while self._later and self._lock.acquire(blocking=False):
            try:
                if self._is_taken:
                    return  # an interrupted call of this thread is inside; it comes by here when it leaves
                while self._later:
                    self._later.popleft()()
            except IndexError:
                pass  # somebody else took it
            finally:
                self._lock.release()


class Call:
    """One request on its way. `next_event` and the getters need the guard, cancel() does not."""

    def __init__(self, connection: "Connection", handle: CallHandle, request: Request):
        self.connection = connection
        self.handle = handle
        self.model = request.model
        self.kind = request.kind
        self.timeout = request.timeout
        self.request_id: str = lib.sluice_call_request_id(handle).decode()
        self.info = CallInfo(request_id=self.request_id)
        self.queue_position: Optional[int] = None
        self._freeing = threading.RLock()  # a signal's handler may cancel in the middle of free()

    @property
    def is_open(self) -> bool:
        return bool(self.handle)

    def try_event(self) -> int:
        """The next event's type, 0 after the last, EAGAIN. QUEUED and STARTED are noted here."""
        if not self.handle:
            return 0  # closed meanwhile
        r: int = lib.sluice_call_try_next(self.handle)
        if r == Event.QUEUED:
            self.queue_position = lib.sluice_call_queue_position(self.handle)
        elif r == Event.STARTED:
            self.queue_position = None
            self.model = lib.sluice_call_model(self.handle).decode("utf-8", "replace")
            self.info.deployment = lib.sluice_call_deployment(self.handle).decode(
                "utf-8", "replace"
            )
        elif r == -errno.ENOMEM:
            raise MemoryError
        elif r < 0 and r != EAGAIN:
            raise SluiceError(os.strerror(-r))
        return r

    def cancel(self) -> None:
        """Asks the daemon to end the call. Any thread."""
        with self._freeing:
            if self.handle:
                lib.sluice_call_cancel(self.handle)

    def free(self) -> None:
        """Ends the call if it still runs. Needs the guard (or a finalizer's right to it)."""
        with self._freeing:
            handle, self.handle = self.handle, CallHandle()
        if handle:
            self.connection.forget(self, handle)
            lib.sluice_call_free(handle)

    def close(self) -> None:
        """free() for programs: from the thread that uses the client, or from a child of fork()."""
        if not self.handle:
            return
        guard = self.connection.guard
        if not guard.is_of_this_process:
            self.free()
            return
        if guard.is_interrupted:
            self.cancel()  # wakes the call that waits
            guard.later(self.free)
            return
        with guard:
            self.free()

    def error(self) -> APIError:
        """What a FAILED says."""
        h = self.handle
        retry_usec = lib.sluice_call_error_retry_after_usec(h)
        return make_error(
            lib.sluice_call_error_message(h).decode("utf-8", "replace"),
            status=lib.sluice_call_error_http_status(h),
            code=lib.sluice_call_error_code(h).decode("utf-8", "replace"),
            param=lib.sluice_call_error_param(h).decode("utf-8", "replace") or None,
            request_id=self.request_id or None,
            retry_after=retry_usec / 1e6 if retry_usec else None,
            is_retryable=bool(lib.sluice_call_error_is_retryable(h)),
        )


class Connection:
    """A sluice_client. Made by connect(); close() it."""

    def __init__(self, handle: ClientHandle, guard: Guard):
        self.handle = handle
        self.guard = guard  # shared by the connections of one client
        self.calls: Dict[int, Call] = {}
        self.fd: int = lib.sluice_client_get_fd(handle)

    @property
    def is_usable(self) -> bool:
        """False once the daemon has gone, also where nobody has looked at the socket since."""
        if not self.handle:
            return False
        self.catch_up()
        return bool(lib.sluice_client_is_connected(self.handle))

    def catch_up(self) -> None:
        """Takes what lies in the socket, to its end where the daemon has gone."""
        while self.process():
            if not lib.sluice_client_is_connected(self.handle):
                return

    def start(self, request: Request) -> Call:
        """Sends a request. APIConnectionError where the connection is lost."""
        handle = CallHandle()
        r = lib.sluice_call_start(self.handle, request.handle, handle)
        if r == -errno.ENOMEM:
            raise MemoryError
        if r == ENOTCONN:
            raise APIConnectionError("the connection to sluiced was lost", code="connection_lost")
        if r < 0:
            raise SluiceError(f"the call cannot be started: {os.strerror(-r)}")
        call = Call(self, handle, request)
        self.calls[handle.value or 0] = call
        return call

    def forget(self, call: Call, handle: CallHandle) -> None:
        """The call is about to be freed."""
        self.calls.pop(handle.value or 0, None)

    def process(self) -> bool:
        """Sends and receives what is possible without waiting. True: events may have come."""
        r: int = lib.sluice_client_process(self.handle)
        return r > 0 or r == ENOTCONN

    def events(self) -> int:
        return int(lib.sluice_client_get_events(self.handle))

    def wait_seconds(self) -> Optional[float]:
        """How long the library can be left alone; None: until the descriptor is ready."""
        at_usec = ctypes.c_uint64()
        lib.sluice_client_get_timeout_usec(self.handle, at_usec)
        if at_usec.value == USEC_NEVER:
            return None
        return max(0.0, at_usec.value / 1e6 - time.monotonic())

    def ready_calls(self) -> Iterator[Call]:
        """Each call that has an event to take, once."""
        seen = set()
        while True:
            at = lib.sluice_client_ready_call(self.handle).value
            if not at or at in seen:
                return
            seen.add(at)
            if at in self.calls:
                yield self.calls[at]

    def close(self) -> None:
        """The daemon cancels what still runs. Calls go first, since they refer to the client."""
        for call in list(self.calls.values()):
            call.free()
        handle, self.handle = self.handle, ClientHandle()
        lib.sluice_client_free(handle)


def path_bytes(path: Any) -> Optional[bytes]:
    """Of the socket; checked when a client is made."""
    if path is None:
        return None
    try:
        data = os.fsencode(path)
    except TypeError:
        raise TypeError(f"path must be a path, not {type(path).__name__}") from None
    if not data or b"\0" in data:
        raise ValueError("path must not be empty or hold NUL characters")
    return data


class NotCopied:
    """What belongs to one process and has one owner: no pickle, no copy."""

    def __reduce_ex__(self, _: Any) -> Any:
        name = type(self).__name__
        raise TypeError(f"{name} objects cannot be copied or pickled: make a new client")


def open_client(path: Optional[str]) -> ClientHandle:
    """A connected sluice_client. Waits at most 5 s for a daemon that does not accept; a signal's handler may raise meanwhile."""
    handle = ClientHandle()
    data = path_bytes(path)
    while True:
        r = lib.sluice_connect(data, handle)
        if r >= 0:
            return handle
        if r == EINTR:
            continue  # the signal's handler has run in between
        if r == -errno.ENOMEM:
            raise MemoryError
        said = lib.sluice_connect_error().decode("utf-8", "replace") or os.strerror(-r)
        if r == -errno.EACCES:
            text = f"cannot connect to sluiced: {said} (is this user in the group sluice?)"
            raise PermissionDeniedError(text, status_code=403, code="forbidden")
        text = f"cannot connect to sluiced: {said} (is it running? is sluice.socket enabled?)"
        raise APIConnectionError(text, code="no_connection")


def pick(connections: List[Any], connect: Callable[[], Any]) -> Any:
    """A connection with room for a call: one that is there, or a new one. Those that were lost are dropped."""
    for connection in list(connections):
        if len(connection.calls) >= MAX_CALLS:
            continue
        if connection.is_usable:
            return connection
        if not connection.calls:
            connections.remove(connection)
            connection.close()
    connections.append(connect())
    return connections[-1]


def close_connections(connections: List[Any]) -> None:
    """The finalizer of clients; safe in a child of fork() as well."""
    for connection in connections:
        connection.close()
    connections.clear()


def abandon(call: Call, what: str) -> None:
    """The finalizer of streams that nobody closed. The call ends; the program is told where it wants to know."""
    is_news = bool(call.handle) and call.connection.guard.is_of_this_process
    call.connection.guard.later(call.free)
    if is_news:  # last: it raises where warnings are errors
        text = f"unclosed {what} {call.request_id}: use it to its end, in a with statement, or close() it"
        warnings.warn(text, ResourceWarning, stacklevel=2)


def open_calls(connections: List[Any], request_id: str) -> List[Call]:
    """Of this client and this id. Any thread: the copies are made in one step."""
    calls = [call for connection in list(connections) for call in list(connection.calls.values())]
    return [call for call in calls if call.request_id == request_id]


def cancel_all(connections: List[Any]) -> None:
    for connection in connections:
        for call in list(connection.calls.values()):
            call.cancel()


def check_event(call: Call, event: int) -> None:
    """Raises what a call that answers as a whole cannot go on from."""
    if event == Event.FAILED:
        raise call.error()
    if event == 0:
        raise RuntimeError("this client is closed")  # meanwhile, by another task


def timed_out(call: Call, seconds: Optional[float]) -> APITimeoutError:
    return APITimeoutError(
        f"nothing came within {seconds:g} s; the call is cancelled",
        code="timeout",
        request_id=call.request_id or None,
    )
