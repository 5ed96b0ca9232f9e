"""AsyncClient: the same for asyncio.

    async with sluice.AsyncClient() as client:
        stream = await client.chat.completions.create(model="assistant", messages=[...], stream=True)
        async for chunk in stream:
            ...

The library's one descriptor is in the event loop (add_reader), its time limits are call_later(): no threads. Cancelling the task that
awaits a call cancels the call in the daemon.

An AsyncClient belongs to the event loop that first used it; another loop, or another thread, gets a RuntimeError. Only connecting blocks
the loop, and only while the daemon's accept queue is full.
"""

from __future__ import annotations

import asyncio
import select
import threading
import weakref
from collections import deque
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    Deque,
    Dict,
    Generic,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    TypeVar,
    Union,
    overload,
)

from . import _reply as reply
from . import _types as types
from ._client import DEFAULT_TIMEOUT_SEC, find_model
from ._connection import (
    EAGAIN,
    Call,
    Connection,
    Guard,
    NotCopied,
    abandon,
    check_event,
    close_connections,
    open_calls,
    open_client,
    path_bytes,
    pick,
    timed_out,
)
from ._native import CallHandle, Event, lib
from ._request import (
    Request,
    build_chat,
    build_complete,
    build_classify,
    build_embed,
    build_explain,
    build_rerank,
    build_load,
    build_unload,
    build_watch,
    check_class,
    flag_of,
    name_bytes,
    seconds_of,
)

if TYPE_CHECKING:
    from typing_extensions import Literal, Unpack

    from ._request import (
        ChatOptions,
        ClassifyOptions,
        CompleteOptions,
        EmbedOptions,
        RerankOptions,
    )

T = TypeVar("T")


class _LoopConnection(Connection):
    """A connection inside an event loop. The loop refers to it until close()."""

    def __init__(self, path: Optional[str], guard: Guard, loop: asyncio.AbstractEventLoop):
        super().__init__(open_client(path), guard)
        self.loop = loop
        self.thread = threading.get_ident()
        self.waiters: Dict[Call, "asyncio.Future[None]"] = {}
        self.timer: Optional[asyncio.TimerHandle] = None
        self.armed = 0
        self.arm()

    def arm(self) -> None:
        """Tells the loop what to watch for; after everything that may have changed it."""
        wanted = self.events() if self.handle else 0
        if wanted != self.armed:
            self._watch(wanted)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        seconds = self.wait_seconds() if self.calls else None
        if seconds is not None:
            self.timer = self.loop.call_later(seconds, self.on_ready)

    def _watch(self, wanted: int) -> None:
        changed = wanted ^ self.armed
        if changed & select.POLLIN:
            if wanted & select.POLLIN:
                self.loop.add_reader(self.fd, self.on_ready)
            else:
                self.loop.remove_reader(self.fd)
        if changed & select.POLLOUT:
            if wanted & select.POLLOUT:
                self.loop.add_writer(self.fd, self.on_ready)
            else:
                self.loop.remove_writer(self.fd)
        self.armed = wanted

    def on_ready(self) -> None:
        """The descriptor or the clock says that there is something to do."""
        with self.guard:
            if not self.handle:
                return
            super().catch_up()
            for call in self.ready_calls():
                waiter = self.waiters.pop(call, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
            self.arm()

    def catch_up(self) -> None:
        super().catch_up()
        if self.waiters:  # the descriptor no longer says that there is something for them
            self.loop.call_soon(self.on_ready)

    def start(self, request: Request) -> Call:
        call = super().start(request)
        self.arm()
        return call

    def forget(self, call: Call, handle: CallHandle) -> None:
        super().forget(call, handle)
        waiter = self.waiters.pop(call, None)  # another task closes the stream that this one reads
        if waiter is not None and not waiter.done() and not self.loop.is_closed():
            waiter.set_result(None)

    async def next_event(self, call: Call, give_up_at: Optional[float]) -> int:
        while True:
            with self.guard:
                event = call.try_event()
            if event != EAGAIN:
                return event
            await self._wait(call, give_up_at)

    async def _wait(self, call: Call, give_up_at: Optional[float]) -> None:
        """Until the call has an event; APITimeoutError where the time is over first."""
        waiter = self.waiters[call] = self.loop.create_future()
        alarm = None
        if give_up_at is not None:
            alarm = self.loop.call_at(give_up_at, _fail, waiter, call)
        try:
            await waiter
        finally:
            if alarm is not None:
                alarm.cancel()
            if self.waiters.get(call) is waiter:
                del self.waiters[call]

    def close(self) -> None:
        if self.guard.is_of_this_process and not self.loop.is_closed():
            if threading.get_ident() != self.thread:  # a finalizer in another thread
                self.loop.call_soon_threadsafe(self.close)
                return
            self._watch(0)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        super().close()


def _fail(waiter: "asyncio.Future[None]", call: Call) -> None:
    if not waiter.done():
        waiter.set_exception(timed_out(call, call.timeout))


class AsyncStream(NotCopied, Generic[T]):
    """The pieces of an answer, as they come: `async for`, to its end, or in `async with`, or close() it."""

    def __init__(self, client: "AsyncClient", call: Call, feed: Callable[[int], List[T]]):
        self._client = client
        self._call = call
        self._feed = feed
        self._pending: Deque[T] = deque()
        self._finalizer = weakref.finalize(self, abandon, call, type(self).__name__)

    @property
    def request_id(self) -> str:
        return self._call.request_id

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._pending:
            if not self._call.is_open:
                raise StopAsyncIteration
            await self._pump()
        return self._pending.popleft()

    async def _pump(self) -> None:
        call, client = self._call, self._client
        client._check_loop()
        connection: Any = call.connection
        if call in connection.waiters:
            raise RuntimeError("another task reads this stream already")
        try:
            event = await connection.next_event(call, client._give_up_at(call))
            with client._guard:
                if event == Event.FAILED:
                    raise call.error()
                self._pending.extend(self._feed(event))
            if event in (Event.DONE, 0):
                self._end()
        except BaseException:  # CancelledError too: the daemon must not go on for nobody
            self._end()
            raise

    async def _begin(self) -> "AsyncStream[T]":
        while not self._pending and self._call.is_open:
            await self._pump()
        return self

    def _end(self) -> None:
        self._finalizer.detach()
        self._call.close()

    def cancel(self) -> None:
        """Asks the daemon to end the call; iteration then raises APIStatusError with code "cancelled". From any thread."""
        self._call.cancel()

    async def close(self) -> None:
        """Ends the call if it still runs."""
        self._pending.clear()
        self._end()

    aclose = close

    async def __aenter__(self) -> "AsyncStream[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncCompletions:
    """client.chat.completions"""

    def __init__(self, client: "AsyncClient"):
        self._client = client

    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str,
        stream: "Union[Literal[False], None]" = ...,
        **options: "Unpack[ChatOptions]",
    ) -> types.ChatCompletion: ...

    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str,
        stream: "Literal[True]",
        **options: "Unpack[ChatOptions]",
    ) -> AsyncStream[types.ChatCompletionChunk]: ...

    @overload
    async def create(
        self,
        *,
        messages: Iterable[Any],
        model: str,
        stream: bool,
        **options: "Unpack[ChatOptions]",
    ) -> Union[types.ChatCompletion, AsyncStream[types.ChatCompletionChunk]]: ...

    async def create(
        self, *, messages: Iterable[Any], model: str, stream: Optional[bool] = False, **options: Any
    ) -> Any:
        """A chat completion; arguments as for Client."""
        is_stream = flag_of(stream, "stream")
        request = build_chat(model, messages, self._client._with_defaults(options))
        if not is_stream:
            return await self._client._whole(request, reply.Collector)
        return await self._client._stream(request, reply.ChatChunks)


class AsyncChat:
    def __init__(self, client: "AsyncClient"):
        self.completions = AsyncCompletions(client)


class AsyncTextCompletions:
    """client.completions"""

    def __init__(self, client: "AsyncClient"):
        self._client = client

    @overload
    async def create(
        self,
        *,
        model: str,
        prompt: str,
        stream: "Union[Literal[False], None]" = ...,
        **options: "Unpack[CompleteOptions]",
    ) -> types.Completion: ...

    @overload
    async def create(
        self,
        *,
        model: str,
        prompt: str,
        stream: "Literal[True]",
        **options: "Unpack[CompleteOptions]",
    ) -> AsyncStream[types.Completion]: ...

    @overload
    async def create(
        self,
        *,
        model: str,
        prompt: str,
        stream: bool,
        **options: "Unpack[CompleteOptions]",
    ) -> Union[types.Completion, AsyncStream[types.Completion]]: ...

    async def create(
        self, *, model: str, prompt: str, stream: Optional[bool] = False, **options: Any
    ) -> Any:
        """A text completion without a chat template."""
        is_stream = flag_of(stream, "stream")
        request = build_complete(model, prompt, self._client._with_defaults(options))
        if not is_stream:
            return await self._client._whole(request, reply.Collector)
        return await self._client._stream(request, reply.CompletionChunks)


class AsyncEmbeddings:
    def __init__(self, client: "AsyncClient"):
        self._client = client

    async def create(
        self, *, input: Union[str, List[str]], model: str, **options: "Unpack[EmbedOptions]"
    ) -> types.CreateEmbeddingResponse:
        request = build_embed(model, input, self._client._with_defaults(options))
        found = await self._client._whole(
            request, lambda call: reply.Vectors(call, request.wants_base64)
        )
        return found  # type: ignore[no-any-return]


class AsyncModels:
    def __init__(self, client: "AsyncClient"):
        self._client = client

    async def list(self) -> types.ModelList:
        request = Request(lib.sluice_models_new, kind="models")
        return await self._client._unary(request, reply.models_of)

    async def retrieve(self, model: str) -> types.Model:
        name_bytes(model, "model")
        return find_model(await self.list(), model)


class AsyncClient(NotCopied):
    """Arguments as for Client. For one event loop: the one that uses it first."""

    def __init__(
        self,
        path: Optional[str] = None,
        *,
        timeout: Optional[float] = DEFAULT_TIMEOUT_SEC,
        class_: Optional[str] = None,
    ):
        path_bytes(path)  # raises
        if class_ is not None:
            check_class(class_, "class_")
        self._path = path
        self._timeout = None if timeout is None else seconds_of(timeout, "timeout")
        self._class = class_
        self._guard = Guard()
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._connections: List[_LoopConnection] = []
        self._is_closed = False
        self._finalizer = weakref.finalize(self, close_connections, self._connections)

    @property
    def chat(self) -> AsyncChat:
        return AsyncChat(self)

    @property
    def completions(self) -> AsyncTextCompletions:
        return AsyncTextCompletions(self)

    @property
    def embeddings(self) -> AsyncEmbeddings:
        return AsyncEmbeddings(self)

    @property
    def models(self) -> AsyncModels:
        return AsyncModels(self)

    async def rerank(
        self,
        *,
        model: str,
        query: str,
        documents: Sequence[Union[str, Mapping[str, str]]],
        **options: "Unpack[RerankOptions]",
    ) -> types.RerankResponse:
        """The documents (strings, or {"text": ...}) by their relevance to the query, best first, all or the best top_n. Each result has its
        document where return_documents says so or, without it, where the model server sends it."""
        request = build_rerank(model, query, documents, self._with_defaults(options))
        wanted = request.documents, request.return_documents
        found = await self._whole(request, lambda call: reply.Ranks(call, *wanted))
        return found  # type: ignore[no-any-return]

    async def classify(
        self, *, model: str, input: Union[str, List[str]], **options: "Unpack[ClassifyOptions]"
    ) -> types.ClassifyResponse:
        """What a classifier says of each text; with a single text as many results as it tells: token classifiers list what they find."""
        request = build_classify(model, input, self._with_defaults(options))
        found = await self._whole(request, reply.Labels)
        return found  # type: ignore[no-any-return]

    async def status(self) -> types.Status:
        return await self._unary(Request(lib.sluice_status_new, kind="status"), reply.status_of)

    async def info(self) -> types.Info:
        return await self._unary(Request(lib.sluice_info_new, kind="info"), reply.info_of)

    async def watch(self, interval: float = 1.0) -> AsyncStream[types.Status]:
        return await self._stream(build_watch(interval), reply.States)

    async def reload(self) -> types.ReloadResult:
        return await self._unary(Request(lib.sluice_reload_new, kind="reload"), reply.reload_of)

    async def drain(self) -> types.DrainResult:
        return await self._unary(Request(lib.sluice_drain_new, kind="drain"), reply.drain_of)

    async def load(self, model: str) -> types.LoadResult:
        return await self._unary(build_load(model), reply.load_of)

    async def unload(self, model: str) -> types.UnloadResult:
        return await self._unary(build_unload(model), reply.unload_of)

    async def explain(
        self, model: str = "", *, request_id: str = "", class_: Optional[str] = None
    ) -> types.Explanation:
        request = build_explain(model, request_id, class_ or self._class)
        return await self._unary(request, reply.explanation_of)

    async def cancel(self, request_id: str) -> bool:
        """Ends a call of this user, of this client or of another program. True: it was there."""
        own = open_calls(self._connections, request_id)
        for call in own:
            call.cancel()
        if own:
            return True
        name = name_bytes(request_id, "request_id")
        return await self._unary(
            Request(lib.sluice_cancel_new, name, kind="cancel", param="request_id"), reply.found_of
        )

    async def close(self) -> None:
        """Ends what still runs, and the connections."""
        if not self._guard.is_of_this_process:
            self._finalizer()
            return
        self._check_loop()
        with self._guard:
            self._is_closed = True
            self._finalizer()

    aclose = close

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- how calls are made

    def _with_defaults(self, options: Any) -> Any:
        if self._class and not any(options.get(n) for n in ("class_", "priority", "service_tier")):
            return {**options, "class_": self._class}
        return options

    def _check_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError(
                "this AsyncClient belongs to another event loop: make one for each loop"
            )
        return loop

    def _give_up_at(self, call: Call) -> Optional[float]:
        """On the loop's clock."""
        if call.timeout is None or self._loop is None:
            return None
        return self._loop.time() + call.timeout

    def _start(self, request: Request) -> Call:
        """Sends the request and closes it."""
        try:
            loop = self._check_loop()
            with self._guard:
                if self._is_closed:
                    raise RuntimeError("this client is closed")
                if not request.has_timeout:
                    request.timeout = self._timeout
                connection = pick(
                    self._connections, lambda: _LoopConnection(self._path, self._guard, loop)
                )
                return connection.start(request)  # type: ignore[no-any-return]
        finally:
            request.close()

    async def _whole(self, request: Request, collect: Callable[[Call], Any]) -> Any:
        call = self._start(request)
        connection: Any = call.connection
        try:
            collector = collect(call)
            give_up_at = self._give_up_at(call)
            while True:
                event = await connection.next_event(call, give_up_at)
                with self._guard:
                    if event == Event.DONE:
                        return collector.result()
                    check_event(call, event)
                    collector.feed(event)
        finally:
            call.close()

    async def _unary(self, request: Request, read: Callable[[Call], T]) -> T:
        call = self._start(request)
        connection: Any = call.connection
        try:
            event = await connection.next_event(call, self._give_up_at(call))
            with self._guard:
                check_event(call, event)
                return read(call)
        finally:
            call.close()

    async def _stream(
        self, request: Request, pieces: Callable[[Call, bool], Any]
    ) -> AsyncStream[Any]:
        include_usage = request.include_usage
        call = self._start(request)
        stream: AsyncStream[Any] = AsyncStream(self, call, pieces(call, include_usage).feed)
        return await stream._begin()
