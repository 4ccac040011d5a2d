"""Reading what is to be scored: gold diaries, splits, and predictions, all JSON with the line in every error."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clario.entities import Assertion, Confidence, EntityType, Extraction, HpoId
from clario.errors import InputError, UnknownTermError
from clario.evaluation.metrics import Annotation
from clario.ontology.index import Index

PARTS = ("train", "validation", "test")
Offset = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class GoldDiary:
    """A diary with its entities, and a second annotator's, who worked blind, where there was one."""

    id: str
    text: str
    entities: tuple[Annotation, ...]
    second: tuple[Annotation, ...] | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One line of predictions: entities, or a model's raw output, or neither where it failed.

    `valid`: the line is a whole Extraction. `model` and `hpo_release` are what the line says of itself.
    """

    id: str
    entities: tuple[Annotation, ...] | None = None
    raw: str | None = None
    valid: bool = False
    model: str | None = None
    hpo_release: str | None = None


class _Entity(BaseModel):
    """An entity of a line: everything may be missing, nothing may be wrong; further keys are let pass."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: Annotated[EntityType, Field(strict=False)] | None = None
    name_colloquial: str | None = None
    name_canonical: str | None = None
    start: Offset | None = None
    end: Offset | None = None
    hpo_id: HpoId | None = None
    hpo_label: str | None = None
    alt_ids: list[HpoId] = []
    assertion: Annotated[Assertion, Field(strict=False)] | None = None
    confidence: Confidence | None = None

    @model_validator(mode="after")
    def _offsets_fit(self) -> Self:
        if (self.start is None) != (self.end is None):
            raise ValueError("start and end go together")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("end must be greater than start")
        return self

    def annotation(self) -> Annotation:
        return Annotation(
            self.type, self.start, self.end, self.assertion, self.hpo_id, frozenset(self.alt_ids),
            self.name_colloquial, self.name_canonical, self.confidence,
        )  # fmt: skip


def gold(path: Path, index: Index) -> dict[str, GoldDiary]:
    """The gold diaries of a file by id, in its order.

    A line is {"id", "text", "entities"}, optionally with "second_annotation"; {"id", "text", "hpo_ids"} is
    taken for a document known by its ids only (such as GSC+). Ids that HPO retired become their successors.

    Raises:
        InputError: a line is not of that shape, an id is doubled or unknown to the release, a quote is not
            the text's; it names the line.
    """
    diaries: dict[str, GoldDiary] = {}
    for where, record in _lines(path):
        diary = _gold_diary(record, where, index)
        if diary.id in diaries:
            raise InputError(f"{where}: the id {diary.id[:80]!r} was there before")
        diaries[diary.id] = diary
    if not diaries:
        raise InputError(f"{path}: no diaries in it")
    return diaries


def _gold_diary(record: Mapping[str, Any], where: str, index: Index) -> GoldDiary:
    text = record.get("text")
    if not isinstance(text, str):
        raise InputError(f'{where}: no field "text" with a string')
    entities: Any = record.get("entities")
    if entities is None and isinstance(record.get("hpo_ids"), list):
        entities = [{"hpo_id": hpo_id} for hpo_id in record["hpo_ids"]]
    sides = [entities, record.get("second_annotation")]
    first, second = (None if side is None else _gold_entities(side, text, where, index) for side in sides)
    if first is None:
        raise InputError(f'{where}: no field "entities" with a list')
    return GoldDiary(_id(record, where), text, first, second)


def _gold_entities(entities: Any, text: str, where: str, index: Index) -> tuple[Annotation, ...]:
    found = _entities(entities, where)
    for number, a in enumerate(found, 1):
        if a.start is not None and text[a.start : a.end] != a.quote:
            raise InputError(f"{where}: the quote of entity {number} is not text[start:end]")
    try:
        return tuple(_live(a, index) for a in found)
    except UnknownTermError as error:
        raise InputError(f"{where}: {error}") from None


def _live(annotation: Annotation, index: Index) -> Annotation:
    """With live ids, and named by the label or else the quote, so that an annotator can be scored too."""
    hpo_id = index.live(annotation.hpo_id) if annotation.hpo_id else None
    name = annotation.name or (index.label(hpo_id) if hpo_id else annotation.quote)
    return replace(annotation, hpo_id=hpo_id, name=name, alt_ids=frozenset(map(index.live, annotation.alt_ids)))


def part(path: Path, name: str) -> list[str]:
    """The ids of one part of a split file: {"train": [ids], "validation": [ids], "test": [ids]}.

    The three lists may also stand under "parts"; other keys are let pass.

    Raises:
        InputError: not such a file, or it lacks the part.
    """
    try:
        record = json.loads(_bytes(path))
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not a JSON file") from None
    parts = record.get("parts", record) if isinstance(record, dict) else None
    ids = parts.get(name) if isinstance(parts, dict) else None
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        raise InputError(f'{path}: no list of ids under "{name}"')
    return ids


def predictions(path: Path) -> dict[str, Prediction]:
    """The predictions of a file by id: Extractions, looser entities, failures, or raw model outputs.

    Raises:
        InputError: a line is broken, has an id twice, or an entity with a wrong value; it names the line.
    """
    found: dict[str, Prediction] = {}
    for where, record in _lines(path):
        prediction = _prediction(record, where)
        if prediction.id in found:
            raise InputError(f"{where}: the id {prediction.id[:80]!r} was there before")
        found[prediction.id] = prediction
    if len({p.raw is None for p in found.values() if p.raw is not None or p.entities is not None}) > 1:
        raise InputError(f'{path}: some lines have "raw" and some "entities"; give them as two files')
    return found


def _prediction(record: Mapping[str, Any], where: str) -> Prediction:
    name = _id(record, where)
    if isinstance(record.get("raw"), str):
        return Prediction(name, raw=record["raw"], model=_text(record, "model"))
    if "error" in record and "entities" not in record:
        return Prediction(name)
    if "entities" not in record:
        raise InputError(f'{where}: no "entities", no "raw" and no "error"')
    return Prediction(
        name, _entities(record["entities"], where), None, _is_extraction(record),
        _text(record, "model"), _text(record, "hpo_release"),
    )  # fmt: skip


def _is_extraction(record: Mapping[str, Any]) -> bool:
    try:
        Extraction.model_validate(record)
    except ValidationError:
        return False
    return True


def _entities(entities: Any, where: str) -> tuple[Annotation, ...]:
    if not isinstance(entities, list):
        raise InputError(f'{where}: "entities" is not a list')
    return tuple(_entity(entity, f"{where}: entity {number}") for number, entity in enumerate(entities, 1))


def _entity(entity: Any, where: str) -> Annotation:
    try:
        return _Entity.model_validate(entity).annotation()
    except ValidationError as error:
        # Pydantic's own message would show the value, which may be a patient's words.
        first = error.errors(include_input=False, include_url=False)[0]
        field = "".join(f" {part}" for part in first["loc"])
        raise InputError(f"{where}{field}: {first['msg']}") from None


def _id(record: Mapping[str, Any], where: str) -> str:
    value = record.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise InputError(f'{where}: no field "id" with a string')
    return str(value)


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    return value if isinstance(value, str) else None


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON Lines file, each with the words that name its place."""
    for number, line in enumerate(_numbered(path), 1):
        if line.strip():
            yield f"{path}, line {number}", _object(line, f"{path}, line {number}")


def _numbered(path: Path) -> Iterable[bytes]:
    return _bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n")


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{where}: not UTF-8") from None
    except (ValueError, RecursionError):
        raise InputError(f"{where}: not a whole JSON object; is the line cut off?") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: not a JSON object")
    return record


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from None
