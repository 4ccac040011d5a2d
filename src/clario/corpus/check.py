"""Is the corpus what it says? Faults of a diary, of a part beside another, and figures of its spread."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from clario.corpus.dataset import GoldDiary, GoldEntity
from clario.corpus.duplicates import near_duplicates
from clario.corpus.split import leaks
from clario.entities import Assertion, EntityType
from clario.errors import UnknownTermError
from clario.ontology.index import Index

FEWEST_WORDS, MOST_WORDS = 10, 160
WITH_TERMS = frozenset({EntityType.SYMPTOM, EntityType.LAB_MARKER})
LONG_PHRASE = 5  # words; a shorter quote may stand in two texts by chance
NEAR = 0.7  # similarity (see duplicates.py) from which two texts are near duplicates
_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and in which diary."""

    id: str
    what: str


def faults(parts: Mapping[str, Sequence[GoldDiary]], index: Index) -> list[Fault]:
    """Everything wrong with a corpus, in the order of its diaries; an empty list is a sound corpus."""
    diaries = [diary for part in parts.values() for diary in part]
    return [
        *(fault for diary in diaries for fault in _of_diary(diary, index)),
        *_doubled(diaries),
        *(Fault(leak.disease, f"the disease stands in {' and '.join(leak.parts)}") for leak in leaks(parts)),
        *_leaked_phrases(parts),
    ]


def _of_diary(diary: GoldDiary, index: Index) -> Iterator[Fault]:
    number = len(_WORD.findall(diary.text))
    if not FEWEST_WORDS <= number <= MOST_WORDS:
        yield Fault(diary.id, f"{number} words; a diary has {FEWEST_WORDS} to {MOST_WORDS}")
    for entity in diary.entities:
        for what in _of_entity(entity, diary.text, index):
            yield Fault(diary.id, f"characters {entity.start} to {entity.end}: {what}")
    doubled = [
        e
        for e, n in Counter((e.start, e.end, e.type, e.assertion, e.hpo_id) for e in diary.entities).items()
        if n > 1
    ]
    yield from (Fault(diary.id, f"characters {e[0]} to {e[1]}: the entity stands twice") for e in doubled)


def _of_entity(entity: GoldEntity, text: str, index: Index) -> Iterator[str]:
    if text[entity.start : entity.end] != entity.name_colloquial:
        yield "the quote is not the text's"
    if entity.name_colloquial != entity.name_colloquial.strip():
        yield "the quote begins or ends with white space"
    if entity.type not in WITH_TERMS and entity.hpo_id:
        yield f"a {entity.type} has no HPO id"
    if entity.hpo_id in entity.alt_ids:
        yield f"{entity.hpo_id} is its own alternative"
    for hpo_id in entity.alt_ids:
        yield from _of_id(hpo_id, index)
    if entity.hpo_id:
        of_id = list(_of_id(entity.hpo_id, index))
        yield from of_id
        if not of_id and index.label(entity.hpo_id) != entity.hpo_label:
            yield f"{entity.hpo_id} is not called {entity.hpo_label!r} but {index.label(entity.hpo_id)!r}"


def _of_id(hpo_id: str, index: Index) -> Iterator[str]:
    try:
        if index.live(hpo_id) != hpo_id:
            yield f"{hpo_id} was retired for {index.live(hpo_id)}"
        elif not index.is_phenotypic(hpo_id):
            yield f"{hpo_id} is no phenotypic abnormality"
    except UnknownTermError as error:
        yield str(error)


def _doubled(diaries: Sequence[GoldDiary]) -> Iterator[Fault]:
    for identifier, number in Counter(diary.id for diary in diaries).items():
        if number > 1:
            yield Fault(identifier, f"the id stands {number} times")
    for one, other, share in near_duplicates([diary.text for diary in diaries], NEAR):
        yield Fault(diaries[other].id, f"nearly the text of {diaries[one].id} ({share:.2f} in common)")


def _leaked_phrases(parts: Mapping[str, Sequence[GoldDiary]]) -> Iterator[Fault]:
    """Long quotes of a held-out diary that stand word for word in a text of train."""
    train = "\n".join(_plain(diary.text) for diary in parts.get("train", ()))
    for part in ("validation", "test"):
        for diary in parts.get(part, ()):
            for entity in diary.entities:
                phrase = _plain(entity.name_colloquial)
                if len(phrase.split()) >= LONG_PHRASE and f" {phrase} " in train:
                    yield Fault(diary.id, f"characters {entity.start} to {entity.end}: the quote stands in train")


def _plain(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.casefold()))} ".strip()


@dataclass(frozen=True, slots=True)
class Spread:
    """How much of what a set of diaries holds."""

    diaries: int
    diseases: int
    writers: int
    entities: int
    without_entities: int
    words: tuple[int, int, int]  # least, median, most
    types: Mapping[str, int]
    assertions: Mapping[str, int]
    terms: int
    terms_five_times: int


def spread(diaries: Sequence[GoldDiary]) -> Spread:
    """Counts of a set of diaries; at least one."""
    entities = [entity for diary in diaries for entity in diary.entities]
    terms = Counter(entity.hpo_id for entity in entities if entity.hpo_id)
    words = sorted(len(_WORD.findall(diary.text)) for diary in diaries)
    return Spread(
        diaries=len(diaries),
        diseases=len({diary.disease for diary in diaries if diary.disease}),
        writers=len({diary.writer for diary in diaries}),
        entities=len(entities),
        without_entities=sum(not diary.entities for diary in diaries),
        words=(words[0], words[len(words) // 2], words[-1]),
        types=_counts(EntityType, (entity.type for entity in entities)),
        assertions=_counts(Assertion, (entity.assertion for entity in entities)),
        terms=len(terms),
        terms_five_times=sum(number >= 5 for number in terms.values()),
    )


def _counts(values: Iterable[str], found: Iterable[str]) -> dict[str, int]:
    counted = Counter(found)
    return {str(value): counted[value] for value in values}
