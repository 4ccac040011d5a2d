"""Which examples each step takes: a function of seed and step alone, so that a resumed run takes the same ones."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from clario.training.prepared import Array

_GROUP: Final = 8  # batches among which examples are sorted by length, so that little is padded
_UNLIKE: Final = 2  # in a pass, the longest has at most so many times the tokens of the shortest


class Stream:
    """The examples of a kind without an end: every epoch takes each once, in an order of its own."""

    def __init__(self, lengths: Array, batch: int, seed: int, number: int) -> None:
        self._lengths, self._batch, self._seed = lengths, batch, (seed, number)
        self._orders: dict[int, Array] = {}

    def at(self, step: int) -> Array:
        """The numbers of the examples that a step, from 0 on, takes."""
        places = np.arange(step * self._batch, (step + 1) * self._batch)
        epochs, inside = places // len(self._lengths), places % len(self._lengths)
        return np.array([self._order(int(e))[i] for e, i in zip(epochs, inside, strict=True)])

    def _order(self, epoch: int) -> Array:
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = self._shuffled(epoch)
        return self._orders[epoch]

    def _shuffled(self, epoch: int) -> Array:
        draw = np.random.default_rng([*self._seed, epoch])
        order = draw.permutation(len(self._lengths))
        batches: list[Array] = []
        for start in range(0, len(order), self._batch * _GROUP):
            group = order[start : start + self._batch * _GROUP]
            group = group[np.argsort(self._lengths[group], kind="stable")]
            batches += [group[n : n + self._batch] for n in range(0, len(group), self._batch)]
        whole = [batch for batch in batches if len(batch) == self._batch]
        rest = [batch for batch in batches if len(batch) < self._batch]
        return np.concatenate([*(whole[n] for n in draw.permutation(len(whole))), *rest])


def passes(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Divide a step's examples into passes of similar length and at most `tokens` padded tokens, one at least."""
    own: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        longest = lengths[own[0]] if own else 0
        if own and ((len(own) + 1) * longest > tokens or lengths[number] * _UNLIKE < longest):
            yield own
            own = []
        own.append(number)
    if own:
        yield own
