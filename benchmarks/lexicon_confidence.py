"""How often each kind of match of the lexicon extractor is right: where its confidences come from.

Measured: for each confidence that the extractor states, the share of the mentions with it that are right. A
symptom or test with an HPO id is right where an overlapping quote has that id, or allows it; a medicine, or
a test without an id, where a quote of its type overlaps it. Against: the annotators of the training part.
"""

from collections import defaultdict
from pathlib import Path

import common
from clario.corpus.dataset import GoldDiary, GoldEntity, load
from clario.entities import Entity
from clario.pipeline import Clario

TRAIN = common.ROOT / "data" / "corpus" / "train.jsonl"


def counts(diaries: list[GoldDiary]) -> dict[float, tuple[int, int]]:
    """For each stated confidence: how many mentions had it, and how many of them were right."""
    reader, found = Clario("lexicon", release=common.RELEASE), defaultdict[float, list[bool]](list)
    for diary in diaries:
        for entity in reader.extract(diary.text).entities:
            found[entity.confidence].append(any(_right(entity, gold) for gold in diary.entities))
    return {stated: (len(right), sum(right)) for stated, right in sorted(found.items())}


def _right(entity: Entity, gold: GoldEntity) -> bool:
    if entity.start >= gold.end or gold.start >= entity.end:
        return False
    return entity.hpo_id in {gold.hpo_id, *gold.alt_ids} if entity.hpo_id else entity.type == gold.type


def main() -> None:
    """Print the table."""
    options = common.parser(__doc__)
    options.add_argument("--corpus", type=Path, default=TRAIN, help="diaries (default: the training part)")
    given = options.parse_args()
    found = counts(load(given.corpus))
    rows = [(f"{stated:.2f}", str(n), f"{right / n:.2f}") for stated, (n, right) in found.items()]
    section = common.Section("Confidence of the lexicon", ("stated", "mentions", "share right"), rows)
    common.show(
        given.json, common.provenance([given.corpus], {}), {str(k): v for k, v in found.items()}, [section]
    )


if __name__ == "__main__":
    common.run(main)
