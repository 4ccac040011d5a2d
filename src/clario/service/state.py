"""What the endpoints share."""

import asyncio
from dataclasses import dataclass

from clario.entities import Extraction, Failure
from clario.pipeline import Clario, Diary
from clario.service.batching import Batcher
from clario.service.metrics import Metrics
from clario.service.problems import Problem
from clario.service.settings import Settings


@dataclass(frozen=True, slots=True)
class State:
    """One running service: its reader, its limits, and the thread that reads."""

    clario: Clario
    settings: Settings
    metrics: Metrics
    batcher: Batcher

    async def read(self, diary: Diary) -> Extraction:
        """Read a text, together with those of other requests.

        Raises:
            Problem: it is too long, the model failed, or there is no answer in time.
        """
        self.check(diary.text)
        try:
            async with asyncio.timeout(self.settings.seconds):
                result = await self.batcher.read(diary)
        except TimeoutError:
            raise Problem("timeout") from None
        if isinstance(result, Failure):
            raise Problem("model_failed", result.error)
        return result

    def check(self, text: str) -> None:
        """Refuse a text that is too long; raises Problem."""
        if len(text) > self.settings.text_chars:
            raise Problem("text_too_long", f"a text may have {self.settings.text_chars:,} characters; split it")


def new(clario: Clario, settings: Settings) -> State:
    """A service that is not started yet."""
    metrics = Metrics(clario.model, clario.resolver.release)
    most = settings.batch or clario.extractor.batch_size
    return State(clario, settings, metrics, Batcher(clario.extract_many, most, settings.gather_seconds, metrics))
