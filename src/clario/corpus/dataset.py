"""The corpus as files: one diary a line, a file a part, and both annotators' entities beside the settled ones.

train.jsonl, validation.jsonl, test.jsonl      diaries with their gold entities
validation.second.jsonl, test.second.jsonl     what another annotator, who saw the text alone, found
splits.json                                    which ids belong to which part, with the files' sha256
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clario.entities import Assertion, EntityType, HpoId
from clario.errors import InputError
from clario.paths import write_atomically

PARTS = ("train", "validation", "test")
FIRST, SECOND = "first", "second"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class GoldEntity(_Record):
    """One annotated entity; docs/ANNOTATION.md defines the fields. Offsets are code points."""

    type: EntityType
    name_colloquial: Annotated[str, Field(min_length=1)]
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(gt=0)]
    hpo_id: HpoId | None
    hpo_label: str | None
    alt_ids: tuple[HpoId, ...]
    assertion: Assertion


class Annotation(_Record):
    """What one annotator found in a diary."""

    id: str
    entities: tuple[GoldEntity, ...]


class GoldDiary(Annotation):
    """A diary with its entities. `disease` is the ORPHA or OMIM code of its profile, `writer` who wrote it."""

    text: str
    disease: str | None
    writer: str


def load(path: Path) -> list[GoldDiary]:
    """The diaries of a file.

    Raises:
        InputError: the file cannot be read, or a line is no diary; it names the line.
    """
    return _load(path, GoldDiary)


def load_annotations(path: Path) -> list[Annotation]:
    """One annotator's entities for the diaries of a file; raises as `load` does."""
    return _load(path, Annotation)


def save(diaries: Iterable[Annotation], path: Path) -> str:
    """Write diaries or annotations, one a line, whole or not at all; the file's sha256."""
    data = "".join(diary.model_dump_json() + "\n" for diary in diaries).encode()
    with write_atomically(path) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


_Kind = TypeVar("_Kind", bound=Annotation)


def _load(path: Path, kind: type[_Kind]) -> list[_Kind]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    return [_record(kind, line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]


def _record(kind: type[_Kind], line: str, where: str) -> _Kind:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        # Not `str(error)`: it would show the diary's text.
        first = error.errors(include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the line"
        raise InputError(f"{where}: {place}: {first['msg']}") from None
