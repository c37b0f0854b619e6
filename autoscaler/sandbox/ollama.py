"""What Ollama's HTTP interface says and understands: questions in, pieces of an answer out.

Shapes follow ollama/ollama server/routes.go and its OpenAI layer, as far as a chat needs them.
Texts are filler: a token is one word of four characters.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from autoscaler.sandbox.service import CONTEXT_TOKENS, OUTPUT_CAP_TOKENS

VERSION = "0.34.2"
"""The release whose behaviour is followed."""
BUSY = "server busy, please try again.  maximum pending requests exceeded"
DEFAULT_OUTPUT_TOKENS = 128
"""For a question without `num_predict`: a model ends on its own; this is a usual length."""
CHARACTERS_PER_TOKEN = 4
INPUT_TOKENS_OPTION = "sandbox_input_tokens"
"""An option of ours: the length of the prompt, where sending it is not worth the bytes."""
_WORDS = ("the ", "sun ", "was ", "low ", "and ", "all ", "was ", "red ", "now ", "too ")

Json = Mapping[str, object]
Dialect = Literal["generate", "chat", "v1/chat", "v1/completions"]


class AskError(Exception):
    """The question cannot be answered; carries the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question, in whichever dialect it came."""

    dialect: Dialect
    model: str
    input_tokens: int
    output_tokens: int
    limited: bool
    """The length was asked for, so the answer ends for that reason."""
    stream: bool
    usage: bool = True
    """Counts were asked for at the end of a stream (they always come in the native dialects)."""

    @property
    def loads_only(self) -> bool:
        """An empty native question: the model is brought into memory and nothing is said."""
        return self.input_tokens == 0 and self.dialect in ("generate", "chat")

    @property
    def content_type(self) -> str:
        """What a stream in this dialect is."""
        return "text/event-stream" if self.dialect.startswith("v1") else "application/x-ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts and durations of a finished answer; nanoseconds of wall time."""

    total: int
    load: int
    prompt: int
    output: int


def parse_ask(dialect: Dialect, body: bytes, models: frozenset[str]) -> Ask:
    """Read a question. Raises AskError with Ollama's status and words."""
    if not body:
        raise AskError(400, "missing request body")
    try:
        data = json.loads(body)
    except ValueError as error:
        raise AskError(400, str(error)) from None
    if not isinstance(data, dict):
        raise AskError(400, "the request body must be a JSON object")
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise AskError(400, "model is required")
    if model not in models:
        raise AskError(404, f"model '{model}' not found")
    return _native(dialect, model, data) if "v1" not in dialect else _openai(dialect, model, data)


def _native(dialect: Dialect, model: str, data: Json) -> Ask:
    options = data.get("options")
    if not isinstance(options, Mapping):
        options = {}
    wanted = _positive(options.get("num_predict"))
    return Ask(
        dialect=dialect,
        model=model,
        input_tokens=min(
            CONTEXT_TOKENS, _positive(options.get(INPUT_TOKENS_OPTION)) or _prompt_tokens(data)
        ),
        output_tokens=min(OUTPUT_CAP_TOKENS, wanted or DEFAULT_OUTPUT_TOKENS),
        limited=wanted is not None,
        stream=data.get("stream") is not False,
    )


def _openai(dialect: Dialect, model: str, data: Json) -> Ask:
    wanted = _positive(data.get("max_completion_tokens")) or _positive(data.get("max_tokens"))
    options = data.get("stream_options")
    return Ask(
        dialect=dialect,
        model=model,
        input_tokens=min(CONTEXT_TOKENS, max(1, _prompt_tokens(data))),
        output_tokens=min(OUTPUT_CAP_TOKENS, wanted or DEFAULT_OUTPUT_TOKENS),
        limited=wanted is not None,
        stream=data.get("stream") is True,
        usage=isinstance(options, Mapping) and options.get("include_usage") is True,
    )


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _prompt_tokens(data: Json) -> int:
    messages = data.get("messages")
    texts = [data.get("system"), data.get("prompt")]
    if isinstance(messages, list):
        texts += [each.get("content") for each in messages if isinstance(each, Mapping)]
    return -(-sum(_length(text) for text in texts) // CHARACTERS_PER_TOKEN)


def _length(content: object) -> int:
    if isinstance(content, str):
        return len(content)
    if isinstance(content, list):  # OpenAI's parts
        return sum(
            _length(each.get("text") if isinstance(each, Mapping) else each) for each in content
        )
    return 0


def words(count: int, first: int = 0) -> str:
    """Return that many tokens of filler, going on from token `first`."""
    return "".join(_WORDS[(first + each) % len(_WORDS)] for each in range(count))


def now_text() -> str:
    """Return the time as Ollama writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def piece(ask: Ask, text: str, *, first: bool) -> bytes:
    """Return a piece of a streamed answer."""
    if ask.dialect == "v1/chat":
        delta = {"role": "assistant", "content": text} if first else {"content": text}
        return _event(ask, {"index": 0, "delta": delta, "finish_reason": None})
    if ask.dialect == "v1/completions":
        return _event(ask, {"index": 0, "text": text, "finish_reason": None})
    return _line(_native_answer(ask, text, done=False))


def last_piece(ask: Ask, usage: Usage) -> bytes:
    """Return what ends a streamed answer."""
    if ask.dialect == "v1/chat":
        end = _event(ask, {"index": 0, "delta": {}, "finish_reason": _end(ask)})
    elif ask.dialect == "v1/completions":
        end = _event(ask, {"index": 0, "text": "", "finish_reason": _end(ask)})
    else:
        return _line(_native_answer(ask, "", done=True) | _native_counts(ask, usage))
    if ask.usage:
        end += _sse(_openai_answer(ask, []) | {"usage": _openai_counts(ask)})
    return end + b"data: [DONE]\n\n"


def whole(ask: Ask, text: str, usage: Usage) -> dict[str, object]:
    """Return an answer that is not streamed."""
    if ask.dialect == "v1/chat":
        message = {"role": "assistant", "content": text}
        choice: dict[str, object] = {"index": 0, "message": message, "finish_reason": _end(ask)}
    elif ask.dialect == "v1/completions":
        choice = {"index": 0, "text": text, "finish_reason": _end(ask)}
    else:
        return _native_answer(ask, text, done=True) | _native_counts(ask, usage)
    return _openai_answer(ask, [choice], chunk=False) | {"usage": _openai_counts(ask)}


def loaded(ask: Ask) -> dict[str, object]:
    """Return the answer to an empty question."""
    return _native_answer(ask, "", done=True) | {"done_reason": "load"}


def error_body(message: str, *, openai: bool, status: int) -> dict[str, object]:
    """Return an error in the words of either dialect."""
    if not openai:
        return {"error": message}
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _native_answer(ask: Ask, text: str, *, done: bool) -> dict[str, object]:
    said: dict[str, object] = (
        {"message": {"role": "assistant", "content": text}}
        if ask.dialect == "chat"
        else {"response": text}
    )
    return {"model": ask.model, "created_at": now_text()} | said | {"done": done}


def _native_counts(ask: Ask, usage: Usage) -> dict[str, object]:
    return {
        "done_reason": _end(ask),
        "total_duration": usage.total,
        "load_duration": usage.load,
        "prompt_eval_count": ask.input_tokens,
        "prompt_eval_duration": usage.prompt,
        "eval_count": ask.output_tokens,
        "eval_duration": usage.output,
    }


def _openai_counts(ask: Ask) -> dict[str, int]:
    return {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": ask.output_tokens,
        "total_tokens": ask.input_tokens + ask.output_tokens,
    }


def _openai_answer(ask: Ask, choices: list[object], *, chunk: bool = True) -> dict[str, object]:
    chat = ask.dialect == "v1/chat"
    kind = ("chat.completion" + (".chunk" if chunk else "")) if chat else "text_completion"
    return {
        "id": "chatcmpl-1" if chat else "cmpl-1",
        "object": kind,
        "created": int(datetime.now(UTC).timestamp()),
        "model": ask.model,
        "system_fingerprint": "fp_ollama",
        "choices": choices,
    }


def _event(ask: Ask, choice: Json) -> bytes:
    return _sse(_openai_answer(ask, [choice]))


def _end(ask: Ask) -> str:
    return "length" if ask.limited else "stop"


def _sse(value: Json) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _line(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
