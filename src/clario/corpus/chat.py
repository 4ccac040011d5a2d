"""Ask a chat server for JSON, Ollama's or an OpenAI-compatible one: patiently, but not for ever.

Sources of the formats: https://docs.ollama.com/api/chat and
https://platform.openai.com/docs/api-reference/chat/create.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Self
from urllib.parse import urlsplit

from clario import __version__
from clario.errors import InputError, ModelError
from clario.paths import shown

try:
    import httpx
except ImportError:
    raise ModelError("talking to a chat server needs httpx: pip install 'clario[chat]'") from None

KEY_VARIABLE = "CLARIO_API_KEY"
LARGEST_REPLY = 4 * 2**20  # bytes; a diary with its entities has about 5,000
MOST_TOKENS = 4096  # that Ollama may write, thoughts included, so that a model that loops comes to an end
CONNECTING = 10.0  # seconds
LONGEST_PAUSE = 15 * 60.0  # seconds; a server that asks for a longer one is left alone
_SHORTEST_SECRET = 8  # local servers take any key, such as "none": no secret, and a word of diaries
_SERVERS_WORDS = 200  # code points of a server's own error message that are shown
_HOW = "is not a URL such as http://127.0.0.1:11434, without user, password and query"
_OVERLOADED = frozenset({408, 425, 429})
_UNFIT = frozenset({400, 413, 422})  # one prompt may meet a filter or a limit where others pass
_HINTS = {401: f"; check {KEY_VARIABLE}", 403: f"; check {KEY_VARIABLE}", 404: "; check URL, model and API"}


class Api(StrEnum):
    """What a server speaks."""

    OLLAMA = "ollama"
    OPENAI = "openai"


class ServerError(ModelError):
    """The server is not there, went away, or refuses what it is asked: another request makes no sense."""


class NoReply(Exception):  # noqa: N818 - no error of the user's: whoever asked may ask again
    """A request got no reply; the message says why, without a word of a diary."""


class _Dropped(NoReply):
    """The connection went; the same request may well succeed."""


class _Gone(_Dropped):
    """No connection any more, though there was one."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a model is: the server's URL (with or without a path such as `/v1`), the model as it is named there.

    Raises:
        InputError: not an http or https URL, or one that carries a user, a password or a query.
    """

    url: str
    model: str
    api: Api = Api.OLLAMA

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username or parts.password or parts.query or parts.fragment:
            raise InputError(f"{shown(self.url)} {_HOW}")

    @property
    def endpoint(self) -> str:
        """Where the requests go."""
        path = "/api/chat" if self.api is Api.OLLAMA else "/v1/chat/completions"
        base = self.url.rstrip("/")
        return base.removesuffix(path).removesuffix("/v1").removesuffix("/api") + path

    @property
    def is_this_machine(self) -> bool:
        """Whether the URL names the loopback, which no proxy can reach."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote, its tokens (0 where the server does not tell), and what is wrong with the reply."""

    content: str
    tokens_in: int = 0
    tokens_out: int = 0
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is sent, and how long to wait between, in seconds.

    Exponential with full jitter: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """

    tries: int = 6
    first: float = 1.0
    longest: float = 60.0

    def wait(self, failures: int, asked_for: float | None = None) -> float:
        """Seconds to wait after so many failures (1 or more); at least as long as the server asked for."""
        if asked_for is not None:
            return asked_for + random.uniform(0, self.first)
        return random.uniform(0, min(self.longest, self.first * 2 ** (failures - 1)))


class Chat:
    """A conversation with one server, for `concurrency` requests at once; an asynchronous context manager.

    The API key, where the server wants one, is read from the environment and shown nowhere.

    Args:
        timeout: seconds that a whole reply may take.
    """

    def __init__(
        self, server: Server, *, timeout: float = 300.0, concurrency: int = 1, patience: Patience | None = None
    ) -> None:
        self.server = server
        self._timeout = timeout
        self._patience = patience or Patience()
        self._key = _key()
        self._client = httpx.AsyncClient(
            headers={"User-Agent": f"clario/{__version__}", "Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            timeout=httpx.Timeout(None, connect=CONNECTING),
            limits=httpx.Limits(max_connections=concurrency),
            trust_env=not server.is_this_machine,
        )
        self._reached = self._answered = False
        self._paused_until = 0.0
        # Told not to think, gpt-oss leaves the content empty where a format is asked for; it takes a level.
        self._think: bool | str = "low" if "gpt-oss" in server.model.lower() else False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], seed: int) -> Reply:
        """One reply. Where the server is overloaded or drops the connection, waits and asks again.

        Args:
            messages: "role" and "content" of each.
            schema: JSON schema of the answer. Not every server keeps to it: the answer is to be checked.
            seed: of the sampling, 0 to 2**31 - 1.

        Raises:
            NoReply: none within the timeout, or none after all tries.
            ServerError: not reached, or it refuses the request (key, model, URL).
        """
        for failures in range(1, self._patience.tries + 1):
            await asyncio.sleep(self._paused_until - time.monotonic())
            try:
                response = await self._post(json.dumps(self._body(messages, schema, seed)).encode())
                if response.status_code == 200:
                    return self._reply(response.content)
                self._refuse(response)
                reason, asked_for = NoReply(f"the server said {response.status_code}"), _retry_after(response)
            except _Dropped as dropped:
                reason, asked_for = dropped, None
            if failures < self._patience.tries:
                await self._wait(failures, asked_for)
        if isinstance(reason, _Gone):
            raise ServerError(f"{self.server.endpoint} went away")
        raise NoReply(f"{reason}, {self._patience.tries} times")

    async def _wait(self, failures: int, asked_for: float | None) -> None:
        if asked_for is not None:
            if asked_for > LONGEST_PAUSE:
                raise ServerError(f"{self.server.endpoint} asks to wait {asked_for:,.0f} s; come back then")
            # The others would only be refused, too.
            self._paused_until = max(self._paused_until, time.monotonic() + asked_for)
        await asyncio.sleep(self._patience.wait(failures, asked_for))

    async def _post(self, body: bytes) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._whole(body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if self._reached:
                raise _Gone("the server cannot be reached any more") from None
            why = self._clean(str(error)) or "no answer"
            raise ServerError(
                f"{self.server.endpoint} cannot be reached ({why}); is the server running?"
            ) from None
        except TimeoutError:
            raise NoReply(f"no reply within {self._timeout:g} s") from None
        except (httpx.TransportError, httpx.DecodingError):
            raise _Dropped("the server dropped the connection") from None
        except httpx.InvalidURL:
            raise InputError(f"{shown(self.server.url)} {_HOW}") from None

    async def _whole(self, body: bytes) -> httpx.Response:
        async with self._client.stream("POST", self.server.endpoint, content=body) as response:
            self._reached = True
            data = b""
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > LARGEST_REPLY:
                    raise ServerError(f"{self.server.endpoint} sent more than {LARGEST_REPLY:,} bytes; given up")
        return httpx.Response(response.status_code, headers=_plain(response.headers), content=data)

    def _refuse(self, response: httpx.Response) -> None:
        """Raise where the same request would be refused again."""
        status = response.status_code
        if status in _OVERLOADED or status >= 500:
            return
        if status in _UNFIT and self._answered:
            raise NoReply(f"the server said {status}")
        words = self._clean(_message(response.content))
        raise ServerError(
            f"{self.server.endpoint} said {status}{f' ({words})' if words else ''}{_HINTS.get(status, '')}"
        )

    def _body(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], seed: int) -> dict[str, Any]:
        body = {"model": self.server.model, "messages": list(messages), "stream": False}
        if self.server.api is Api.OLLAMA:
            options = {"seed": seed, "temperature": 1.0, "num_predict": MOST_TOKENS}
            return body | {"format": schema, "think": self._think, "options": options}
        form = {"name": "diary", "strict": True, "schema": schema}
        # Without a limit of tokens: the name of that field is what such servers agree on least.
        return body | {
            "response_format": {"type": "json_schema", "json_schema": form}, "seed": seed, "temperature": 1.0
        }  # fmt: skip

    def _reply(self, data: bytes) -> Reply:
        self._answered = True
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            return Reply("", fault="the server's reply is not JSON")
        content, thought, fault = _ollama(body) if self.server.api is Api.OLLAMA else _openai(body)
        read, written = _tokens(body)
        if not content and thought:
            self._think = "low"
            fault = "the model thought and answered nothing"
        if self._is_secret and self._key in content:
            content, fault = "", "the answer repeats the API key"
        return Reply(content, read, written, fault or (None if content else "the answer is empty"))

    @property
    def _is_secret(self) -> bool:
        return len(self._key) >= _SHORTEST_SECRET

    def _clean(self, text: str) -> str:
        """Words of a server or a library as they may be shown: short, printable, without the key."""
        text = "".join(c for c in text if c.isprintable())
        if self._is_secret:
            text = text.replace(self._key, "***")
        return text[:_SERVERS_WORDS].strip()


def _key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"{KEY_VARIABLE} has a character that no API key has")
    return key


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """What is needed of the headers; the content is decoded already."""
    return {name: value for name, value in headers.items() if name.lower() == "retry-after"}


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait: a number or a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    with suppress(ValueError):
        when = parsedate_to_datetime(value)
        return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None


def _ollama(body: Any) -> tuple[str, object, str | None]:
    """Content, thoughts and fault."""
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


def _message(data: bytes) -> str:
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


def _tokens(body: Any) -> tuple[int, int]:
    """Tokens read and written, as Ollama tells them or as OpenAI's API does; 0 where a server does not."""
    names = (("prompt_eval_count", "eval_count"), ("prompt_tokens", "completion_tokens"))
    read, written = names[0] if _at(body, "usage") is None else names[1]
    usage = _at(body, "usage") or body
    return _count(_at(usage, read)), _count(_at(usage, written))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
