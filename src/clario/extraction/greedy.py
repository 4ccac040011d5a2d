"""Greedy decoding of several prompts at once, each with a say in which tokens may come next."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

_CONTEXT: Final = 3  # tokens by which it is guessed what follows
_MOST_GUESSED: Final = 12


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
        usual: tokens of an answer as answers are. An answer alone is written in fewer steps by it: what always
            followed there is guessed, and kept as far as the model writes it, too.
    """

    def __init__(self, model: Any, prefix: Sequence[int] = (), usual: Sequence[int] = ()) -> None:
        self.model, self._prefix, self._usual = model, list(prefix), list(usual)
        self._layers: list[Layer] | None = None

    def write(self, prompts: Sequence[Sequence[int]], answers: Sequence[Answer]) -> None:
        """Write the answers to prompts (token ids) to their ends."""
        import torch

        with torch.inference_mode():
            self._write(prompts, list(answers))

    def _write(self, prompts: Sequence[Sequence[int]], answers: list[Answer]) -> None:
        batch = _Batch(self.model, prompts, self._shared(prompts), self._cached())
        while len(answers) > 1 or not self._usual:
            tokens = _picked(batch.logits, answers)
            alive = [row for row, answer in enumerate(answers) if not answer.done]
            if not alive:
                return
            if len(alive) <= len(answers) // 2:
                answers, tokens = [answers[row] for row in alive], [tokens[row] for row in alive]
                batch.keep(alive)
            batch.go_on(tokens)
        self._finish(batch, answers[0])

    def _finish(self, batch: "_Batch", answer: Answer) -> None:
        """Write an answer that stands alone, several tokens a step where they could be guessed."""
        habits, logits, guessed = Habits(self._usual), batch.logits, list[int]()
        while not answer.done:
            for place in range(len(guessed) + 1):
                (token,) = _picked(logits[place : place + 1], [answer])
                habits.add(token)
                if answer.done or guessed[place : place + 1] != [token]:
                    break
            if not answer.done:
                batch.forget(len(guessed) - place)
                guessed = habits.guess()
                logits = batch.try_on([token, *guessed])

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
            self.model(input_ids=ids, use_cache=True, logits_to_keep=1, **{cache_argument(self.model): cache})
            self._layers = [Layer(layer.keys, layer.values) for layer in cache.layers]
        return self._layers or []


def cache_argument(model: Any) -> str:
    """What a model calls its keys and values: another name since transformers 5.24."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"


class Habits:
    """What followed which tokens so far: to guess what comes next, where it was always the same."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = list[int]()
        self._followed: dict[tuple[int, ...], set[int]] = {}
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """Take the next token."""
        for size in range(2, _CONTEXT + 1):
            self._followed.setdefault(tuple(self._tokens[-size:]), set()).add(token)
        self._tokens.append(token)

    def guess(self) -> list[int]:
        """The tokens that are likely to be next; none where it may be one or another."""
        ahead = self._tokens[-_CONTEXT:]
        start = len(ahead)
        while len(ahead) - start < _MOST_GUESSED:
            contexts = (tuple(ahead[-size:]) for size in range(_CONTEXT, 1, -1))
            found = next(filter(None, map(self._followed.get, contexts)), None)
            if found is None or len(found) > 1:
                break
            ahead += found
        return ahead[start:]


class _Batch:
    """Prompts side by side, ended by the same column: padding, the shared prefix, what is a prompt's own.

    The padding stands on the left of all, so that the distance of columns is that of positions: sliding windows
    count columns. The cache keeps all columns in every layer for the same reason.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], shared: int, layers: list[Layer]) -> None:
        import torch
        from transformers import DynamicCache

        self._model, device, self._cache_name = model, model.device, cache_argument(model)
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
        return self._all_logits(ids, positions, 1)[:, -1]

    def _all_logits(self, ids: Any, positions: Any, kept: int) -> Any:
        given = {"attention_mask": self._mask, "position_ids": positions, self._cache_name: self._cache}
        return self._model(input_ids=ids, use_cache=True, logits_to_keep=kept, **given).logits

    def go_on(self, tokens: Sequence[int]) -> None:
        """Add a token to each row."""
        import torch

        ids = torch.tensor(tokens, device=self._mask.device)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], 1)
        self._last = self._last + 1
        self.logits = self._forward(ids, self._last)

    def try_on(self, tokens: Sequence[int]) -> Any:
        """Add tokens to the only row; the logits after each."""
        import torch

        ids = torch.tensor([tokens], device=self._mask.device)
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], 1)
        places = self._last + torch.arange(1, len(tokens) + 1, device=ids.device)
        self._last = places[:, -1:]
        return self._all_logits(ids, places, len(tokens))[0]

    def forget(self, count: int) -> None:
        """Take back the last tokens."""
        if not count:
            return
        self._mask, self._last = self._mask[:, :-count], self._last - count
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[..., :-count, :], layer.values[..., :-count, :]

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
