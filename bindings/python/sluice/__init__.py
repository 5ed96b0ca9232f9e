"""Talk to sluiced, the local gateway to language models, in the words of the openai package.

    import sluice

    client = sluice.Client()
    for chunk in client.chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": "Hello"}], stream=True
    ):
        print(chunk.choices[0].delta.content or "", end="")

Client blocks, AsyncClient is for asyncio. Both talk to the daemon over its Unix socket, through libsluice; no HTTP, no keys.
"""

from ._aio import AsyncClient, AsyncStream
from ._client import Client, Stream
from ._errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    SluiceError,
    UnprocessableEntityError,
)
from ._native import lib as _lib
from ._types import (
    CallerStatus,
    CallInfo,
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    ClassifyResponse,
    ClassifyResult,
    ClassStatus,
    Completion,
    CompletionUsage,
    CreateEmbeddingResponse,
    DeploymentStatus,
    DrainResult,
    Embedding,
    Explanation,
    Info,
    Model,
    ModelList,
    ReloadResult,
    RerankDocument,
    RerankResponse,
    RerankResult,
    Status,
    LoadResult,
    UnloadResult,
)

__version__ = "0.1.0"


def library_version() -> str:
    """Of the libsluice that was loaded."""
    return str(_lib.sluice_version_string().decode())


__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncClient",
    "AsyncStream",
    "AuthenticationError",
    "BadRequestError",
    "CallInfo",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatCompletionMessage",
    "ClassifyResponse",
    "ClassifyResult",
    "Client",
    "Completion",
    "CompletionUsage",
    "ConflictError",
    "CreateEmbeddingResponse",
    "CallerStatus",
    "ClassStatus",
    "DeploymentStatus",
    "DrainResult",
    "Embedding",
    "Explanation",
    "Info",
    "InternalServerError",
    "Model",
    "ModelList",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ReloadResult",
    "RerankDocument",
    "RerankResponse",
    "RerankResult",
    "SluiceError",
    "Status",
    "Stream",
    "LoadResult",
    "UnloadResult",
    "UnprocessableEntityError",
    "library_version",
]
