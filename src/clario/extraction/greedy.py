"""Greedy decoding of several prompts at once, each with a say in which tokens may come next."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Answer(Protocol):
    """An answer while it is written."""

    @property
    def done(self) -> bool:
        """Whether it is written."""

    def allowed(self) -> NDArray[np.int64] | None:
        """The tokens of which one is next; None for any."""

    def write(self, token: int, probability: float = 1.0) -> None:
        """Take a token."""


class Free:
    """An answer without constraints."""

    def __init__(self, ends: Sequence[int], limit: int) -> None:
        self.tokens: list[int] = []
        self.done = False
        self._ends, self._limit = frozenset(ends), limit

    def allowed(self) -> None:
        """Any token."""
        return

    def write(self, token: int, probability: float = 1.0) -> None:
        """Take a token."""
        self.done = token in self._ends or len(self.tokens) + 1 >= self._limit
        if token not in self._ends:
            self.tokens.append(token)


class Layer(NamedTuple):
    """Keys and values of a layer: [rows, heads, columns, size of a head]."""

    keys: Any
    values: Any


class Generator:
    """Writes answers, several at once.

    Args:
        model: a causal language model of transformers.
        prefix: tokens with which every prompt is expected to begin; empty for no such cache.
    """

    def __init__(self, model: Any, prefix: Sequence[int] = ()) -> None:
        self.model, self._prefix = model, list(prefix)
        self._layers: list[Layer] | None = None

    def write(self, prompts: Sequence[Sequence[int]], answers: Sequence[Answer]) -> None:
        """Write the answers to prompts (token ids) to their ends."""
        import torch

        with torch.inference_mode():
            self._write(prompts, list(answers))

    def _write(self, prompts: Sequence[Sequence[int]], answers: list[Answer]) -> None:
        batch = _Batch(self.model, prompts, self._shared(prompts), self._cached())
        while True:
            tokens = _picked(batch.logits, answers)
            alive = [row for row, answer in enumerate(answers) if not answer.done]
            if not alive:
                return
            if len(alive) <= len(answers) // 2:
                answers, tokens = [answers[row] for row in alive], [tokens[row] for row in alive]
                batch.keep(alive)
            batch.go_on(tokens)

    def _shared(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many leading tokens all prompts have in common with the prefix; each keeps one of its own."""
        shared = min([len(self._prefix), *(len(one) - 1 for one in prompts)])
        return next((n for n in range(shared) if any(one[n] != self._prefix[n] for one in prompts)), shared)

    def _cached(self) -> list[Layer]:
        if self._layers is None and self._prefix:
            import torch
            from transformers import DynamicCache

            cache = DynamicCache()
            ids = torch.tensor([self._prefix], device=self.model.device)
            self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            self._layers = [Layer(layer.keys, layer.values) for layer in cache.layers]
        return self._layers or []


class _Batch:
    """Prompts side by side, ended by the same column: padding, the shared prefix, what is a prompt's own.

    The padding stands on the left of all, so that the distance of columns is that of positions: sliding windows
    count columns. The cache keeps all columns in every layer for the same reason.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], shared: int, layers: list[Layer]) -> None:
        import torch
        from transformers import DynamicCache

        self._model, device = model, model.device
        longest = max(map(len, prompts))
        padding = torch.tensor([longest - len(one) for one in prompts])
        ids = torch.tensor([[0] * (longest - len(one)) + list(one) for one in prompts])
        places = torch.arange(longest)[None] - padding[:, None]
        self._mask = (places >= 0).long().to(device)
        self._last = (places[:, -1:]).to(device)
        self._cache = DynamicCache()
        if shared:
            moved = places[:, :shared].clamp(0, shared - 1).to(device)
            for number, layer in enumerate(layers):
                keys, values = (one[0][:, moved].transpose(0, 1).contiguous() for one in layer)
                self._cache.update(keys, values, number)
        self.logits = self._forward(ids[:, shared:].to(device), places[:, shared:].clamp(0).to(device))

    def _forward(self, ids: Any, positions: Any) -> Any:
        given = {"attention_mask": self._mask, "position_ids": positions, "past_key_values": self._cache}
        return self._model(input_ids=ids, use_cache=True, logits_to_keep=1, **given).logits[:, -1]

    def go_on(self, tokens: Sequence[int]) -> None:
        """Add a token to each row."""
        import torch

        ids = torch.tensor(tokens, device=self._mask.device)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], 1)
        self._last = self._last + 1
        self.logits = self._forward(ids, self._last)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the rows only."""
        import torch

        kept = torch.tensor(rows, device=self._mask.device)
        self._mask, self._last = self._mask[kept], self._last[kept]
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[kept], layer.values[kept]


def _picked(logits: Any, answers: Sequence[Answer]) -> list[int]:
    """The likeliest allowed token of each answer, written to it; 0 for those that are done."""
    allowed = [np.zeros(1, np.int64) if answer.done else answer.allowed() for answer in answers]
    scores = _scores(logits, {row: ids for row, ids in enumerate(allowed) if ids is not None and len(ids) > 1})
    free = [row for row, ids in enumerate(allowed) if ids is None]
    best = dict(zip(free, logits[free].argmax(-1).tolist(), strict=True)) if free else {}
    tokens = []
    for row, (answer, ids) in enumerate(zip(answers, allowed, strict=True)):
        token, probability = best.get(row, 0), 1.0
        if ids is not None:
            place, probability = _likeliest(scores[row]) if row in scores else (0, 1.0)
            token = int(ids[place])
        if not answer.done:
            answer.write(token, probability)
        tokens.append(token)
    return tokens


def _scores(logits: Any, allowed: Mapping[int, NDArray[np.int64]]) -> dict[int, NDArray[np.float32]]:
    """The logits of some tokens of some rows; nothing waits for the GPU where nothing is to be chosen."""
    import torch

    if not allowed:
        return {}
    sizes = [len(ids) for ids in allowed.values()]
    where = np.repeat(list(allowed), sizes), np.concatenate(list(allowed.values()))
    rows, columns = (torch.from_numpy(one).to(logits.device) for one in where)
    found = logits[rows, columns].float().cpu().numpy()
    return dict(zip(allowed, np.split(found, np.cumsum(sizes)[:-1]), strict=True))


def _likeliest(scores: NDArray[np.float32]) -> tuple[int, float]:
    """The place of the highest score, and its softmax."""
    place = int(scores.argmax())
    return place, float(1 / np.exp(scores - scores[place]).sum())
