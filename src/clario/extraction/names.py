"""The names that an answer may give: all of an ontology, or the candidates for one quote with a weight each.

A weight is a log-probability but for a constant: what else is known of a quote, told to a model that chooses token
by token. Each token gets the share that the names it leaves have in those it found, so that over a whole name the
shares multiply to the name's own: a product of experts (Hinton 2002).
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from clario.extraction.prompt import LONGEST_NAME
from clario.extraction.quotable import escaped
from clario.extraction.vocabulary import Trie

_ROOT: Final = 0


class Names:
    """Names as a tree of bytes.

    Args:
        names: the weight of each, or None where all are alike; those too long for the schema are left out.
        repeat: the weight of repeating the quote instead; 0 is that of the heaviest name.
    """

    def __init__(self, names: Mapping[str, float | None], repeat: float = 0.0) -> None:
        kept = {escaped(name): weight for name, weight in names.items() if 0 < len(name) <= LONGEST_NAME}
        self.trie = Trie({name: number for number, name in enumerate(kept)})
        self.repeat = repeat
        weights = [weight for weight in kept.values() if weight is not None]
        self._weights = np.array(weights) - max(weights) if weights else None
        self._masses: dict[int, float] = {_ROOT: 0.0}

    @property
    def weighted(self) -> bool:
        """Whether the names differ in weight."""
        return self._weights is not None

    def mass(self, node: int) -> float:
        """The log of the sum of what the names below a node weigh; at the root, what the heaviest does."""
        if self._weights is None:
            return 0.0
        if node not in self._masses:
            number = self.trie.value[node]
            below = [self.mass(child) for child in self.trie.children(node).values()]
            own = [float(self._weights[number])] if number >= 0 else []
            self._masses[node] = log_sum([*own, *below])
        return self._masses[node]

    def own(self, node: int) -> float:
        """What the name that ends at a node weighs."""
        return 0.0 if self._weights is None else float(self._weights[self.trie.value[node]])


def log_sum(logs: list[float]) -> float:
    """The log of the sum of numbers whose logs these are."""
    highest = max(logs)
    return highest + math.log(sum(math.exp(one - highest) for one in logs))
