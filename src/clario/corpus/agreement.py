"""How far two annotators, blind to each other, agree on the same diaries.

Mentions are paired by overlapping spans, each with the one that it shares most characters with. The F1 of
mentions stands for agreement because what neither marked cannot be counted (Hripcsak & Rothschild, JAMIA
2005;12:296-298).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from clario.corpus.dataset import Annotation, GoldEntity
from clario.entities import Assertion

Pair = tuple[GoldEntity, GoldEntity]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Figures over the doubly annotated diaries, each between 0 and 1 (None where nothing could be counted).

    `same_id`, `compatible_id`: among paired mentions that both gave an id to, the share with the same one,
    or with one that the other gave or allowed. `documents`: F1 of the sets of present ids.
    """

    diaries: int
    mentions: float | None
    same_id: float | None
    compatible_id: float | None
    documents: float | None
    assertions: Mapping[str, float | None]


def agreement(first: Iterable[Annotation], second: Iterable[Annotation]) -> Agreement:
    """Agreement of two annotators on the diaries that both annotated."""
    other = {annotation.id: annotation.entities for annotation in second}
    both = [(annotation.entities, other[annotation.id]) for annotation in first if annotation.id in other]
    pairs = [pair for ours, theirs in both for pair in paired(ours, theirs)]
    with_ids = [(a, b) for a, b in pairs if a.hpo_id and b.hpo_id]
    marked = sum(len(ours) + len(theirs) for ours, theirs in both)
    sets = [(_present(ours), _present(theirs)) for ours, theirs in both]
    return Agreement(
        diaries=len(both),
        mentions=_share(2 * len(pairs), marked),
        same_id=_share(sum(a.hpo_id == b.hpo_id for a, b in with_ids), len(with_ids)),
        compatible_id=_share(sum(compatible(a, b) for a, b in with_ids), len(with_ids)),
        documents=_share(2 * sum(len(a & b) for a, b in sets), sum(len(a) + len(b) for a, b in sets)),
        assertions={assertion: _assertion_f1(pairs, assertion) for assertion in Assertion},
    )


def paired(ours: Sequence[GoldEntity], theirs: Sequence[GoldEntity]) -> list[Pair]:
    """Pairs of mentions of one diary, one to one, the largest overlap first."""
    overlaps = [(_overlap(a, b), -i, -j) for i, a in enumerate(ours) for j, b in enumerate(theirs)]
    pairs, used = list[Pair](), (set[int](), set[int]())
    for shared, i, j in sorted(overlaps, reverse=True):
        if shared > 0 and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            pairs.append((ours[-i], theirs[-j]))
    return pairs


def compatible(one: GoldEntity, other: GoldEntity) -> bool:
    """Whether two annotators' terms are the same or one that the other allowed."""
    mine, yours = {one.hpo_id, *one.alt_ids}, {other.hpo_id, *other.alt_ids}
    return one.hpo_id in yours or other.hpo_id in mine


def _overlap(one: GoldEntity, other: GoldEntity) -> int:
    return min(one.end, other.end) - max(one.start, other.start)


def _present(entities: Iterable[GoldEntity]) -> set[str]:
    return {e.hpo_id for e in entities if e.hpo_id and e.assertion is Assertion.PRESENT}


def _assertion_f1(pairs: Sequence[Pair], assertion: Assertion) -> float | None:
    both = sum(a.assertion is assertion and b.assertion is assertion for a, b in pairs)
    return _share(2 * both, sum((a.assertion is assertion) + (b.assertion is assertion) for a, b in pairs))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
