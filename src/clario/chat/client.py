"""Ask a chat server for JSON, Ollama's or an OpenAI-compatible one: patiently, but not for ever."""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

from clario import __version__
from clario.chat import formats
from clario.chat.server import (
    HOW,
    Api,
    Manner,
    NoReply,
    Patience,
    Reply,
    Sampling,
    Server,
    ServerError,
    UnfitError,
)
from clario.errors import InputError, ModelError
from clario.paths import shown

try:
    import httpx
except ImportError:
    raise ModelError("talking to a chat server needs httpx: pip install 'clario[chat]'") from None

KEY_VARIABLE = "CLARIO_API_KEY"
LARGEST_REPLY = 4 * 2**20  # bytes; a diary with its entities has about 5,000
CONNECTING = 10.0  # seconds
LONGEST_PAUSE = 15 * 60.0  # seconds; a server that asks for a longer one is left alone
_USUAL = Sampling()
_SHORTEST_SECRET = 8  # local servers take any key, such as "none": no secret, and a word of diaries
_SERVERS_WORDS = 200  # code points of a server's own error message that are shown
_OVERLOADED = frozenset({408, 425, 429})
_UNFIT = frozenset({400, 413, 422})  # one prompt may meet a filter or a limit where others pass
_HINTS = {401: f"; check {KEY_VARIABLE}", 403: f"; check {KEY_VARIABLE}", 404: "; check URL, model and API"}


class _Dropped(NoReply):
    """The connection went; the same request may well succeed."""


class _Gone(_Dropped):
    """No connection any more, though there was one."""


class Chat:
    """A conversation with one server, for `concurrency` requests at once; an asynchronous context manager.

    The API key, where the server wants one, is read from the environment and shown nowhere.

    Args:
        timeout: seconds that a whole reply may take.
        manner: what an earlier conversation found out about the server.
        quoting: whether errors may show the server's own words, which may repeat what it was asked.
    """

    def __init__(
        self,
        server: Server,
        *,
        timeout: float = 300.0,
        concurrency: int = 1,
        patience: Patience | None = None,
        manner: Manner | None = None,
        quoting: bool = True,
    ) -> None:
        self.server = server
        self._manner = manner or Manner()
        self._timeout, self._quoting = timeout, quoting
        self._patience = patience or Patience()
        self._key = _key()
        self._client = httpx.AsyncClient(
            headers={"User-Agent": f"clario/{__version__}", "Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            timeout=httpx.Timeout(None, connect=CONNECTING),
            limits=httpx.Limits(max_connections=concurrency),
            trust_env=not server.is_this_machine,
        )
        # Told not to think, gpt-oss leaves the content empty where a format is asked for; it takes a level.
        if "gpt-oss" in server.model.lower():
            self._manner.think = "low"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        seed: int,
        sampling: Sampling = _USUAL,
    ) -> Reply:
        """One reply. Where the server is overloaded or drops the connection, waits and asks again.

        Args:
            messages: "role" and "content" of each.
            schema: JSON schema of the answer. Not every server keeps to it: the answer is to be checked.
            seed: of the sampling, 0 to 2**31 - 1.
            sampling: how the answer is drawn.

        Raises:
            NoReply: none within the timeout, or none after all tries.
            ServerError: not reached, or it refuses the request (key, model, URL).
        """
        for failures in range(1, self._patience.tries + 1):
            await asyncio.sleep(self._manner.paused_until - time.monotonic())
            try:
                response = await self._post_fitting(
                    formats.body(self.server, messages, schema, seed, sampling, self._manner.think)
                )
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
            self._manner.paused_until = max(self._manner.paused_until, time.monotonic() + asked_for)
        await asyncio.sleep(self._patience.wait(failures, asked_for))

    async def _post_fitting(self, body: dict[str, Any]) -> httpx.Response:
        """The response; a server that refuses the usual request at first may take the plainest."""
        plain = self._manner.plain is True
        response = await self._post(formats.plainest(body) if plain else body)
        settled = plain or self._manner.plain is False or self.server.api is Api.OLLAMA
        if response.status_code in _UNFIT and not settled:
            plain, response = True, await self._post(formats.plainest(body))
        if response.status_code == 200 and self._manner.plain is None:
            self._manner.plain = plain
        return response

    async def _post(self, body: Mapping[str, Any]) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._whole(json.dumps(body).encode())
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if self._manner.reached:
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
            raise InputError(f"{shown(self.server.url)} {HOW}") from None

    async def _whole(self, body: bytes) -> httpx.Response:
        async with self._client.stream("POST", self.server.endpoint, content=body) as response:
            self._manner.reached = True
            data = b""
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > LARGEST_REPLY:
                    raise UnfitError(f"{self.server.endpoint} sent more than {LARGEST_REPLY:,} bytes; given up")
        return httpx.Response(response.status_code, headers=_plain(response.headers), content=data)

    def _refuse(self, response: httpx.Response) -> None:
        """Raise where the same request would be refused again."""
        status = response.status_code
        if status in _OVERLOADED or status >= 500:
            return
        if status in _UNFIT and self._manner.answered:
            raise NoReply(f"the server said {status}")
        words = self._clean(formats.message(response.content)) if self._quoting else ""
        kind = UnfitError if status in _UNFIT else ServerError
        raise kind(f"{self.server.endpoint} said {status}{f' ({words})' if words else ''}{_HINTS.get(status, '')}")

    def _reply(self, data: bytes) -> Reply:
        self._manner.answered = True
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            return Reply("", fault="the server's reply is not JSON")
        content, thought, fault = formats.content(self.server.api, body)
        read, written = formats.tokens(body)
        if not content and thought:
            self._manner.think = "low"
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
