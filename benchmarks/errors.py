"""The mentions that a model gets wrong on gold diaries, one by one, for a person to read.

Printed for each: what is wrong, the words around the mention (between brackets: what gold marks, else what was
found), gold's type, assertion and term, those that were found, and how the two terms are related in HPO:
    parent, child    the found term is the gold term's parent, or its child
    ancestor, descendant    the same, further away
    sibling          they have a parent in common
    near             their paths in the hierarchy meet within two steps of both
    far              anything else
What can be wrong: `missed` (nothing found there), `spurious` (no gold there), `type`, `assertion`, `term` (another
than gold's or its alternatives), `no term` (none found where gold has one), `unasked` (one where gold has none).
Mentions are aligned as `clario evaluate` aligns them. One that is wrong in several ways is told once, with all.
Against: the gold annotations; nothing is installed and nothing is timed.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import common
from clario.entities import Entity, Failure
from clario.evaluation import metrics
from clario.evaluation import read as reading
from clario.evaluation.metrics import Annotation
from clario.evaluation.read import GoldDiary
from clario.extraction.base import DEFAULT
from clario.ontology import release as releases
from clario.ontology.index import PHENOTYPIC_ABNORMALITY, Index
from clario.pipeline import Clario, Diary

VALIDATION = common.ROOT / "data" / "corpus" / "validation.jsonl"
AROUND = 60  # code points shown on each side
NEAR = 2  # steps up from each of two terms within which their paths meet
Told = tuple[Annotation | None, Annotation | None]  # gold, found
KINDS = ("missed", "spurious", "type", "assertion", "term", "no term", "unasked")


@dataclass(frozen=True, slots=True)
class Side:
    """A mention as gold has it, or as it was found."""

    quote: str
    type: str
    assertion: str
    hpo_id: str | None
    label: str | None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Error:
    """One mention and what is wrong with it; `relation` is None unless both sides have a term and they differ."""

    diary: str
    kinds: tuple[str, ...]
    context: str
    gold: Side | None
    found: Side | None
    relation: str | None = None


def errors_of(diary: GoldDiary, found: Sequence[Annotation], index: Index) -> list[Error]:
    """The errors of one diary, in the order of the text."""
    pairs = metrics.align(diary.entities, found)
    paired = {id(one) for pair in pairs for one in pair}
    told = list[Told](pairs)
    told += [(gold, None) for gold in diary.entities if id(gold) not in paired]
    told += [(None, own) for own in found if id(own) not in paired]
    wrong = [pair for pair in told if kinds_of(*pair)]
    return [_error(diary, *pair, index) for pair in sorted(wrong, key=lambda pair: _span(pair[0] or pair[1]))]


def annotation(entity: Entity) -> Annotation:
    """An entity as the metrics see it."""
    return Annotation(
        entity.type, entity.start, entity.end, entity.assertion, entity.hpo_id, confidence=entity.confidence
    )


def kinds_of(gold: Annotation | None, found: Annotation | None) -> tuple[str, ...]:
    """What is wrong with a mention; nothing where all is right."""
    if gold is None or found is None:
        return ("missed",) if gold else ("spurious",)
    kinds = [] if found.type == gold.type else ["type"]
    kinds += [] if found.assertion == gold.assertion else ["assertion"]
    if found.hpo_id != gold.hpo_id and found.hpo_id not in gold.alt_ids:
        kinds.append("term" if found.hpo_id and gold.hpo_id else "unasked" if found.hpo_id else "no term")
    return tuple(kinds)


def _error(diary: GoldDiary, gold: Annotation | None, found: Annotation | None, index: Index) -> Error:
    start, end = _span(gold or found)
    before, after = diary.text[max(0, start - AROUND) : start], diary.text[end : end + AROUND]
    context = " ".join(f"{before}[{diary.text[start:end]}]{after}".split())
    ids = (gold.hpo_id, found.hpo_id) if gold and found else (None, None)
    related = relation(index, ids[0], ids[1]) if ids[0] and ids[1] and ids[0] != ids[1] else None
    kinds = kinds_of(gold, found)
    sides = _side(diary, gold, index), _side(diary, found, index)
    return Error(diary.id, kinds, context, *sides, related if "term" in kinds else None)


def _span(one: Annotation | None) -> tuple[int, int]:
    if one is None or one.start is None or one.end is None:
        return 0, 0
    return one.start, one.end


def _side(diary: GoldDiary, one: Annotation | None, index: Index) -> Side | None:
    if one is None:
        return None
    start, end = _span(one)
    label = index.label(one.hpo_id) if one.hpo_id else None
    return Side(diary.text[start:end], str(one.type), str(one.assertion), one.hpo_id, label, one.confidence)


def relation(index: Index, gold: str, found: str) -> str:
    """How a found term is related to the gold one: see the head of this file."""
    up_gold, up_found = steps_up(index, gold), steps_up(index, found)
    if found in up_gold:
        return "parent" if up_gold[found] == 1 else "ancestor"
    if gold in up_found:
        return "child" if up_found[gold] == 1 else "descendant"
    shared = (up_gold.keys() & up_found.keys()) - {PHENOTYPIC_ABNORMALITY}
    furthest = min((max(up_gold[one], up_found[one]) for one in shared), default=NEAR + 1)
    return "sibling" if furthest == 1 else "near" if furthest <= NEAR else "far"


def steps_up(index: Index, hpo_id: str) -> dict[str, int]:
    """A term and its ancestors, each with the fewest steps to it."""
    steps, edge = {hpo_id: 0}, [hpo_id]
    for count in itertools.count(1):
        edge = [parent for one in edge for parent in index.parents(one) if parent not in steps]
        if not edge:
            break
        steps.update(dict.fromkeys(edge, count))
    return steps


def read(gold: Path, model: str, index: Index) -> list[Error]:
    """All errors of a model on a gold file."""
    diaries = list(reading.gold(gold, index).values())
    results = Clario(model).extract_many(Diary(diary.id, diary.text) for diary in diaries)
    errors = list[Error]()
    for diary, result in zip(diaries, results, strict=True):
        if isinstance(result, Failure):
            raise common.BenchmarkError(f"{result.id}: {result.error}")
        errors += errors_of(diary, [annotation(entity) for entity in result.entities], index)
    return errors


def lines(number: int, error: Error) -> Iterator[str]:
    """An error as a person reads it."""
    relation_ = f" ({error.relation})" if error.relation else ""
    yield f"{number}. {error.diary}: {', '.join(error.kinds)}{relation_}"
    yield f"   {error.context}"
    for name, side in (("gold ", error.gold), ("found", error.found)):
        if side:
            term = f"{side.label} {side.hpo_id}" if side.hpo_id else "no term"
            sure = f", confidence {side.confidence:.2f}" if side.confidence is not None else ""
            yield f"   {name} {side.type}, {side.assertion}: {side.quote!r} -> {term}{sure}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the errors and how many there are of each kind."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("gold", type=Path, nargs="?", default=VALIDATION, help="diaries (default: validation)")
    parser.add_argument("--model", default=DEFAULT, help=f"a model of `clario models` (default: {DEFAULT})")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only these kinds (may be repeated)")
    parser.add_argument("--sample", type=int, metavar="N", help="N of them, drawn with a fixed seed")
    options = parser.parse_args(argv)
    errors = read(options.gold, options.model, releases.load())
    kinds = Counter(kind for error in errors for kind in error.kinds)
    relations = Counter(error.relation for error in errors if error.relation)
    chosen = [error for error in errors if not options.kind or set(error.kinds) & set(options.kind)]
    if options.sample is not None and options.sample < len(chosen):
        places = sorted(random.Random(common.SEED).sample(range(len(chosen)), options.sample))
        chosen = [chosen[place] for place in places]
    if options.json:
        shown: dict[str, Any] = {"errors": [asdict(e) for e in chosen], "kinds": kinds, "relations": relations}
        print(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    for number, error in enumerate(chosen, 1):
        print(*lines(number, error), "", sep="\n")
    print(f"{len(errors)} errors, {len(chosen)} shown: " + ", ".join(f"{k} {kinds[k]}" for k in KINDS if kinds[k]))
    print("wrong terms: " + ", ".join(f"{name} {count}" for name, count in relations.most_common()))


if __name__ == "__main__":
    common.run(main)
