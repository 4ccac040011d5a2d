"""The worker: takes an entry of the queue, has it read, writes what was found; no failure costs the entry.

Who reads: the sidecar where its URL is set, else a named model, such as a vanilla Gemma through Ollama, else the
fallback. One that cannot be reached is asked again after a while, a few times; then the fallback reads.
"""

import datetime as dt
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final, Protocol

from clario.chat.server import Patience, UnfitError
from clario.entities import Extraction
from clario.errors import ClarioError, ModelError, OutputError
from clario.extraction import base
from clario.extraction.base import Extractor
from clario.journal.queue import LEASE
from clario.journal.records import Job
from clario.journal.sidecar import TIMEOUT, URL_VARIABLE, Sidecar, TransientError
from clario.journal.store import Journal
from clario.ontology import release as releases
from clario.ontology.resolver import Resolver
from clario.pipeline import Clario

MODEL_VARIABLE: Final = "CLARIO_JOURNAL_MODEL"
OLLAMA_VARIABLE: Final = "OLLAMA_HOST"
VANILLA: Final = "ollama:gemma3:4b"
"""Who reads where no sidecar and no model, but an Ollama server is named."""
FALLBACK: Final = base.DEFAULT
LONGEST_WAIT: Final = 15 * 60.0  # seconds; no server postpones an entry for longer
DEATHS: Final = 3
"""How many workers may die over one entry, beyond the tries that it has, before it is given up."""
_CHAT: Final = ("ollama", "openai")


class Reader(Protocol):
    """Who reads one diary."""

    def read(self, text: str, id: str, recorded: dt.date | None) -> Extraction:
        """What stands in it.

        Raises:
            TransientError: not now, but perhaps later.
            ClarioError: not this one.
        """


class Outcome(StrEnum):
    """How a job went."""

    DONE = "done"
    FELL_BACK = "fell back"
    POSTPONED = "postponed"
    FAILED = "failed"
    LATE = "late"
    """Somebody else had taken it, or it was deleted or queued anew; nothing was written."""


@dataclass(frozen=True, slots=True)
class Processed:
    """One job and how it went; `error` says why where it did not go well, without a word of the diary."""

    entry: str
    outcome: Outcome
    error: str | None = None
    entities: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """How patient a worker is.

    Args:
        model: of `clario models`; None is what the environment says, see `chosen`.
        fallback: who reads where that one does not answer; None: nobody, the entry is given up.
        patience: tries of an entry before that, and the seconds between them.
        timeout: seconds that a server's answer may take.
        lease: seconds after which a job of a dead worker is taken up again.
        rest: seconds for which a server that failed an entry for good is not asked about others.
    """

    model: str | None = None
    fallback: str | None = FALLBACK
    patience: Patience = Patience(tries=5, first=1.0, longest=60.0)  # noqa: RUF009  frozen
    timeout: float = TIMEOUT
    lease: float = LEASE
    rest: float = 60.0


def chosen(model: str | None = None) -> str | None:
    """Who is to read: the model given, else the sidecar's URL, a model, or Ollama, as the environment names them.

    None where nothing is named: then the fallback reads, and no network is used.
    """
    if model:
        return model
    if url := os.environ.get(URL_VARIABLE, "").strip():
        return url
    if named := os.environ.get(MODEL_VARIABLE, "").strip():
        return named
    return VANILLA if os.environ.get(OLLAMA_VARIABLE, "").strip() else None


class Worker:
    """Reads the entries of a journal's queue, one at a time. Several, also in other processes, share one queue.

    Args:
        journal: whose queue.
        settings: how patiently.
        primary: who reads; None is made of `settings.model` and the environment.
        fallback: likewise, of `settings.fallback`, when first needed.

    Raises:
        InputError: a server's URL cannot be used.
        ModelError: no model of that name, or it cannot be loaded.
    """

    def __init__(
        self,
        journal: Journal,
        settings: Settings | None = None,
        *,
        primary: Reader | None = None,
        fallback: Reader | None = None,
    ) -> None:
        self.journal, self.settings = journal, settings or Settings()
        self._given_fallback = fallback
        name = chosen(self.settings.model)
        self._primary = primary or (self._made(name) if name else None)
        self._failures = 0  # of the primary, one after another
        self._resting_until, self._last_error = 0.0, ""

    def process_one(self) -> Processed | None:
        """Do the next job that is due; None where there is none.

        Raises:
            OutputError: the journal cannot be written; the job is taken up again when its lease is over.
        """
        job = self.journal.claim(self.settings.lease)
        if job is None:
            return None
        try:
            return self._processed(job)
        except KeyboardInterrupt:
            self.journal.postpone(job, 0, "interrupted")  # nobody has to wait for the lease to end
            raise

    def _processed(self, job: Job) -> Processed:
        with self._renewed(job):
            if job.tries > self.settings.patience.tries + DEATHS:
                return self._given_up(job, f"{job.tries - 1} workers died or gave up while they read it")
            if self._primary is None:
                return self._fallen_back(job, None)
            if time.monotonic() < self._resting_until or job.tries > self.settings.patience.tries:
                return self._fallen_back(job, self._last_error or "the tries are used up")
            return self._asked(job, self._primary)

    def made_with(self) -> tuple[str, str]:
        """Model and HPO release of what this worker would write now.

        Raises:
            ModelError: the sidecar reads, and tells it only when it does.
        """
        reader = self._primary or self._fallback
        if not isinstance(reader, _Model):
            raise ModelError("what a sidecar reads with is not known before; name the entries to be read anew")
        return reader.model, self._resolver.release

    def drain(self, sleep: Callable[[float], None] = time.sleep) -> Iterator[Processed]:
        """Do all jobs, also those that must wait and those of workers that died, until none is left to do."""
        while (due := self.journal.next_due()) is not None:
            if due:
                sleep(min(due, 1.0))
            if done := self.process_one():
                yield done

    def watch(self, pause: float = 1.0, sleep: Callable[[float], None] = time.sleep) -> Iterator[Processed]:
        """Do jobs as they come, for ever."""
        while True:
            if done := self.process_one():
                yield done
            else:
                sleep(pause)

    def _asked(self, job: Job, primary: Reader) -> Processed:
        try:
            found = primary.read(job.text, job.entry, job.recorded)
        except TransientError as error:
            self._failures += 1
            self._last_error, wait = str(error), error.wait
        except ClarioError as error:
            return self._fallen_back(job, str(error))
        else:
            self._failures = 0
            return self._done(job, found, None)
        if job.tries < self.settings.patience.tries:
            seconds = min(LONGEST_WAIT, self.settings.patience.wait(job.tries, wait))
            postponed = self.journal.postpone(job, seconds, self._last_error)
            return Processed(job.entry, Outcome.POSTPONED if postponed else Outcome.LATE, self._last_error)
        if self._failures >= self.settings.patience.tries:
            # It is the server, not the entry: the others do not wait for the same.
            self._resting_until = time.monotonic() + self.settings.rest
        return self._fallen_back(job, self._last_error)

    def _fallen_back(self, job: Job, why: str | None) -> Processed:
        """Have the fallback read it, because of an error, or because nobody else was named."""
        if self._fallback is None:
            return self._given_up(job, why or "nobody was named to read it")
        try:
            found = self._fallback.read(job.text, job.entry, job.recorded)
        except ClarioError as error:
            return self._given_up(job, f"{why}; then the fallback: {error}" if why else str(error))
        return self._done(job, found, why)

    def _done(self, job: Job, found: Extraction, why: str | None) -> Processed:
        if why:
            warning = f"read by the fallback, because of: {why}"
            found = found.model_copy(update={"warnings": (*found.warnings, warning)})
        if not self.journal.complete(job, found, fallback=bool(why)):
            return Processed(job.entry, Outcome.LATE)
        return Processed(job.entry, Outcome.FELL_BACK if why else Outcome.DONE, why, len(found.entities))

    def _given_up(self, job: Job, error: str) -> Processed:
        given_up = self.journal.fail(job, error)
        return Processed(job.entry, Outcome.FAILED if given_up else Outcome.LATE, error)

    @contextmanager
    def _renewed(self, job: Job) -> Iterator[None]:
        """Keep the lease while the job is done, however long that takes: only a dead worker loses it."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(self.settings.lease / 3):
                with suppress(OutputError):  # whoever writes the result tells
                    self.journal.renew(job, self.settings.lease)

        thread = threading.Thread(target=renew, name="clario-journal-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @cached_property
    def _resolver(self) -> Resolver:
        return Resolver(releases.load())

    @cached_property
    def _fallback(self) -> Reader | None:
        if self._given_fallback or self.settings.fallback is None:
            return self._given_fallback
        return self._made(self.settings.fallback)

    def _made(self, name: str) -> Reader:
        if "://" in name:
            return Sidecar(name, self._resolver, timeout=self.settings.timeout)
        first, colon, tag = name.partition(":")
        if first in _CHAT and colon and tag.strip():
            return _ChatModel(Clario(self._chat(first, tag.strip())))
        if name == base.DEFAULT:
            return _Model(Clario(base.default(self._resolver)))
        return _Model(Clario(base.create(name, self._resolver)))

    def _chat(self, kind: str, tag: str) -> Extractor:
        """A chat server's model that is asked once: whether and when again is the queue's to say."""
        from clario.extraction.chat import OllamaExtractor, OpenAIExtractor

        made = OllamaExtractor if kind == "ollama" else OpenAIExtractor
        return made(self._resolver, tag, timeout=self.settings.timeout, concurrency=1, patience=Patience(tries=1))


class _Model:
    """A model that runs here."""

    def __init__(self, clario: Clario) -> None:
        self._clario, self.model = clario, clario.model

    def read(self, text: str, id: str, recorded: dt.date | None) -> Extraction:
        return self._clario.extract(text, id=id, recorded=recorded)


class _ChatModel(_Model):
    """A model behind a chat server, which may be there again later."""

    def read(self, text: str, id: str, recorded: dt.date | None) -> Extraction:
        try:
            return super().read(text, id, recorded)
        except UnfitError:
            raise
        except ModelError as error:
            raise TransientError(str(error)) from None
