"""Uncertainty over documents: percentile bootstrap intervals and a paired randomisation test.

Plain Python is fast enough because a document's counts, of all figures, are packed into one long integer
with 64 bits for each: adding documents up is then adding integers.
"""

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress
from random import Random

from clario.evaluation.metrics import Counts, Values

Value = Callable[[Counts], Values]
Draw = list[int]
Interval = tuple[float, float]

RESAMPLES, SHUFFLES, SEED, LEVEL = 1_000, 9_999, 20_260_216, 0.95
_ONE = 1 << 20  # counts are fixed-point numbers in their 64 bits: whole ones stay exact


class Table:
    """The counts of several figures for the same documents: {figure: [counts of each document]}.

    Counts must not be negative, and the documents' sum must stay below 2 ** 44.
    """

    def __init__(self, counts: Mapping[str, Sequence[Counts]]) -> None:
        self._places = dict[str, slice]()
        self._width = 0
        for name, rows in counts.items():
            start, self._width = self._width, self._width + (len(rows[0]) if rows else 0)
            self._places[name] = slice(start, self._width)
        self._rows = [_pack(chain.from_iterable(row)) for row in zip(*counts.values(), strict=True)]

    def __len__(self) -> int:
        return len(self._rows)

    def total(self) -> dict[str, Counts]:
        """The sums over all documents, by figure."""
        return self._unpacked(sum(self._rows))

    def resampled(self, draws: Iterable[Draw]) -> Iterator[dict[str, Counts]]:
        """The sums over each draw of documents."""
        return (self._unpacked(sum(map(self._rows.__getitem__, draw))) for draw in draws)

    def swapped(
        self, other: "Table", shuffles: Iterable[bytes]
    ) -> Iterator[tuple[dict[str, Counts], dict[str, Counts]]]:
        """The sums of this table and of another of the same shape, after each swap of documents."""
        mine, others = sum(self._rows), sum(other._rows)
        for shuffle in shuffles:
            moved = sum(compress(other._rows, shuffle)) - sum(compress(self._rows, shuffle))
            yield self._unpacked(mine + moved), self._unpacked(others - moved)

    def _unpacked(self, packed: int) -> dict[str, Counts]:
        lanes = array("Q", packed.to_bytes(8 * self._width, sys.byteorder))
        return {name: tuple(lane / _ONE for lane in lanes[place]) for name, place in self._places.items()}


def _pack(counts: Iterable[float]) -> int:
    return int.from_bytes(array("Q", [round(count * _ONE) for count in counts]).tobytes(), sys.byteorder)


def draws(documents: int, times: int, seed: int = SEED) -> list[Draw]:
    """Resamples of the documents, with replacement: positions. The same for every system, so they pair."""
    random = Random(seed)
    return [random.choices(range(documents), k=documents) for _ in range(times)]


def interval(sample: Iterable[float | None], level: float = LEVEL) -> Interval | None:
    """The central percentile interval of the resampled values (Efron and Tibshirani 1993, chapter 13).

    Quantiles between two values are interpolated. None where no resample has a value.
    """
    known = sorted(value for value in sample if value is not None)
    if not known:
        return None
    tail = (1 - level) / 2
    return _quantile(known, tail), _quantile(known, 1 - tail)


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    place = fraction * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def swaps(documents: int, times: int, seed: int = SEED) -> list[bytes]:
    """Random choices of the documents whose outputs two systems swap: one byte a document, 0 or 1."""
    random = Random(seed)
    lowest_bit = bytes(value & 1 for value in range(256))
    return [random.randbytes(documents).translate(lowest_bit) for _ in range(times)]


def randomisation_test(
    first: Table, second: Table, values: Mapping[str, Value], shuffles: Sequence[bytes]
) -> dict[str, float]:
    """Two-sided p of the difference of each figure's headline between two systems on the same documents.

    Approximate randomisation (Noreen 1989): were the systems alike, their outputs for a document could be
    swapped. p is the share of swaps that differ at least as much as the systems do, these counted too:
    (hits + 1) / (shuffles + 1), so never 0.

    Args:
        first, second: the systems' counts, of the same figures and of the same documents in order.
        values: the functions of summed counts, the first part of which is compared.
        shuffles: as `swaps` makes them.

    Returns:
        p by figure, for the figures that have a value for both systems.
    """
    observed = _differences(first.total(), second.total(), values)
    hits = {name: 0 for name, difference in observed.items() if difference is not None}
    for one, other in first.swapped(second, shuffles):
        swapped = _differences(one, other, values)
        for name in hits:
            # A swap that leaves one side without a value speaks for no difference: it counts as a hit.
            hits[name] += _magnitude(swapped[name]) >= _magnitude(observed[name]) - 1e-12
    return {name: (number + 1) / (len(shuffles) + 1) for name, number in hits.items()}


def _differences(
    first: Mapping[str, Counts], second: Mapping[str, Counts], values: Mapping[str, Value]
) -> dict[str, float | None]:
    return {name: difference(value(first[name]), value(second[name])) for name, value in values.items()}


def _magnitude(difference: float | None) -> float:
    return float("inf") if difference is None else abs(difference)


def difference(first: Values, second: Values) -> float | None:
    """First minus second of two headline values; None where one is missing."""
    return None if first[0] is None or second[0] is None else first[0] - second[0]
