"""The sidecar with its review page on the loopback, and an extractor that finds what this file says."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep

import httpx
import uvicorn

from clario.entities import Assertion, EntityType, Mention
from clario.extraction.base import Extractor, Mentions
from clario.ontology.resolver import Resolver
from clario.pipeline import Clario
from clario.service import server
from clario.service.review import ReviewSettings

DIARY = (
    "🌵 Woke with a mouth so dry I couldn't eat. Both knees ache on the stairs, but no fever.\n"
    "Mum has migraines. Cancelled choir. <script>document.title = 'run'</script> Fingers go white in the cold."
)
_KNOWN = (
    ("mouth so dry", EntityType.SYMPTOM, "Xerostomia", Assertion.PRESENT, 0.97),
    ("knees ache", EntityType.SYMPTOM, "Knee pain", Assertion.PRESENT, 0.31),
    ("fever", EntityType.SYMPTOM, "Fever", Assertion.ABSENT, 0.99),
    ("migraines", EntityType.SYMPTOM, "Migraine", Assertion.OTHER, 0.9),
    ("Cancelled choir", EntityType.BEHAVIOR, "cancelled choir", Assertion.PRESENT, 0.7),
)


class Known(Extractor):
    """Finds the phrases of `_KNOWN`, and nothing else."""

    name, version = "known", "1"

    def extract(self, texts: Sequence[str]) -> list[list[Mention]]:
        return [self._mentions(text) for text in texts]

    def _mentions(self, text: str) -> Mentions:
        return Mentions(
            Mention(
                type=kind, name_colloquial=quote, start=text.index(quote), end=text.index(quote) + len(quote),
                name_canonical=name, assertion=assertion, confidence=confidence,
            )
            for quote, kind, name, assertion, confidence in _KNOWN
            if quote in text
        )  # fmt: skip


@contextmanager
def serving(resolver: Resolver, **settings: object) -> Iterator[httpx.Client]:
    """A client of a sidecar with the page, which serves until the block ends."""
    chosen = ReviewSettings(**{"port": 0, "drain_seconds": 5.0} | settings)  # type: ignore[arg-type]
    service = uvicorn.Server(server.config(Clario(Known(resolver)), chosen))
    with server.listening(chosen) as bound:
        thread = Thread(target=service.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            _wait(service, thread)
            with httpx.Client(base_url=server.url_of(bound), trust_env=False, timeout=30) as client:
                yield client
        finally:
            service.should_exit = True
            thread.join(20)


def _wait(service: uvicorn.Server, thread: Thread) -> None:
    until = monotonic() + 20
    while not service.started and thread.is_alive() and monotonic() < until:
        sleep(0.01)
    assert service.started
