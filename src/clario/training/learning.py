"""The loop that trains an encoder as tagger, as linker, or as both at once."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from clario.training.linking import Teacher
from clario.training.model import Encoder, Linker, Settings, half
from clario.training.tagging import Lessons, Tagger


class Course:
    """A tagger, a linker, or both on one encoder, with what they learn from.

    Args:
        diaries: the pieces of the training diaries, in the order of their file.
        tagger, linker: each with its material; at least one of them.
    """

    def __init__(
        self,
        encoder: Encoder,
        diaries: list[list[int]],
        settings: Settings,
        tagger: tuple[Tagger, Lessons] | None = None,
        linker: tuple[Linker, Teacher] | None = None,
    ) -> None:
        self._encoder, self._settings = encoder, settings
        self._tagger, self._linker = tagger, linker
        self._device = encoder.words.weight.device
        self._ids = diaries
        self._random = np.random.default_rng(settings.seed)
        self._waiting: list[int] = []
        self.modules: list[nn.Module] = [encoder, *(pair[0] for pair in (tagger, linker) if pair)]

    def learn(self) -> Iterator[tuple[int, Tensor]]:
        """Train in place; yields each step's number and loss."""
        settings = self._settings
        groups = self._groups()
        optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_and_fall(settings.steps))
        for module in self.modules:
            module.train()
        every = [parameter for group in groups for parameter in group["params"]]
        for number in range(settings.steps):
            if self._linker and number % settings.renew == 0:
                self._linker[1].renew(self._linker[0])
            loss = self._loss()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(every, 1.0)
            optimizer.step()
            schedule.step()
            yield number + 1, loss.detach()

    def _groups(self) -> list[dict]:  # type: ignore[type-arg]
        encoder = [p for p in self._encoder.parameters() if p.requires_grad]
        of_encoder = {id(p) for p in self._encoder.parameters()}
        heads = [p for m in self.modules[1:] for p in m.parameters() if id(p) not in of_encoder]
        rate = self._settings.rate
        return [{"params": encoder, "lr": rate}, {"params": heads, "lr": rate * self._settings.heads}]

    def _loss(self) -> Tensor:
        rows = self._draw()
        longest = max(len(self._ids[row]) for row in rows)
        ids = np.zeros((len(rows), longest), np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(self._ids[row])] = self._ids[row]
        with half(self._device):
            states = self._encoder(torch.from_numpy(ids).to(self._device)).float()
        loss = states.new_zeros(())
        if self._tagger:
            loss = loss + self._tagger[1].loss(self._tagger[0], states, rows)
        if self._linker:
            weight = self._settings.linking if self._tagger else 1.0
            loss = loss + weight * self._linker[1].loss(self._linker[0], states, rows)
        return loss

    def _draw(self) -> list[int]:
        """The next diaries, none repeated before all were drawn."""
        while len(self._waiting) < self._settings.diaries:
            self._waiting.extend(self._random.permutation(len(self._ids)).tolist())
        rows, self._waiting = self._waiting[: self._settings.diaries], self._waiting[self._settings.diaries :]
        return rows


def warm_and_fall(steps: int) -> Callable[[int], float]:
    """The share of the learning rate at a step: up for 5 % of the steps, then down to nothing, linearly."""
    warm = max(1, steps // 20)
    return lambda number: min((number + 1) / warm, max(0.0, (steps - number) / (steps - warm)))
