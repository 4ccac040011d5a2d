"""Distillation: profile -> prompt -> diary with entities from a chat server, checked, else asked for again."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from clario import __version__
from clario.chat.client import Chat
from clario.chat.server import NoReply, Reply, Server, ServerError
from clario.corpus import prompting
from clario.corpus.accept import Accepted, Checker, Refused, parse
from clario.corpus.ledger import GivenUp, Ledger, Provenance, TaughtDiary
from clario.corpus.profiles import Phenotype, Profile
from clario.errors import InputError, UnknownTermError
from clario.ontology.index import Index
from clario.ontology.resolver import Resolver

LOST_IN_A_ROW: Final = 5  # requests without a reply, or twice the concurrency: then the server is given up
_REASONS: Final = 3  # why answers were refused: the last ones are told to the teacher


@dataclass(frozen=True, slots=True)
class Job:
    """One diary to be written: of this profile, in the style that the seed draws."""

    profile: Profile
    seed: int

    @property
    def id(self) -> str:
        """The disease and ten digits of a hash: the same profile and seed, the same id."""
        told = f"{prompting.digest(self.profile)} {self.seed}"
        return f"{self.profile.disease}-{hashlib.sha256(told.encode()).hexdigest()[:10]}"


@dataclass(slots=True)
class Tally:
    """How a run goes: diaries done and given up, answers refused, tokens of all answers."""

    done: int = 0
    failed: int = 0
    refused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


def read_profiles(path: Path, index: Index) -> list[Profile]:
    """The profiles that `clario corpus profiles` wrote, their ids brought to the release.

    Raises:
        InputError: the file cannot be read, holds none, or a line is no profile; it names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    found = [_profile(line, f"{path}, line {n}", index) for n, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise InputError(f"{path} holds no profile; 'clario corpus profiles' makes them")
    return found


def _profile(line: str, where: str, index: Index) -> Profile:
    try:
        record = json.loads(line)
        disease, name = record["disease"], record["name"]
        ids = dict.fromkeys(index.live(phenotype["hpo_id"]) for phenotype in record["phenotypes"])
        if not (ids and isinstance(disease, str) and isinstance(name, str) and disease and name):
            raise ValueError("a field is empty or no string")
    except UnknownTermError as error:
        raise InputError(f"{where}: {error}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{where}: not a profile as 'clario corpus profiles' writes it") from None
    return Profile(disease, name, tuple(Phenotype(hpo_id, index.label(hpo_id), None, 1.0) for hpo_id in ids))


def jobs(profiles: Sequence[Profile], number: int, seed: int) -> list[Job]:
    """The jobs of a run: one of each profile with the seed, then one of each with the next seed, and so on.

    Args:
        number: jobs in all; a profile that stands twice is written about once, so that they may be fewer.
    """
    turns = (Job(profile, seed + turn) for turn in range(number) for profile in profiles)
    return list({job.id: job for job in islice(turns, number)}.values())


async def distill(
    jobs: Iterable[Job],
    chat: Chat,
    resolver: Resolver,
    ledger: Ledger,
    *,
    retries: int = 3,
    concurrency: int = 1,
    watch: Callable[[Tally], None] | None = None,
) -> Tally:
    """Have diaries written, those that the ledger does not hold yet; each is in the ledger once it passed.

    Args:
        retries: how often a refused answer is asked for again before a profile is given up.
        concurrency: requests at once.
        watch: is shown the tally after each answer.

    Raises:
        ServerError: the server is not there, refuses the requests, or gave no reply too often in a row.
        OutputError: the ledger cannot be written.
    """
    run = _Run(chat, Checker(resolver, (prompting.EXAMPLE, *ledger.texts.values())), ledger, resolver.index)
    run.retries, run.patience, run.watch = retries, max(LOST_IN_A_ROW, 2 * concurrency), watch
    todo = (job for job in jobs if job.id not in ledger.texts)
    workers = [asyncio.create_task(run.work(todo)) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return run.tally


def run(
    jobs: Iterable[Job],
    server: Server,
    resolver: Resolver,
    ledger: Ledger,
    *,
    retries: int = 3,
    concurrency: int = 1,
    timeout: float = 300.0,
    watch: Callable[[Tally], None] | None = None,
) -> Tally:
    """`distill` from beginning to end; `timeout` is in seconds an answer. An interrupt ends it within a moment."""

    async def talk() -> Tally:
        async with Chat(server, timeout=timeout, concurrency=concurrency) as chat:
            return await distill(
                jobs, chat, resolver, ledger, retries=retries, concurrency=concurrency, watch=watch
            )

    return asyncio.run(talk())


@dataclass(slots=True)
class _Run:
    """What the workers of a run share."""

    chat: Chat
    checker: Checker
    ledger: Ledger
    index: Index
    retries: int = 0
    patience: int = LOST_IN_A_ROW
    watch: Callable[[Tally], None] | None = None
    tally: Tally = field(default_factory=Tally)
    lost: int = 0  # requests without a reply since the last reply

    async def work(self, todo: Iterator[Job]) -> None:
        for job in todo:
            await _Lesson(self, job).teach()

    def tell(self) -> None:
        if self.watch:
            self.watch(self.tally)


@dataclass(slots=True)
class _Lesson:
    """One job, asked for until an answer passes or the attempts are used up."""

    run: _Run
    job: Job
    attempts: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    advice: list[str] = field(default_factory=list)

    async def teach(self) -> None:
        style = prompting.style(self.job.profile, self.job.seed)
        # An earlier run's attempts count on: the same seed would bring the same answers.
        before = self.run.ledger.given_up.get(self.job.id)
        self.attempts, reason = before.attempts if before else 0, ""
        for _ in range(1 + self.run.retries):
            self.attempts += 1
            outcome = await self._attempt(style)
            if isinstance(outcome, Accepted):
                self.run.ledger.add(self._diary(outcome, style))
                self.run.tally.done += 1
                return self.run.tell()
            reason = outcome
            self.run.tell()
        self.run.ledger.fail(self._given_up(reason))
        self.run.tally.failed += 1
        self.run.tell()

    async def _attempt(self, style: prompting.Style) -> Accepted | str:
        """The diary of one answer, or why there is none."""
        try:
            reply = await self._ask(style)
            if reply.fault:
                raise Refused(reply.fault)
            return self.run.checker.accept(parse(reply.content), self.job.profile, blank=style.blank)
        except NoReply as lost:
            return str(lost)
        except Refused as refused:
            self.advice.append(refused.advice)
            self.run.tally.refused += 1
            return refused.reason

    async def _ask(self, style: prompting.Style) -> Reply:
        seed = int(hashlib.sha256(f"{self.job.id} {self.attempts}".encode()).hexdigest()[:7], 16)
        try:
            reply = await self.run.chat.ask(self._messages(style, self.advice), prompting.SCHEMA, seed)
        except NoReply as lost:
            self.run.lost += 1
            if self.run.lost >= self.run.patience:
                raise ServerError(f"no reply {self.run.lost} times in a row, the last time: {lost}") from None
            raise
        self.run.lost = 0
        for counter in (self, self.run.tally):
            counter.tokens_in += reply.tokens_in
            counter.tokens_out += reply.tokens_out
        return reply

    def _messages(self, style: prompting.Style, advice: Sequence[str] = ()) -> list[dict[str, str]]:
        definitions = {p.hpo_id: self.run.index.term(p.hpo_id).definition for p in style.tell}
        return prompting.messages(self.job.profile, style, definitions, list(dict.fromkeys(advice))[-_REASONS:])

    def _diary(self, accepted: Accepted, style: prompting.Style) -> TaughtDiary:
        provenance = Provenance(
            teacher=self.run.chat.server.model,
            server_api=self.run.chat.server.api,
            prompt_sha256=prompting.prompt_digest(self._messages(style)),
            profile_sha256=prompting.digest(self.job.profile),
            seed=self.job.seed,
            attempts=self.attempts,
            clario_version=__version__,
            hpo_release=self.run.index.release,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
        )
        return TaughtDiary(
            id=self.job.id,
            text=accepted.text,
            disease=self.job.profile.disease,
            entities=accepted.entities,
            provenance=provenance,
        )

    def _given_up(self, reason: str) -> GivenUp:
        return GivenUp(
            id=self.job.id,
            disease=self.job.profile.disease,
            reason=reason,
            attempts=self.attempts,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
        )
