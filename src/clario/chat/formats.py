"""What the two kinds of chat servers are sent and what they reply.

Sources: https://docs.ollama.com/api/chat and https://platform.openai.com/docs/api-reference/chat/create.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from clario.chat.server import Api, Sampling, Server

MOST_TOKENS = 4096  # that a model may write, thoughts included, so that one that loops comes to an end
_LENGTHS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})


def body(
    server: Server,
    messages: Sequence[Mapping[str, str]],
    schema: Mapping[str, Any],
    seed: int,
    sampling: Sampling,
    think: bool | str,
) -> dict[str, Any]:
    """A request; `think` is for Ollama."""
    common = {"model": server.model, "messages": list(messages), "stream": False}
    if server.api is Api.OLLAMA:
        options = {"seed": seed, "temperature": sampling.temperature, "num_predict": MOST_TOKENS}
        if sampling.context:
            options["num_ctx"] = sampling.context
        return common | {"format": schema, "think": think, "options": options}
    form = {"name": "diary", "strict": True, "schema": schema}
    limit = {"max_tokens": MOST_TOKENS} if sampling.limited else {}
    return (
        common
        | {"response_format": {"type": "json_schema", "json_schema": form}}
        | {"seed": seed, "temperature": sampling.temperature}
        | limit
    )


def plainest(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request for an OpenAI-compatible server without what some of them refuse."""
    kept = {name: body[name] for name in ("model", "messages", "stream", "response_format")}
    return kept | {"response_format": _without_lengths(body["response_format"])}


def _without_lengths(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {k: _without_lengths(v) for k, v in schema.items() if k not in _LENGTHS}
    return [_without_lengths(item) for item in schema] if isinstance(schema, list) else schema


def content(api: Api, body: Any) -> tuple[str, object, str | None]:
    """What the model wrote, what it thought, and what is wrong with the reply."""
    return _ollama(body) if api is Api.OLLAMA else _openai(body)


def _ollama(body: Any) -> tuple[str, object, str | None]:
    fault = "the server reports an error" if _at(body, "error") else None
    if _at(body, "done_reason") == "length":
        fault = "the answer was cut off at the limit of tokens"
    return _text(_at(body, "message", "content")), _at(body, "message", "thinking"), fault


def _openai(body: Any) -> tuple[str, object, str | None]:
    choice = _at(body, "choices", 0)
    message = _at(choice, "message")
    fault = {
        "length": "the answer was cut off at the limit of tokens",
        "content_filter": "the server's filter stopped the answer",
    }.get(_text(_at(choice, "finish_reason")))
    if _at(message, "refusal"):
        fault = "the model declined"
    elif choice is None:
        fault = "the reply has no choices"
    thought = _at(message, "reasoning_content") or _at(message, "reasoning")
    return _text(_at(message, "content")), thought, fault


def message(data: bytes) -> str:
    """The message of an error reply, where it has one: {"error": "..."} or {"error": {"message": "..."}}."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    return _text(_at(body, "error", "message")) or _text(_at(body, "error")) or _text(_at(body, "message"))


def _at(value: Any, *path: str | int) -> Any:
    """What stands at a path in a JSON value, or None where there is no such path."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def tokens(body: Any) -> tuple[int, int]:
    """Tokens read and written, as Ollama tells them or as OpenAI's API does; 0 where a server does not."""
    names = (("prompt_eval_count", "eval_count"), ("prompt_tokens", "completion_tokens"))
    read, written = names[0] if _at(body, "usage") is None else names[1]
    usage = _at(body, "usage") or body
    return _count(_at(usage, read)), _count(_at(usage, written))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
