"""The requests of the OpenAI Chat Completions and Completions API, as far as they are served here.

Every field has a bound. Three kinds of field:
  served       changes the answer and works
  IGNORED      cannot change the answer; accepted, counted, and named in `ownlm.ignored` of the response
  UNSUPPORTED  would change the answer; only its neutral value is accepted, anything else is a 400
A field that is in neither list is a 400 too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ownlm.records import Message, Request, Role, Sampling
from ownlm.serve.wire.errors import WireError

DEFAULT_CHAT_TOKENS = 256
DEFAULT_COMPLETION_TOKENS = 16  # as in the OpenAI API

MAX_TOKENS = 32_768
MAX_TEXT = 524_288  # characters; the body limit (1 MiB) comes first for most texts
MAX_SEED = 2**63 - 1

IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)

UNSUPPORTED = {
    "audio": "this server answers in text only.",
    "best_of": "one answer is generated per request; leave it out or send 1.",
    "echo": "the prompt is not sent back; leave it out or send false.",
    "frequency_penalty": "leave it out or send 0.",
    "function_call": "this server calls no functions.",
    "functions": "this server calls no functions.",
    "logit_bias": "leave it out.",
    "logprobs": "log probabilities are not returned; leave it out.",
    "modalities": 'this server answers in text only; leave it out or send ["text"].',
    "moderation": "leave it out.",
    "n": "one answer is generated per request; leave it out or send 1.",
    "prediction": "leave it out.",
    "presence_penalty": "leave it out or send 0.",
    "reasoning_effort": "this model does not reason step by step; leave it out.",
    "response_format": 'only {"type": "text"} is possible; leave it out.',
    "suffix": "this model only continues a text; leave it out.",
    "tool_choice": "this server calls no tools.",
    "tools": "this server calls no tools.",
    "top_logprobs": "log probabilities are not returned; leave it out.",
    "verbosity": "leave it out.",
    "web_search_options": "this server never uses the network.",
}

Text = Annotated[str, Field(max_length=MAX_TEXT)]
Short = Annotated[str, Field(max_length=512)]
StopText = Annotated[str, Field(min_length=1, max_length=256)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Zero = Annotated[float, Field(ge=0, le=0)]
One = Annotated[int, Field(ge=1, le=1)]
Nothing = Annotated[list[Any], Field(max_length=0)]
NoBias = Annotated[dict[Short, Zero], Field(max_length=0)]
Labels = Annotated[dict[Short, Short], Field(max_length=16)]


class Strict(BaseModel):
    """No coercion ("12" is not 12), no NaN or infinity, no unknown field."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class TextPart(Strict):
    type: Literal["text"]
    text: Text


class WireMessage(Strict):
    """One message. An answer may be sent back as it came (`refusal`, `annotations` ... are null)."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1, max_length=64)]
    name: Short | None = None  # ignored: the template has no place for it
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing | None = None
    annotations: Nothing | None = None

    def message(self) -> Message:
        role: Role = "system" if self.role == "developer" else self.role
        content = self.content if isinstance(self.content, str) else "".join(p.text for p in self.content)
        return Message(role, content)


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False  # no obfuscation is ever added


class TextFormat(Strict):
    type: Literal["text"]


class _Shared(Strict):
    """The fields that both requests have."""

    model: Short
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None  # 0: off; an extra that vLLM has too
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    user: Short | None = None
    metadata: Labels | None = None
    store: bool | None = None
    service_tier: Short | None = None
    safety_identifier: Short | None = None
    prompt_cache_key: Short | None = None
    prompt_cache_options: Labels | None = None
    prompt_cache_retention: Short | None = None

    n: One | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logit_bias: NoBias | None = None

    def ignored(self) -> list[str]:
        """Fields that were sent and that have no effect."""
        return sorted(name for name in self.model_fields_set & IGNORED if getattr(self, name) is not None)

    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def _sampling(self, max_tokens: int) -> Sampling:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            max_tokens=max_tokens,
            temperature=0.0 if self.temperature is None else float(self.temperature),
            top_p=1.0 if self.top_p is None else float(self.top_p),
            top_k=self.top_k or 0,
            seed=self.seed,
            stop=tuple(stop),
        )


class ChatRequest(_Shared):
    messages: Annotated[list[WireMessage], Field(min_length=1, max_length=256)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None

    parallel_tool_calls: bool | None = None

    audio: None = None
    function_call: Literal["none"] | None = None
    functions: Nothing | None = None
    logprobs: Literal[False] | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    moderation: None = None
    prediction: None = None
    reasoning_effort: Literal["none"] | None = None
    response_format: TextFormat | None = None
    tool_choice: Literal["none", "auto"] | None = None
    tools: Nothing | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=0)] | None = None
    verbosity: None = None
    web_search_options: None = None

    def ignored(self) -> list[str]:
        names = ["messages.name"] if any(m.name is not None for m in self.messages) else []
        return sorted(names + super().ignored())

    def request(self, request_id: str) -> Request:
        """Raises WireError when max_tokens and max_completion_tokens contradict each other."""
        both = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(both) > 1:
            raise WireError(
                400,
                "`max_tokens` and `max_completion_tokens` differ. Send one of them.",
                param="max_tokens",
                code="invalid_value",
            )
        limit = self.max_completion_tokens or self.max_tokens or DEFAULT_CHAT_TOKENS
        messages = tuple(message.message() for message in self.messages)
        return Request(messages=messages, sampling=self._sampling(limit), id=request_id)


class CompletionRequest(_Shared):
    """`prompt`: a text, token ids, or a list that holds exactly one of these."""

    prompt: (
        Text
        | Annotated[list[TokenId], Field(min_length=1, max_length=MAX_TOKENS)]
        | Annotated[list[Text], Field(min_length=1, max_length=1)]
        | Annotated[
            list[Annotated[list[TokenId], Field(min_length=1, max_length=MAX_TOKENS)]],
            Field(min_length=1, max_length=1),
        ]
    )

    best_of: One | None = None
    echo: Literal[False] | None = None
    logprobs: None = None
    suffix: None = None

    def request(self, request_id: str) -> Request:
        sampling = self._sampling(self.max_tokens or DEFAULT_COMPLETION_TOKENS)
        prompt: Any = self.prompt
        if isinstance(prompt, list) and not isinstance(prompt[0], int):
            prompt = prompt[0]
        if isinstance(prompt, str):
            return Request(prompt=prompt, sampling=sampling, id=request_id)
        return Request(prompt_ids=tuple(prompt), sampling=sampling, id=request_id)
