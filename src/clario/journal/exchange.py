"""Entries from files and into files: the corpus' JSON lines with people's entities, and corrected results."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clario.corpus import agreement
from clario.corpus.dataset import Annotation, GoldDiary, GoldEntity
from clario.entities import Extraction, Failure
from clario.errors import ClarioError, InputError
from clario.journal.records import ME, Add, Entry, Status, View
from clario.journal.store import Journal
from clario.pipeline import Diary
from clario.reading import diaries


@dataclass(slots=True)
class Tally:
    """What an import did: new entries, those that were there, annotated ones, and what could not be taken."""

    added: int = 0
    there: int = 0
    annotated: int = 0
    failures: list[Failure] = field(default_factory=list)


def take_in(journal: Journal, items: Iterable[Diary | Failure], tally: Tally) -> Iterator[Entry]:
    """Texts as entries, each kept before the next is read; what cannot be kept is named in `tally`.

    An import that was broken off is done again whole: an id with the same text is the same entry.
    """
    known = {entry.id for entry in journal.entries()}
    for item in items:
        if isinstance(item, Failure):
            tally.failures.append(item)
            continue
        try:
            entry = journal.add(item.text, item.recorded, item.id)
        except InputError as error:
            tally.failures.append(Failure(id=item.id, error=str(error)))
            continue
        tally.there += entry.id in known
        tally.added += entry.id not in known
        yield entry


def import_files(journal: Journal, paths: Iterable[str]) -> Tally:
    """All diaries of `.txt`, `.jsonl` and `.csv` files, or of the standard input (`-`), as entries."""
    tally = Tally()
    for _ in take_in(journal, diaries(paths), tally):
        pass
    return tally


def import_annotations(journal: Journal, path: Path, annotator: str, tally: Tally) -> None:
    """The entities of a file of the corpus as an annotator's, for the entries of their ids.

    An entry that this annotator has worked on already is left as it is.

    Raises:
        InputError: the file cannot be read.
    """
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            try:
                where = f"{path}, line {number}"
                id, found = _annotation(line, where)
                text = journal.entry(id).text
                if any(text[one.start : one.end] != one.name_colloquial for one in found):
                    raise InputError(f"{where}: its entities quote another text than that of the entry")
                tally.annotated += journal.annotate(id, [_add(one) for one in found], annotator)
            except ClarioError as error:
                tally.failures.append(Failure(id=f"{path}:{number}", error=str(error)))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
    raise InputError(f"{path}: {why}")


def _annotation(line: str, where: str) -> tuple[str, list[GoldEntity]]:
    try:
        record: Any = json.loads(line)
        found = [GoldEntity.model_validate_json(json.dumps(entity)) for entity in record["entities"]]
        return str(record["id"]), found
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        why = "" if not isinstance(error, ValidationError) else _place(error)
    raise InputError(f"{where}: no diary of the corpus with an id and entities{why}")


def _place(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return f" ({'.'.join(map(str, first['loc']))}: {first['type']})"


def _add(entity: GoldEntity) -> Add:
    return Add(
        type=entity.type, start=entity.start, end=entity.end, hpo_id=entity.hpo_id,
        assertion=entity.assertion, alt_ids=entity.alt_ids,
    )  # fmt: skip


def gold(journal: Journal, annotator: str = ME, *, finished: bool = False) -> Iterator[GoldDiary]:
    """The entries as diaries of the corpus, with an annotator's corrections applied.

    Args:
        finished: only those that the annotator is through with.
    """
    for entry, view in _views(journal, annotator, finished):
        yield GoldDiary(id=entry.id, entities=_gold(view), text=entry.text, disease=None, writer=annotator)


def results(
    journal: Journal, annotator: str = ME, *, finished: bool = False
) -> Iterator[tuple[Entry, Extraction]]:
    """The entries with what was found in them, an annotator's corrections applied; see `gold`."""
    for entry, view in _views(journal, annotator, finished):
        yield entry, view.extraction()


def annotations(journal: Journal, annotator: str) -> list[Annotation]:
    """What an annotator found, in the entries that he is through with."""
    return [Annotation(id=view.id, entities=_gold(view)) for _, view in _views(journal, annotator, True)]


def agree(journal: Journal, first: str, second: str) -> agreement.Agreement:
    """How far two annotators agree, on the entries that both are through with."""
    return agreement.agreement(annotations(journal, first), annotations(journal, second))


def _views(journal: Journal, annotator: str, finished: bool) -> Iterator[tuple[Entry, View]]:
    through = set(journal.finished(annotator)) if finished else None
    for entry in journal.entries():
        if through is None or entry.id in through:
            yield entry, journal.effective(entry.id, annotator)


def _gold(view: View) -> tuple[GoldEntity, ...]:
    return tuple(
        GoldEntity(
            type=item.entity.type, name_colloquial=item.entity.name_colloquial, start=item.entity.start,
            end=item.entity.end, hpo_id=item.entity.hpo_id, hpo_label=item.entity.hpo_label,
            alt_ids=item.alt_ids, assertion=item.entity.assertion,
        )
        for item in view.items
        if item.status is not Status.REJECTED
    )  # fmt: skip
