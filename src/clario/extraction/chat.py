"""The `ollama:TAG` and `openai:MODEL` extractors: any chat server reads the diaries, and is not believed blindly.

Naming such a model is what permits the network call; the server is this machine's Ollama, or the URL of the
environment. A server may promise to keep to the schema: here its answer is parsed and grounded all the same.
"""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import urlsplit

from clario.chat.client import Chat
from clario.chat.server import Api, Manner, NoReply, Patience, Reply, Sampling, Server, ServerError, UnfitError
from clario.entities import Mention
from clario.errors import ModelError
from clario.extraction import prompt
from clario.extraction.base import Extractor, Mentions
from clario.extraction.grounding import ground
from clario.extraction.parse import parse
from clario.ontology.resolver import Resolver

TEMPERATURES: Final = (0.0, 0.3)
"""Of the first answer, and of the next where that was no whole one: the same question brings the same answer."""
CONTEXT: Final = (
    8192  # tokens: of the prompt about 600, a diary of `max_chars` 1,000 to 3,000, the answer the rest
)
OLLAMA_PORT: Final = 11434
_PLAIN_HOST: Final = re.compile(
    r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::\d{1,4}|:[1-6]\d{4})?(?:/[\w./-]*)?", re.ASCII | re.I
)

Result = TypeVar("Result")


class ChatExtractor(Extractor):
    """Asks a chat server, for several texts at once; a text without an answer does not lose the others.

    Args:
        model: as the server names it.
        url: of the server; None is what the environment says.
        timeout: seconds that one answer may take.
        concurrency: requests at once.
        patience: how often the server is asked again when it is overloaded or drops the connection.

    Raises:
        InputError: the URL cannot be used.
        ModelError: no URL is known.
    """

    argument = "the model, as the server names it,"
    max_chars = 4_000
    api: ClassVar[Api]

    def __init__(
        self,
        resolver: Resolver,
        model: str,
        *,
        url: str | None = None,
        timeout: float = 300.0,
        concurrency: int = 4,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(resolver)
        self.name, self.version = f"{self.api}:{model}", f"prompt.{prompt_digest()}"
        self.server = Server(url or self._usual_url(), model, self.api)
        self._timeout, self._concurrency, self._patience = timeout, concurrency, patience
        self._manner = Manner()

    def _usual_url(self) -> str:
        """The server where none is given.

        Raises:
            ModelError: there is no usual one.
        """
        raise NotImplementedError

    def extract(self, texts: Sequence[str]) -> list[list[Mention] | ModelError]:
        """The mentions of each text, or why there are none; see `Extractor.extract`. Ctrl-C ends it at once.

        Raises:
            InputError: the server's URL cannot be used.
        """
        return _finished(self._read_all(texts))

    async def _read_all(self, texts: Sequence[str]) -> list[list[Mention] | ModelError]:
        async with Chat(
            self.server, timeout=self._timeout, concurrency=self._concurrency, patience=self._patience,
            manner=self._manner, quoting=False,
        ) as chat:  # fmt: skip
            reading = _Reading(chat, asyncio.Semaphore(self._concurrency))
            return list(await asyncio.gather(*map(reading.read, texts)))


class OllamaExtractor(ChatExtractor):
    """A model of an Ollama server: `OLLAMA_HOST`, else this machine's."""

    api = Api.OLLAMA

    def _usual_url(self) -> str:
        host = os.environ.get("OLLAMA_HOST", "").strip() or "127.0.0.1"
        if "://" in host or not _PLAIN_HOST.fullmatch(host):
            return host  # whole, or to be refused as it stands
        parts = urlsplit(f"//{host}")
        # What a server listens on is no address to call.
        name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(parts.hostname or "", parts.hostname or "")
        return f"http://{f'[{name}]' if ':' in name else name}:{parts.port or OLLAMA_PORT}{parts.path}"


class OpenAIExtractor(ChatExtractor):
    """A model of an OpenAI-compatible server (vLLM, llama-server, ...) at `CLARIO_CHAT_URL`; none is usual."""

    api = Api.OPENAI
    URL_VARIABLE: ClassVar[str] = "CLARIO_CHAT_URL"

    def _usual_url(self) -> str:
        url = os.environ.get(self.URL_VARIABLE, "").strip()
        if not url:
            raise ModelError(f"set {self.URL_VARIABLE} to the server's URL, such as http://127.0.0.1:8000")
        return url


class _Reading:
    """The texts of one call, read side by side."""

    def __init__(self, chat: Chat, gate: asyncio.Semaphore) -> None:
        self._chat, self._gate = chat, gate
        self._lost: ServerError | None = None

    async def read(self, text: str) -> list[Mention] | ModelError:
        if not text.strip():
            return Mentions()
        async with self._gate:
            if self._lost:
                return self._lost
            try:
                return await self._read(text)
            except ModelError as error:
                if isinstance(error, ServerError) and not isinstance(error, UnfitError):
                    self._lost = error  # the others would only wait for the same
                return error
            except NoReply as error:
                return ModelError(f"{self._chat.server.endpoint}: {error}; try again later")

    async def _read(self, text: str) -> Mentions:
        """The first whole answer, else the one that says most."""
        partly, failure = list[Mentions](), ModelError("the model was not asked")
        for seed, temperature in enumerate(TEMPERATURES):
            reply = await self._chat.ask(
                prompt.messages(text), prompt.SCHEMA, seed, Sampling(temperature, CONTEXT, limited=True)
            )
            try:
                mentions, whole = _understood(reply, text)
            except ModelError as error:
                failure = error
                continue
            if whole:
                return mentions
            partly.append(mentions)
        if not partly:
            raise failure
        return max(partly, key=len)


def _understood(reply: Reply, text: str) -> tuple[Mentions, bool]:
    """The mentions of a reply, and whether it needs no second one.

    Raises:
        ModelError: nothing in it can be read.
    """
    if not reply.content:
        raise ModelError(f"{reply.fault}; try again, or another model")
    answer = parse(reply.content)
    mentions = ground(answer, text)
    invented = bool(answer.entities) and not mentions
    return mentions, answer.whole and not reply.fault and not invented


def prompt_digest() -> str:
    """Eight hexadecimal digits of the SHA-256 of what every diary is asked with: results name it."""
    asked = json.dumps([prompt.messages(""), prompt.SCHEMA], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:8]


def _finished(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine, also where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _finished_beside(work)


def _finished_beside(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that runs in a thread of its own; an interrupt of this one cancels it."""
    started = Future[tuple[asyncio.AbstractEventLoop, "asyncio.Task[Any]"]]()

    async def told() -> Result:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await work

    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(asyncio.run, told())
        try:
            return outcome.result()
        except BaseException:
            loop, task = started.result()
            with suppress(RuntimeError):  # the loop has ended of itself
                loop.call_soon_threadsafe(task.cancel)
            raise
