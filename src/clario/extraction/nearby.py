"""The terms that the dense index finds nearest to quotes of a text, for models that know few terms themselves."""

import math

from clario.ontology.dense import Near
from clario.ontology.resolver import Resolver

NAMED, OTHER = "named", "other"
Span = tuple[int, int]


class Nearby:
    """Terms near to quotes of a text, looked for once for each quote.

    Args:
        count: how many terms a quote may have.

    Raises:
        ModelError: the model or the vectors of the index are broken.
    """

    def __init__(self, resolver: Resolver, text: str, count: int) -> None:
        self._within, self._label, self._count = resolver.meaning.within(text), resolver.index.label, count
        self._found: dict[Span, list[Near]] = {}

    def near(self, span: Span) -> list[Near]:
        """The terms of the text between two code points, best first, and the one that comes next."""
        if span not in self._found:
            self._found[span] = self._within.nearest(*span, self._count + 1)
        return self._found[span]

    def labels(self, span: Span) -> list[str]:
        """The labels of the terms that a quote may have; none where no word stands there."""
        return [self._label(one.hpo_id) for one in self.near(span)[: self._count]]

    def lead(self, span: Span) -> tuple[float, float]:
        """The score of the best term, and its lead over the next."""
        best, second = (near.score for near in (*self.near(span), Near("", 0.0), Near("", 0.0))[:2])
        return best, best - second


def evidence(sure: float, name: str, span: Span, near: Nearby | None) -> tuple[str, list[float]]:
    """What the confidence of an entity is told from: its kind, `NAMED` by a candidate or `OTHER`, and features.

    Args:
        sure: the mean probability of the tokens that chose.
    """
    kept = min(max(sure, 1e-4), 1 - 1e-4)
    told = [1.0, math.log(kept / (1 - kept))]
    if near is None or name not in near.labels(span):
        return OTHER, told
    return NAMED, [*told, *near.lead(span)]


def nearby(resolver: Resolver, text: str, count: int) -> Nearby | None:
    """`Nearby`, or None where no terms are asked for or the index has no vectors of the release."""
    return Nearby(resolver, text, count) if count and resolver.meaning.file else None


def version(resolver: Resolver, count: int) -> str:
    """What an extractor's version says of the index that names for it; empty where none does."""
    if not (count and resolver.meaning.file):
        return ""
    return f"+index.{resolver.meaning.encoder.manifest['version']}"
