"""What every export begins with: Extractions with their patient and day, and a count of what is left out."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clario import __version__
from clario.entities import Assertion, Entity, EntityType, Extraction
from clario.errors import InputError
from clario.extraction.dates import parse_recorded

NOTE = "Found by a program in what a patient or somebody about the patient wrote; not reviewed. Not a diagnosis."
_LONGEST_LINE = 64_000_000  # bytes; more than the entities of the longest diary take
_OF_THE_PATIENT = frozenset({Assertion.PRESENT, Assertion.PAST, Assertion.ABSENT})
_FINDINGS = frozenset({EntityType.SYMPTOM, EntityType.LAB_MARKER})


class LeftOut(StrEnum):
    """Why an entity is not in an export."""

    UNSURE = "less sure than asked for"
    OTHER = "somebody else's"
    HYPOTHETICAL = "only feared, asked about or planned"
    TYPE = "a medicine, trigger or behaviour"
    NO_TERM = "no HPO term"
    DENIED = "denied in one place, told in another"


@dataclass(slots=True)
class Tally:
    """How many things an export holds, by what they are, and how many entities it leaves out, by the reason."""

    written: Counter[str] = field(default_factory=Counter)
    left_out: Counter[LeftOut] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class About:
    """What the caller knows of a diary: whose it is, and the day it was written."""

    subject: str | None = None
    recorded: date | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One Extraction, and what is known about its diary."""

    extraction: Extraction
    about: About = About()

    @property
    def subject(self) -> str:
        """The patient; a diary of nobody known stands for a patient of its own."""
        return self.about.subject or self.extraction.id

    @property
    def event_day(self) -> str | None:
        """The day, month or year that the diary tells of, in ISO 8601; None where it tells none."""
        hint = (self.extraction.ts_event_hint or "").partition("T")[0]
        try:
            date.fromisoformat(hint + {4: "-01-01", 7: "-01"}.get(len(hint), ""))
        except ValueError:
            return None
        return hint


def made_by(record: Record) -> str:
    """The program and the model that found what a record holds."""
    return f"Clario {__version__}, {record.extraction.model}"


def why_not(entity: Entity, *, need_term: bool = True) -> LeftOut | None:
    """Why an entity is no finding of the patient; None where it is one."""
    if entity.assertion not in _OF_THE_PATIENT:
        return LeftOut.OTHER if entity.assertion is Assertion.OTHER else LeftOut.HYPOTHETICAL
    if entity.type not in _FINDINGS:
        return LeftOut.TYPE
    # An unremarkable test result ("ferritin 80") has no term either, and is no finding.
    unnamed = entity.hpo_id is None and (need_term or entity.type is not EntityType.SYMPTOM)
    return LeftOut.NO_TERM if unnamed else None


def grouped(records: Iterable[Record]) -> Iterator[list[Record]]:
    """The records of each patient, in the order of the patients' first ones. All are held in memory."""
    patients: dict[str, list[Record]] = {}
    for record in records:
        patients.setdefault(record.subject, []).append(record)
    yield from patients.values()


def release(records: Iterable[Record]) -> str:
    """The one HPO release of some records.

    Raises:
        InputError: they are of several, so that their ids cannot stand together.
    """
    releases = sorted({record.extraction.hpo_release for record in records})
    if len(releases) != 1:
        raise InputError(
            f"one patient's diaries have ids of several HPO releases ({', '.join(releases)}); read them anew with "
            "one, or export them apart"
        )
    return releases[0]


def read(lines: Iterable[bytes], name: str, about: Callable[[str], About], min_confidence: float,
         tally: Tally) -> Iterator[Record]:  # fmt: skip
    """The Extractions of JSON lines, as `clario extract --output` writes them, as a stream.

    Args:
        lines: of a file; blank ones are let pass.
        name: the file's name, for messages.
        about: tells of a diary's id whose it is and when it was written.
        min_confidence: entities below it are left out, and counted in `tally`.

    Raises:
        InputError: a line is no Extraction, or `about` does not know its id; it names the line.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            extraction = _extraction(line, f"{name}, line {number}")
            sure = tuple(e for e in extraction.entities if e.confidence >= min_confidence)
            tally.left_out[LeftOut.UNSURE] += len(extraction.entities) - len(sure)
            try:
                known = about(extraction.id)
            except InputError as error:
                raise InputError(f"{name}, line {number}: {error}") from None
            yield Record(extraction.model_copy(update={"entities": sure}), known)


def _extraction(line: bytes, where: str) -> Extraction:
    if len(line) > _LONGEST_LINE:
        raise InputError(f"{where}: longer than {_LONGEST_LINE:,} bytes")
    try:
        return Extraction.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    # Raised out here: within, the error would keep the line, which quotes a diary.
    place = ".".join(str(part) for part in first["loc"])[:80]
    raise InputError(f"{where}: not an Extraction of 'clario extract' ({place or first['type']}); is it cut off?")


def about_file(path: Path) -> dict[str, About]:
    """What a file tells about diaries, by their ids: `.jsonl` or `.csv` with `id`, `subject`, `ts_recorded`.

    Other fields, such as the text, are let pass: it may be the file that the diaries were read from.

    Raises:
        InputError: it cannot be read, a line has no id, a wrong date, or an id that was there before.
    """
    found: dict[str, About] = {}
    try:
        for where, row in _rows(path):
            identifier = row.get("id")
            if identifier in (None, ""):
                raise InputError(f'{where}: no "id"')
            if str(identifier) in found:
                raise InputError(f"{where}: its id was there before")
            found[str(identifier)] = _about(row, where)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from None
    return found


def _about(row: dict[str, Any], where: str) -> About:
    subject, recorded = row.get("subject"), row.get("ts_recorded")
    try:
        day = parse_recorded(str(recorded)) if recorded else None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return About(str(subject) if subject not in (None, "") else None, day)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        if path.suffix.lower() == ".csv":
            for number, row in enumerate(csv.DictReader(file), 1):
                yield f"{path}, row {number}", row
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}, line {number}", _object(line, f"{path}, line {number}")


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise InputError(f"{where}: not a whole JSON object; is the line cut off?")
    return record
