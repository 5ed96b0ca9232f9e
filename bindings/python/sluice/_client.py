"""Client: blocking calls.

    import sluice

    with sluice.Client() as client:
        answer = client.chat.completions.create(model="assistant", messages=[{"role": "user", "content": "Hello"}])
        print(answer.choices[0].message.content)

It waits in poll(2) from Python and only asks the library for what can be had without waiting, so that signals (Ctrl-C) act at once.

THREADS  A Client, with all its streams, is for one thread at a time: a second one that comes in while the first is inside gets a
    RuntimeError. Give each thread its own Client; they cost one Unix connection each. cancel() may be called from any thread.
    The handler of a signal that comes while its own thread waits may cancel() and close(), and nothing else.
FORK  A Client that has been used belongs to its process: in a child everything but close() is a RuntimeError. Make a new one there.
"""

from __future__ import annotations

import math
import select
import time
import weakref
from collections import deque
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Deque,
    Generic,
    Iterable,
    Iterator,
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
from ._connection import (
    EAGAIN,
    Call,
    Connection,
    Guard,
    NotCopied,
    abandon,
    cancel_all,
    check_event,
    close_connections,
    open_calls,
    open_client,
    path_bytes,
    pick,
    timed_out,
)
from ._errors import NotFoundError
from ._native import Event, lib
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

DEFAULT_TIMEOUT_SEC = 600.0  # openai's
_MAX_POLL_SEC = 1e6  # poll(2) takes an int of milliseconds


class _Waiter(Connection):
    """A connection whose events one thread waits for."""

    def __init__(self, path: Optional[str], guard: Guard):
        super().__init__(open_client(path), guard)

    def next_event(self, call: Call, give_up_at: Optional[float]) -> int:
        """Waits. The guard is held meanwhile; a signal's handler may raise out of it."""
        while True:
            event = call.try_event()
            if event != EAGAIN:
                return event
            if self.process():
                continue
            seconds = self.wait_seconds()
            if give_up_at is not None:
                left = give_up_at - time.monotonic()
                if left <= 0:
                    raise timed_out(call, call.timeout)
                seconds = left if seconds is None else min(seconds, left)
            self._poll(seconds)

    def _poll(self, seconds: Optional[float]) -> None:
        poller = select.poll()
        poller.register(self.fd, self.events())
        # upwards, else the last millisecond is spent spinning
        poller.poll(None if seconds is None else math.ceil(min(seconds, _MAX_POLL_SEC) * 1000))


def _give_up_at(call: Call) -> Optional[float]:
    return None if call.timeout is None else time.monotonic() + call.timeout


class Stream(NotCopied, Generic[T]):
    """The pieces of an answer, as they come.

    Iterate over it to its end, or use it in a `with` statement, or close() it: a stream that is only dropped ends its call too, but with
    a ResourceWarning. An answer that was cut raises; it never just ends. The client's rules about threads hold for its streams.
    """

    def __init__(self, client: "Client", call: Call, feed: Callable[[int], List[T]]):
        self._client = client  # a stream keeps its client
        self._call = call
        self._feed = feed
        self._pending: Deque[T] = deque()
        self._finalizer = weakref.finalize(self, abandon, call, type(self).__name__)

    @property
    def request_id(self) -> str:
        """What cancel() and the daemon's log know the call by."""
        return self._call.request_id

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        while not self._pending:
            if not self._call.is_open:
                raise StopIteration
            self._pump()
        return self._pending.popleft()

    def _pump(self) -> None:
        """Waits for one event and takes what it brings."""
        call = self._call
        with self._client._guard:
            try:
                event = call.connection.next_event(call, _give_up_at(call))  # type: ignore[attr-defined]
                if event == Event.FAILED:
                    raise call.error()
                self._pending.extend(self._feed(event))
                if event in (Event.DONE, 0):
                    self._end()
            except BaseException:
                self._end()
                raise

    def _begin(self) -> "Stream[T]":
        """Waits for the first piece, so that what fails before it fails in create()."""
        while not self._pending and self._call.is_open:
            self._pump()
        return self

    def _end(self) -> None:
        self._finalizer.detach()
        self._call.free()

    def cancel(self) -> None:
        """Asks the daemon to end the call; iteration then raises APIStatusError with code "cancelled". From any thread."""
        self._call.cancel()

    def close(self) -> None:
        """Ends the call if it still runs."""
        self._finalizer.detach()
        self._pending.clear()
        self._call.close()

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Completions:
    """client.chat.completions"""

    def __init__(self, client: "Client"):
        self._client = client

    @overload
    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str,
        stream: "Union[Literal[False], None]" = ...,
        **options: "Unpack[ChatOptions]",
    ) -> types.ChatCompletion: ...

    @overload
    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str,
        stream: "Literal[True]",
        **options: "Unpack[ChatOptions]",
    ) -> Stream[types.ChatCompletionChunk]: ...

    @overload
    def create(
        self,
        *,
        messages: Iterable[Any],
        model: str,
        stream: bool,
        **options: "Unpack[ChatOptions]",
    ) -> Union[types.ChatCompletion, Stream[types.ChatCompletionChunk]]: ...

    def create(
        self, *, messages: Iterable[Any], model: str, stream: Optional[bool] = False, **options: Any
    ) -> Any:
        """A chat completion. Takes openai's arguments, and sluice's own:

        deadline     seconds for the whole call, kept by the daemon; then APITimeoutError, "deadline_exceeded"
        timeout      seconds that this side waits: for the whole answer, or for the next piece of a stream
        class_       who waits for the answer: "interactive", "batch" or "background"; priority is another name for it
        request_id   1 to 64 of [A-Za-z0-9._-], for cancel() and the log
        extra_body   further parameters for the model server
        """
        is_stream = flag_of(stream, "stream")
        request = build_chat(model, messages, self._client._with_defaults(options))
        if not is_stream:
            return self._client._whole(request, reply.Collector)
        return self._client._stream(request, reply.ChatChunks)


class Chat:
    def __init__(self, client: "Client"):
        self.completions = Completions(client)


class TextCompletions:
    """client.completions"""

    def __init__(self, client: "Client"):
        self._client = client

    @overload
    def create(
        self,
        *,
        model: str,
        prompt: str,
        stream: "Union[Literal[False], None]" = ...,
        **options: "Unpack[CompleteOptions]",
    ) -> types.Completion: ...

    @overload
    def create(
        self,
        *,
        model: str,
        prompt: str,
        stream: "Literal[True]",
        **options: "Unpack[CompleteOptions]",
    ) -> Stream[types.Completion]: ...

    @overload
    def create(
        self,
        *,
        model: str,
        prompt: str,
        stream: bool,
        **options: "Unpack[CompleteOptions]",
    ) -> Union[types.Completion, Stream[types.Completion]]: ...

    def create(
        self, *, model: str, prompt: str, stream: Optional[bool] = False, **options: Any
    ) -> Any:
        """A text completion without a chat template. Options as for chat, and suffix."""
        is_stream = flag_of(stream, "stream")
        request = build_complete(model, prompt, self._client._with_defaults(options))
        if not is_stream:
            return self._client._whole(request, reply.Collector)
        return self._client._stream(request, reply.CompletionChunks)


class Embeddings:
    def __init__(self, client: "Client"):
        self._client = client

    def create(
        self, *, input: Union[str, List[str]], model: str, **options: "Unpack[EmbedOptions]"
    ) -> types.CreateEmbeddingResponse:
        """A vector for each input: lists of floats, or base64 text where encoding_format="base64" asks for it, as openai does."""
        request = build_embed(model, input, self._client._with_defaults(options))
        found = self._client._whole(request, lambda call: reply.Vectors(call, request.wants_base64))
        return found  # type: ignore[no-any-return]


class Models:
    def __init__(self, client: "Client"):
        self._client = client

    def list(self) -> types.ModelList:
        """The names that calls may ask for."""
        return self._client._unary(Request(lib.sluice_models_new, kind="models"), reply.models_of)

    def retrieve(self, model: str) -> types.Model:
        name_bytes(model, "model")
        return find_model(self.list(), model)


def find_model(models: types.ModelList, name: str) -> types.Model:
    for model in models:
        if model.id == name:
            return model
    raise NotFoundError(
        f"no model '{name}'", status_code=404, code="model_not_found", param="model"
    )


class Client(NotCopied):
    """A connection to sluiced, made with the first call and made anew after it was lost.

    path       of the RPC socket; None: $SLUICE_SOCKET, else $XDG_RUNTIME_DIR/sluice/rpc.sock, else /run/sluice/rpc.sock
    timeout    seconds for calls that give none of their own; None: no limit
    class_     for calls that give none of their own
    """

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
        self._connections: List[_Waiter] = []
        self._is_closed = False
        self._finalizer = weakref.finalize(self, close_connections, self._connections)

    @property
    def chat(self) -> Chat:
        return Chat(self)

    @property
    def completions(self) -> TextCompletions:
        return TextCompletions(self)

    @property
    def embeddings(self) -> Embeddings:
        return Embeddings(self)

    @property
    def models(self) -> Models:
        return Models(self)

    def rerank(
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
        found = self._whole(request, lambda call: reply.Ranks(call, *wanted))
        return found  # type: ignore[no-any-return]

    def classify(
        self, *, model: str, input: Union[str, List[str]], **options: "Unpack[ClassifyOptions]"
    ) -> types.ClassifyResponse:
        """What a classifier says of each text; with a single text as many results as it tells: token classifiers list what they find."""
        request = build_classify(model, input, self._with_defaults(options))
        found = self._whole(request, reply.Labels)
        return found  # type: ignore[no-any-return]

    def status(self) -> types.Status:
        """What the daemon is doing now."""
        return self._unary(Request(lib.sluice_status_new, kind="status"), reply.status_of)

    def info(self) -> types.Info:
        """Version, limits and features of the daemon."""
        return self._unary(Request(lib.sluice_info_new, kind="info"), reply.info_of)

    def watch(self, interval: float = 1.0) -> Stream[types.Status]:
        """The status at once, then again when it has changed (looked at every interval, in seconds), and at least every 10 s. It ends with
        an InternalServerError, "draining", when the daemon stops."""
        return self._stream(build_watch(interval), reply.States)

    def reload(self) -> types.ReloadResult:
        """Makes the daemon read its configuration file again. For root and the daemon's own user; a file that cannot be used changes
        nothing: an APIStatusError with the code "bad_configuration" says what is wrong."""
        return self._unary(Request(lib.sluice_reload_new, kind="reload"), reply.reload_of)

    def drain(self) -> types.DrainResult:
        """Makes the daemon finish what runs and stop. For root and the daemon's own user."""
        return self._unary(Request(lib.sluice_drain_new, kind="drain"), reply.drain_of)

    def load(self, model: str) -> types.LoadResult:
        """Has a model loaded into the memory of its server, and returns when it is there. For root and the daemon's own user."""
        return self._unary(build_load(model), reply.load_of)

    def unload(self, model: str) -> types.UnloadResult:
        """Asks the servers of a model to free its memory. For root and the daemon's own user."""
        return self._unary(build_unload(model), reply.unload_of)

    def explain(
        self, model: str = "", *, request_id: str = "", class_: Optional[str] = None
    ) -> types.Explanation:
        """Why a call for the model would be admitted, queued or refused now; or, where there is a call of that id, where that stands. Nothing
        happens by it. Calls of others are known to root only; class_ is that of the call that would come."""
        request = build_explain(model, request_id, class_ or self._class)
        return self._unary(request, reply.explanation_of)

    def cancel(self, request_id: str) -> bool:
        """Ends a call of this user, of this client or of another program. True: it was there. From any thread."""
        own = open_calls(self._connections, request_id)
        for call in own:
            call.cancel()
        if own:
            return True
        name = name_bytes(request_id, "request_id")
        with Client(
            self._path, timeout=self._timeout
        ) as other:  # this one may be at work in its thread
            request = Request(lib.sluice_cancel_new, name, kind="cancel", param="request_id")
            return other._unary(request, reply.found_of)

    def close(self) -> None:
        """Ends what still runs, and the connection."""
        if not self._guard.is_of_this_process:
            self._finalizer()
            return
        if self._guard.is_interrupted:
            self._is_closed = True
            cancel_all(self._connections)
            self._guard.later(self._finalizer)
            return
        with self._guard:
            self._is_closed = True
            self._finalizer()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- how calls are made

    def _with_defaults(self, options: Any) -> Any:
        if self._class and not any(options.get(n) for n in ("class_", "priority", "service_tier")):
            return {**options, "class_": self._class}
        return options

    def _start(self, request: Request) -> Call:
        """Sends the request and closes it. The guard must be held."""
        try:
            if self._is_closed:
                raise RuntimeError("this client is closed")
            if not request.has_timeout:
                request.timeout = self._timeout
            connection = pick(self._connections, lambda: _Waiter(self._path, self._guard))
            return connection.start(request)  # type: ignore[no-any-return]
        finally:
            request.close()

    def _whole(self, request: Request, collect: Callable[[Call], Any]) -> Any:
        """All events of a call, collected."""
        with self._guard:
            call = self._start(request)
            try:
                collector = collect(call)
                give_up_at = _give_up_at(call)
                while True:
                    event = call.connection.next_event(call, give_up_at)  # type: ignore[attr-defined]
                    if event == Event.DONE:
                        return collector.result()
                    check_event(call, event)
                    collector.feed(event)
            finally:
                call.free()

    def _unary(self, request: Request, read: Callable[[Call], T]) -> T:
        with self._guard:
            call = self._start(request)
            try:
                event = call.connection.next_event(call, _give_up_at(call))  # type: ignore[attr-defined]
                check_event(call, event)
                return read(call)
            finally:
                call.free()

    def _stream(self, request: Request, pieces: Callable[[Call, bool], Any]) -> Stream[Any]:
        include_usage = request.include_usage
        with self._guard:
            call = self._start(request)
            stream: Stream[Any] = Stream(self, call, pieces(call, include_usage).feed)
        return stream._begin()
