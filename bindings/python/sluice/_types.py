"""What calls answer: plain dataclasses with the names of the openai package.

model_dump() gives what the JSON of the HTTP port would hold, with None where openai's objects have None. Beside openai's fields each
answer has `sluice`, which is not dumped: request id, deployment and timings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, Dict, Iterator, List, Optional


def _dump(value: Any, exclude_none: bool) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=exclude_none)
    if isinstance(value, list):
        return [_dump(v, exclude_none) for v in value]
    return value


class BaseModel:
    """The methods that programs know from openai's objects."""

    def model_dump(
        self, *, mode: str = "python", exclude_none: bool = False, exclude_unset: bool = False
    ) -> Dict[str, Any]:
        """Nothing is "unset" here: exclude_unset leaves out what is None. The modes are the same."""
        exclude_none = exclude_none or exclude_unset
        out = {}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if f.name != "sluice" and not (exclude_none and value is None):
                out[f.name] = _dump(value, exclude_none)
        return out

    def model_dump_json(
        self,
        *,
        indent: Optional[int] = None,
        exclude_none: bool = False,
        exclude_unset: bool = False,
    ) -> str:
        return json.dumps(
            self.model_dump(exclude_none=exclude_none, exclude_unset=exclude_unset),
            indent=indent,
            ensure_ascii=False,
        )

    def to_dict(self, *, mode: str = "python") -> Dict[str, Any]:
        return self.model_dump(exclude_none=True)

    def to_json(self, *, indent: Optional[int] = 2) -> str:
        return self.model_dump_json(indent=indent, exclude_none=True)


@dataclass
class CallInfo(BaseModel):
    """What sluice knows about a call beside the answer. Durations are seconds; they are known at its end."""

    request_id: str = ""
    deployment: str = ""
    queue_seconds: Optional[float] = None  # from the arrival to the grant of a slot
    first_token_seconds: Optional[float] = None  # from the arrival; None: there was none
    total_seconds: Optional[float] = None
    has_usage: bool = False  # False: the model server did not count, and usage is all zeros


class _Answer(BaseModel):
    sluice: CallInfo

    @property
    def _request_id(self) -> Optional[str]:
        """openai's name for it."""
        return self.sluice.request_id or None


# ---------------------------------------------------------------------------------------------- parts


@dataclass
class PromptTokensDetails(BaseModel):
    cached_tokens: Optional[int] = None
    audio_tokens: Optional[int] = None


@dataclass
class CompletionTokensDetails(BaseModel):
    reasoning_tokens: Optional[int] = None


@dataclass
class CompletionUsage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: Optional[PromptTokensDetails] = None
    completion_tokens_details: Optional[CompletionTokensDetails] = None


@dataclass
class TopLogprob(BaseModel):
    token: str
    logprob: float
    bytes: Optional[List[int]] = None


@dataclass
class ChatCompletionTokenLogprob(BaseModel):
    token: str
    logprob: float
    bytes: Optional[List[int]] = None
    top_logprobs: List[TopLogprob] = field(default_factory=list)


@dataclass
class ChoiceLogprobs(BaseModel):
    content: Optional[List[ChatCompletionTokenLogprob]] = None
    refusal: Optional[List[ChatCompletionTokenLogprob]] = None


@dataclass
class Logprobs(BaseModel):
    """Of a text completion."""

    text_offset: Optional[List[int]] = None
    token_logprobs: Optional[List[float]] = None
    tokens: Optional[List[str]] = None
    top_logprobs: Optional[List[Dict[str, float]]] = None


@dataclass
class Function(BaseModel):
    arguments: str
    name: str


@dataclass
class ChatCompletionMessageToolCall(BaseModel):
    id: str
    function: Function
    type: str = "function"


# ---------------------------------------------------------------------------------------------- chat


@dataclass
class ChatCompletionMessage(BaseModel):
    content: Optional[str] = None
    refusal: Optional[str] = None
    role: str = "assistant"
    tool_calls: Optional[List[ChatCompletionMessageToolCall]] = None
    reasoning_content: Optional[str] = None


@dataclass
class Choice(BaseModel):
    finish_reason: str
    index: int
    message: ChatCompletionMessage
    logprobs: Optional[ChoiceLogprobs] = None


@dataclass
class ChatCompletion(_Answer):
    id: str
    choices: List[Choice]
    created: int
    model: str
    object: str = "chat.completion"
    service_tier: Optional[str] = None
    system_fingerprint: Optional[str] = None
    usage: Optional[CompletionUsage] = None
    sluice: CallInfo = field(default_factory=CallInfo, repr=False, compare=False)


@dataclass
class ChoiceDeltaToolCallFunction(BaseModel):
    arguments: Optional[str] = None
    name: Optional[str] = None


@dataclass
class ChoiceDeltaToolCall(BaseModel):
    index: int
    id: Optional[str] = None
    function: Optional[ChoiceDeltaToolCallFunction] = None
    type: Optional[str] = None


@dataclass
class ChoiceDelta(BaseModel):
    content: Optional[str] = None
    refusal: Optional[str] = None
    role: Optional[str] = None
    tool_calls: Optional[List[ChoiceDeltaToolCall]] = None
    reasoning_content: Optional[str] = None


@dataclass
class ChunkChoice(BaseModel):
    delta: ChoiceDelta
    index: int
    finish_reason: Optional[str] = None
    logprobs: Optional[ChoiceLogprobs] = None


@dataclass
class ChatCompletionChunk(_Answer):
    id: str
    choices: List[ChunkChoice]
    created: int
    model: str
    sluice: CallInfo = field(repr=False, compare=False)
    object: str = "chat.completion.chunk"
    service_tier: Optional[str] = None
    system_fingerprint: Optional[str] = None
    usage: Optional[CompletionUsage] = None


# ---------------------------------------------------------------------------------------------- completions


@dataclass
class CompletionChoice(BaseModel):
    index: int
    text: str
    finish_reason: Optional[str] = None
    logprobs: Optional[Logprobs] = None
    reasoning_content: Optional[str] = None


@dataclass
class Completion(_Answer):
    """Whole, or a piece of a streamed one."""

    id: str
    choices: List[CompletionChoice]
    created: int
    model: str
    object: str = "text_completion"
    system_fingerprint: Optional[str] = None
    usage: Optional[CompletionUsage] = None
    sluice: CallInfo = field(default_factory=CallInfo, repr=False, compare=False)


# ---------------------------------------------------------------------------------------------- embeddings


@dataclass
class Embedding(BaseModel):
    embedding: Any  # List[float]; str where encoding_format="base64" was asked for
    index: int
    object: str = "embedding"


@dataclass
class EmbeddingUsage(BaseModel):
    prompt_tokens: int = 0
    total_tokens: int = 0


@dataclass
class CreateEmbeddingResponse(_Answer):
    data: List[Embedding]
    model: str
    object: str = "list"
    usage: EmbeddingUsage = field(default_factory=EmbeddingUsage)
    sluice: CallInfo = field(default_factory=CallInfo, repr=False, compare=False)


# ---------------------------------------------------------------------------------------------- rerank, classify


@dataclass
class RerankDocument(BaseModel):
    text: str


@dataclass
class RerankResult(BaseModel):
    index: int  # of the document
    relevance_score: float  # as high or low as the model server counts
    document: Optional[RerankDocument] = None
    raw: Dict[str, Any] = field(default_factory=dict, repr=False)  # all that the model server said

    def model_dump(self, **options: Any) -> Dict[str, Any]:
        out = {**self.raw, "index": self.index, "relevance_score": self.relevance_score}
        out["document"] = self.document and self.document.model_dump()
        return {k: v for k, v in out.items() if v is not None or not _leaves_out(options)}


@dataclass
class RerankResponse(_Answer):
    """Best first. Iterate over it, or look at .results."""

    id: str
    results: List[RerankResult]
    model: str
    object: str = "list"
    usage: EmbeddingUsage = field(default_factory=EmbeddingUsage)
    sluice: CallInfo = field(default_factory=CallInfo, repr=False, compare=False)

    def __iter__(self) -> Iterator[RerankResult]:
        return iter(self.results)


@dataclass
class ClassifyResult(BaseModel):
    """What the model server said of one text: label and probs from vLLM, in raw whatever there is."""

    index: int  # of the text
    label: Optional[str] = None
    probs: Optional[List[float]] = None
    num_classes: Optional[int] = None
    score: float = 0.0  # the highest of the probs, or the server's own; 0: it said none
    raw: Any = field(default=None, repr=False)  # a dict; from some token classifiers a list

    def model_dump(self, **options: Any) -> Any:
        if not isinstance(self.raw, dict):
            return self.raw
        return {k: v for k, v in self.raw.items() if v is not None or not _leaves_out(options)}


@dataclass
class ClassifyResponse(_Answer):
    """In the order of the texts. Iterate over it, or look at .data."""

    id: str
    data: List[ClassifyResult]
    created: int
    model: str
    object: str = "list"
    usage: EmbeddingUsage = field(default_factory=EmbeddingUsage)
    sluice: CallInfo = field(default_factory=CallInfo, repr=False, compare=False)

    def __iter__(self) -> Iterator[ClassifyResult]:
        return iter(self.data)


def _leaves_out(options: Dict[str, Any]) -> bool:
    return bool(options.get("exclude_none") or options.get("exclude_unset"))


# ---------------------------------------------------------------------------------------------- models, status


@dataclass
class Model(BaseModel):
    id: str
    created: int = 0
    object: str = "model"
    owned_by: str = "sluice"
    provider: str = ""  # of the first deployment
    deployments: int = 0
    available_deployments: int = 0
    # in the memory of the daemon's device, as in DeploymentStatus, of the first deployment that an account is kept for; "" and 0: not known
    memory_state: str = ""
    need_bytes: int = 0
    need_source: str = ""
    fits: str = ""
    file_bytes: int = 0
    held_bytes: int = 0
    upstream_model: str = ""
    api_base: str = ""


@dataclass
class ModelList(BaseModel):
    """What models.list() answers: iterate over it, or look at .data."""

    data: List[Model]
    object: str = "list"

    def __iter__(self) -> Iterator[Model]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


@dataclass
class DeploymentStatus(BaseModel):
    model: str  # the public name
    id: str
    provider: str
    slots: int
    slots_in_use: int
    is_available: bool
    unavailable_reason: str
    upstream_model: str  # the name at the model server
    api_base: str
    is_loaded: bool  # in the server's memory, as far as is known
    idle_seconds: Optional[float]  # since its last call; None: there was none, or it is in use
    server_version: str = ""  # of the model server, where it is known
    order: Optional[int] = None  # the lowest is asked first
    weight: Optional[float] = None  # against the others of its model
    tags: List[str] = field(default_factory=list)
    is_local_only: bool = False  # calls that it could serve never leave the device
    paused_seconds: Optional[float] = None  # it is left alone for so long yet, for the unavailable_reason
    aliases: List[str] = field(default_factory=list)  # other names that lead to it
    # of its model in the memory of this device; "" and 0: not known
    memory_state: str = ""  # "unloaded", "asked", "reserved", "loading", "resident", "draining", "unloading", "quarantined"
    need_bytes: int = 0  # for a load
    need_source: str = ""  # "learned", "configured", "reported", "computed"
    fits: str = ""  # "now", "later", "not now", "never"
    file_bytes: int = 0
    held_bytes: int = 0


@dataclass
class ClassStatus(BaseModel):
    name: str
    calls_queued: int
    calls_running: int
    oldest_seconds: float  # how long who waits longest has waited


@dataclass
class CallerStatus(BaseModel):
    name: str  # "uid 1000", "unit x.service", "key ci", "others"
    calls_queued: int
    calls_running: int
    weight: int  # of its share
    idle_seconds: float  # since it asked last


@dataclass
class Status(BaseModel):
    """What the daemon is doing. The counts of calls are since it started, but for queued and running."""

    version: str
    uptime_seconds: float
    pressure_level: int  # 0 to 4
    pressure_source: str  # "psi+trigger", "psi", "vmstat", "meminfo", "none"
    pressure_some_permille: int
    pressure_full_permille: int
    pressure_reason: str  # why the level is what it is: "headroom 180 MiB < 233 MiB"; "calm"
    headroom_bytes: int  # what is left for models, on the device or below a limit
    memory_bytes: int  # of that device or limit; 0: not known
    is_draining: bool
    config_generation: int
    connections: int
    calls_queued: int
    calls_running: int
    calls_completed: int
    calls_failed: int
    calls_cancelled: int
    calls_refused: int
    tickets: int
    deployments: List[DeploymentStatus]
    tokens_in: int  # since the daemon started, as the next two
    tokens_out: int
    pieces_out: int  # of text; of most model servers each is a token
    classes: List[ClassStatus]  # interactive, batch, background
    callers: List[CallerStatus]  # that have calls, or had one within the last minute
    reservations: int  # of memory, for models that are about to be loaded
    reserved_bytes: int
    model_loads: int  # since the daemon started, as the next four
    model_unloads: int  # to make room
    loads_stopped: int  # that would have taken all memory
    unloads_stuck: int  # never confirmed
    quarantines: int  # of models whose load was killed
    calls_spilled_level: int  # that left the device since the daemon started: for the level of memory pressure,
    calls_spilled_wait: int  # as they would have waited for long, or were refused a place,
    calls_spilled_room: int  # as their model found no memory


@dataclass
class ReloadResult(BaseModel):
    config_generation: int
    models: int  # names that may be asked for


@dataclass
class DrainResult(BaseModel):
    calls_running: int  # which the daemon finishes before it stops


@dataclass
class LoadResult(BaseModel):
    was_there: bool  # nothing had to be loaded
    seconds: float  # with the wait for its turn
    need_bytes: int  # what it is believed to take; 0: not known


@dataclass
class UnloadResult(BaseModel):
    unloaded: int  # deployments whose server confirmed
    unchanged: int  # not loaded, or the server has no such request


@dataclass
class Explanation(BaseModel):
    """Why a call for a model would be admitted, queued or refused now, or where a call stands."""

    verdict: str  # of a model "admitted", "queued", "refused", "spilled", "fallback"; of a call "waiting", "running", "ending"
    text: str  # some lines for people
    code: Optional[str]  # of "refused"
    wait_seconds: Optional[float]  # predicted, of a model; so far, of a call that waits; None: not known, or none
    position: Optional[int]  # of a call that waits, from 1; None: not known


@dataclass
class Info(BaseModel):
    """What this daemon can do."""

    version: str
    api_level: int
    features: List[str]
    max_frame_bytes: int
    max_calls: int  # at a time on one connection; clients open further ones as needed
    max_messages: int
    max_inputs: int
    high_water_bytes: int
    stalled_reader_seconds: float
    file_descriptor_set: bytes = field(default=b"", repr=False)
