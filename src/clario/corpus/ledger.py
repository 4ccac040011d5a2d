"""What teachers wrote, as files: diaries with their provenance, and the profiles that were given up.

OUTPUT has one diary a line, `OUTPUT.failures.jsonl` one line a profile without a diary. Both are written line by
line, so that whatever ends a run, what is done is kept, and a later run goes on from there.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from clario.corpus.dataset import GoldEntity
from clario.errors import OutputError
from clario.paths import write_atomically

FAILURES: Final = ".failures.jsonl"
_BEGINNING: Final = b'{"id":'


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str


class Provenance(BaseModel):
    """Where a diary comes from.

    `seed` is that of its style, `prompt_sha256` of the first prompt for it; tokens are those of all attempts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str
    server_api: str
    prompt_sha256: str
    profile_sha256: str
    seed: int
    attempts: int
    clario_version: str
    hpo_release: str
    tokens_in: int
    tokens_out: int


class TaughtDiary(_Line):
    """A diary that a teacher wrote and annotated."""

    text: str
    disease: str
    entities: tuple[GoldEntity, ...]
    provenance: Provenance


class GivenUp(_Line):
    """Why a profile has no diary, without a word of the answers; attempts and tokens are those of the last run."""

    disease: str
    reason: str
    attempts: int
    tokens_in: int
    tokens_out: int


class Ledger:
    """The output and its failures, open for more; a context manager.

    Attributes:
        texts: diaries done so far, by id.
        given_up: failures so far that were not made up for, by id.

    Raises:
        OutputError: a file cannot be written; it is there and not to be continued; or it is not ours, or was made
            with another release of HPO.
    """

    def __init__(self, output: Path, hpo_release: str, *, resume: bool = False) -> None:
        self._output, self._failures = output, output.with_name(output.name + FAILURES)
        for path in (self._output, self._failures):
            if not resume and path.exists() and path.stat().st_size:
                raise OutputError(f"{path} is there already: continue with --resume, or move it away")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            self._is_new = not output.exists()
            if not self._is_new and not output.is_file():
                raise OutputError(f"{output} is not a regular file; diaries are kept in one, to be continued")
            self.texts = {d.id: d.text for d in _lines(output, TaughtDiary, hpo_release)}
            failures = _lines(self._failures, GivenUp, hpo_release)
            self.given_up = {f.id: f for f in failures if f.id not in self.texts}
            self._file: IO[bytes] = output.open("ab", buffering=0)
        except OSError as error:
            raise OutputError(f"{output}: {error.strerror or error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, diary: TaughtDiary) -> None:
        """Write a diary, whole."""
        self._write(self._file, diary)
        self.texts[diary.id] = diary.text
        self.given_up.pop(diary.id, None)

    def fail(self, failure: GivenUp) -> None:
        """Write a failure, whole; of several of one id, the last one counts."""
        try:
            with self._failures.open("ab", buffering=0) as file:
                self._write(file, failure)
        except OSError as error:
            raise OutputError(f"{self._failures}: {error.strerror or error}") from None
        self.given_up[failure.id] = failure

    def close(self) -> None:
        """Leave only failures that were not made up for, and no empty file of its own."""
        self._file.close()
        if self._is_new and not self._output.stat().st_size:
            self._output.unlink()
        if self.given_up:
            with write_atomically(self._failures) as file:
                file.writelines(f.model_dump_json().encode() + b"\n" for f in self.given_up.values())
        else:
            self._failures.unlink(missing_ok=True)

    def _write(self, file: IO[bytes], line: _Line) -> None:
        left = memoryview(line.model_dump_json().encode() + b"\n")
        try:
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise OutputError(f"{self._output}: {error.strerror or error}") from None


_Kind = TypeVar("_Kind", bound=_Line)


def _lines(path: Path, kind: type[_Kind], hpo_release: str) -> list[_Kind]:
    """The records of a file, if it is there; a half-written last line is cut off."""
    data = path.read_bytes() if path.exists() else b""
    whole = data.rfind(b"\n") + 1
    found = list(_records(data[:whole], path, kind, hpo_release))
    rest = data[whole:]
    if not (rest.startswith(_BEGINNING) or _BEGINNING.startswith(rest)):
        raise _not_ours(path, len(found) + 1)
    if rest:
        os.truncate(path, whole)
    return found


def _records(data: bytes, path: Path, kind: type[_Kind], hpo_release: str) -> Iterator[_Kind]:
    for number, line in enumerate(data.splitlines(), 1):
        try:
            record = kind.model_validate_json(line)
        except ValidationError:
            raise _not_ours(path, number) from None
        if isinstance(record, TaughtDiary) and record.provenance.hpo_release != hpo_release:
            raise OutputError(
                f"{path}, line {number}: made with HPO {record.provenance.hpo_release}, not {hpo_release}; "
                "name that release, or another output"
            )
        yield record


def _not_ours(path: Path, number: int) -> OutputError:
    return OutputError(f"{path}, line {number}: --resume continues only files of 'clario corpus distill'")
