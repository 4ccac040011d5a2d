"""The sidecar on a real socket of the loopback, and extractors that do as they are told."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx
import uvicorn

from clario.entities import EntityType, Mention
from clario.errors import ModelError
from clario.extraction.base import Extractor, Mentions
from clario.ontology.resolver import Resolver
from clario.pipeline import Clario
from clario.service import server
from clario.service.settings import Settings

TRIAL = "I have a headache."


class Scripted(Extractor):
    """Finds the first word of a text, after what `meanwhile` does; keeps the batches that it was given."""

    name, version, batch_size = "scripted", "1", 8

    def __init__(
        self, resolver: Resolver, meanwhile: Callable[[Sequence[str]], None] = lambda texts: None
    ) -> None:
        super().__init__(resolver)
        self.meanwhile = meanwhile
        self.batches = list[list[str]]()

    def extract(self, texts: Sequence[str]) -> list[list[Mention] | ModelError]:
        if list(texts) != [TRIAL]:
            self.batches.append(list(texts))
            self.meanwhile(texts)
        return [self._mentions(text) for text in texts]

    def _mentions(self, text: str) -> list[Mention] | ModelError:
        word = text.split()[0] if text.split() else ""
        if word == "broken":
            return ModelError("the model's answer is no JSON")
        if word == "partly":
            return Mentions(warnings=["an entity of the answer was cut off"])
        return [
            Mention(
                type=EntityType.BEHAVIOR, name_colloquial=word, start=0, end=len(word), name_canonical=word,
                confidence=0.5,
            )
        ]  # fmt: skip


@contextmanager
def running(clario: Clario, **settings: object) -> Iterator[httpx.Client]:
    """A client of a sidecar that serves until the block ends."""
    chosen = Settings(**{"port": 0, "drain_seconds": 5.0} | settings)  # type: ignore[arg-type]
    uvicorn_server = uvicorn.Server(server.config(clario, chosen))
    with server.listening(chosen) as bound:
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            with httpx.Client(base_url=server.url_of(bound), trust_env=False, timeout=20) as client:
                wait_until(lambda: uvicorn_server.started)
                client.stop = lambda: setattr(uvicorn_server, "should_exit", True)  # type: ignore[attr-defined]
                yield client
        finally:
            uvicorn_server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


def wait_until(true: Callable[[], object], seconds: float = 10) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.005)


def raw(client: httpx.Client, request: bytes) -> socket.socket:
    """A connection of its own on which these bytes were sent."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=10)
    connection.sendall(request)
    return connection


def answer_on(connection: socket.socket) -> bytes:
    """Everything that comes until the server closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def figure(client: httpx.Client, name: str) -> float:
    """One figure of /metrics, by its name and labels."""
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")), 0.0)
