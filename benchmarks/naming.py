"""Who names a quote better: the model, the dense index, or both; on gold mentions of the validation part.

Asked are the terms that the index finds nearest to a quote in its diary. The model's say is the log-probability of
each one's label where the answer to the diary would have it, after the gold entities before it; the index's is the
score, a cosine, times a weight. Printed is the share of mentions whose gold term comes out best: of the index
alone, of the model alone, of the sum at several weights; and how many have their term among the nearest at all.
Against: the dense index of mini. Needs the extra `gemma`, the base by CLARIO_BASE; minutes on a processor.
"""

import argparse
import copy
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import common
from clario.corpus import dataset
from clario.corpus.dataset import GoldDiary, GoldEntity
from clario.extraction import gemma_model, prompt
from clario.extraction.greedy import cache_argument
from clario.ontology import release as releases
from clario.ontology.dense import Near
from clario.ontology.resolver import Resolver

VALIDATION = common.ROOT / "data" / "corpus" / "validation.jsonl"
NEAREST = 32
WEIGHTS = (10, 20, 33, 50, 70, 100, 140, 200, 300)
_BEFORE = '"name_canonical":"'
_AFTER = '",'


@dataclass(frozen=True, slots=True)
class Asked:
    """A gold mention: what would do, the nearest terms, and the model's log-probability of each."""

    accepted: str
    near: list[Near]
    told: "np.ndarray[Any, Any]"

    def right(self, weight: float, model: float = 1.0) -> bool:
        """Whether gold's term has the best sum."""
        scores = model * self.told + weight * np.array([one.score for one in self.near])
        return self.near[int(scores.argmax())].hpo_id == self.accepted


class Model:
    """Log-probabilities of labels, with the keys and values of what stands before them computed once."""

    def __init__(self, named: str) -> None:
        loaded = gemma_model.load(named)
        self._model, self._tokenizer, self._shots = loaded.model, loaded.tokenizer, loaded.shots
        self._name = cache_argument(loaded.model)
        self.version = loaded.version

    def told(self, diary: GoldDiary, before: Sequence[GoldEntity], labels: Sequence[str]) -> Any:
        """The log-probability of each label of the last entity `before`."""
        asked = prompt.render(prompt.messages(diary.text, shots=self._shots), system_turn=False)
        answer = prompt.answer(before)
        head = asked + answer[: answer.rindex(_BEFORE) + len(_BEFORE)]
        rows = [self._ids(head + json.dumps(label, ensure_ascii=False)[1:-1] + _AFTER) for label in labels]
        shared = min(_alike(rows[0], row) for row in [self._ids(head), *rows]) - 1
        return self._scored(rows, shared)

    def _scored(self, rows: list[list[int]], shared: int) -> Any:
        with torch.inference_mode():
            cache = self._forward([rows[0][:shared]], None, logits_to_keep=1)[1]
            tails = [row[shared:] for row in rows]
            longest = max(map(len, tails))
            logits, _ = self._forward([tail + [0] * (longest - len(tail)) for tail in tails], cache)
            chances = logits.float().log_softmax(-1)
        return np.array([
            sum(chances[n, place, token].item() for place, token in enumerate(tail[1:]))
            for n, tail in enumerate(tails)
        ])  # fmt: skip

    def _forward(self, rows: list[list[int]], before: Any, **options: int) -> tuple[Any, Any]:
        from transformers import DynamicCache

        cache = copy.deepcopy(before) if before else DynamicCache()
        for layer in cache.layers:
            layer.keys = layer.keys.expand(len(rows), -1, -1, -1)
            layer.values = layer.values.expand(len(rows), -1, -1, -1)
        ids = torch.tensor(rows, device=self._model.device)
        return self._model(input_ids=ids, use_cache=True, **{self._name: cache}, **options).logits, cache

    def _ids(self, text: str) -> list[int]:
        return [self._tokenizer.bos_token_id, *self._tokenizer(text, add_special_tokens=False)["input_ids"]]


def _alike(one: list[int], other: list[int]) -> int:
    """How many leading tokens two texts share."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def asked(model: Model, diaries: Sequence[GoldDiary], resolver: Resolver) -> Iterator[Asked]:
    """The mentions of diaries that have a term."""
    for diary in diaries:
        within = resolver.meaning.within(diary.text)
        ordered = sorted(diary.entities, key=lambda entity: (entity.start, entity.end))
        for number, entity in enumerate(ordered, 1):
            near = within.nearest(entity.start, entity.end, NEAREST) if entity.hpo_id else []
            if near and entity.hpo_id:
                labels = [resolver.index.label(one.hpo_id) for one in near]
                yield Asked(entity.hpo_id, near, model.told(diary, ordered[:number], labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", nargs="?", default=str(common.ROOT / "adapters" / "gemma3-270m"))
    parser.add_argument("--diaries", type=int, default=24, help="the first of the validation part")
    given = parser.parse_args()
    resolver, model = Resolver(releases.load()), Model(given.adapter)
    rows = list(asked(model, dataset.load(Path(VALIDATION))[: given.diaries], resolver))
    print(f"{model.version}, {os.environ.get(gemma_model.BASE, 'base of the adapter')}: {len(rows)} mentions")
    print(f"among the {NEAREST} nearest  {_share([any(n.hpo_id == r.accepted for n in r.near) for r in rows])}")
    print(f"index alone           {_share([row.right(1, model=0) for row in rows])}")
    print(f"model alone           {_share([row.right(0) for row in rows])}")
    for weight in WEIGHTS:
        print(f"both, weight {weight:<8} {_share([row.right(weight) for row in rows])}")


def _share(right: Sequence[bool]) -> str:
    return f"{sum(right) / max(len(right), 1):.3f}"


if __name__ == "__main__":
    main()
