"""Texts of several requests, read together by one thread, each result back to its own request."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import NamedTuple

from clario.entities import Extraction, Failure
from clario.pipeline import Diary
from clario.service.metrics import Metrics
from clario.service.problems import Problem

Result = Extraction | Failure
Read = Callable[[list[Diary]], Iterable[Result]]
_log = logging.getLogger("clario.service")
_TRIAL = Diary("trial", "I have a headache.")


class _Job(NamedTuple):
    diary: Diary
    result: "Future[Result]"


class Batcher:
    """Reads texts in a thread of its own, several at a time.

    Args:
        read: reads texts, a result for each, in order.
        most: texts of a batch at most.
        gather_seconds: how long the first text of a batch waits for others.
    """

    def __init__(self, read: Read, most: int, gather_seconds: float, metrics: Metrics) -> None:
        self._read, self._most, self._gather, self._metrics = read, most, gather_seconds, metrics
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # It must not keep a process alive that was told twice to stop.
        self._thread = threading.Thread(target=self._work, name="clario-model", daemon=True)
        self._closing = False
        self._proven = False
        metrics.waiting.set_function(self._jobs.qsize)

    @property
    def ready(self) -> bool:
        """Whether the model has read a text, and reads more."""
        return self._proven and self._thread.is_alive() and not self._closing

    def start(self) -> None:
        """Start, and read a text of our own, so that the first request does not wait for what loads late."""
        self._jobs.put(_Job(_TRIAL, Future()))
        self._thread.start()

    async def close(self, seconds: float) -> None:
        """Take no more texts, read those that were taken, and end; wait for that at most so many seconds."""
        self._closing = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, seconds)

    async def read(self, diary: Diary) -> Result:
        """The result of a text. Cancelled before its turn, it is not read.

        Raises:
            Problem: the service shuts down.
        """
        if self._closing:
            raise Problem("closing")
        result = Future[Result]()
        self._jobs.put(_Job(diary, result))
        return await asyncio.wrap_future(result)

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs, last = self._collected(first)
            wanted = [job for job in jobs if job.result.set_running_or_notify_cancel()]
            self._metrics.texts.labels("dropped").inc(len(jobs) - len(wanted))
            if wanted:
                self._answer(wanted)
            if last:
                return

    def _collected(self, first: _Job) -> tuple[list[_Job], bool]:
        """A batch, and whether nothing comes after it."""
        jobs, until = [first], time.monotonic() + self._gather
        while len(jobs) < self._most:
            try:
                job = self._jobs.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _answer(self, jobs: list[_Job]) -> None:
        began = time.monotonic()
        try:
            results = list(self._read([job.diary for job in jobs]))
            pairs = list(zip(jobs, results, strict=True))
        except Exception as error:  # noqa: BLE001  nobody may wait for ever; its message may hold the text
            _log.error("a batch failed: %s", type(error).__name__)
            what = Problem("internal", f"the model failed ({type(error).__name__})")
            for job in jobs:
                job.result.set_exception(what)
            self._metrics.texts.labels("failed").inc(len(jobs))
            return
        self._metrics.batches.observe(len(jobs))
        self._metrics.reading.observe(time.monotonic() - began)
        for job, result in pairs:
            job.result.set_result(result)
        self._count(results)

    def _count(self, results: list[Result]) -> None:
        failed = sum(isinstance(result, Failure) for result in results)
        self._metrics.texts.labels("failed").inc(failed)
        self._metrics.texts.labels("read").inc(len(results) - failed)
        self._proven = self._proven or failed < len(results)
