"""Move HPO ids and labels that stand in a file to a release, and leave every other byte as it is."""

import codecs
import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clario.errors import InputError, UnknownTermError
from clario.ontology.index import Index
from clario.paths import write_atomically

LINES_OF_JSON = frozenset({".jsonl", ".ndjson"})
SUFFIXES = LINES_OF_JSON | {".json", ".csv", ".tsv", ".txt"}
_ID = re.compile(rb"(?<![0-9A-Za-z_])HP:[0-9]{7}(?![0-9A-Za-z_])")
_JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True, slots=True)
class Change:
    """What was done about one id or label, or, where `new` is None, could not be done."""

    line: int
    old: str
    new: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Edit:
    """A stretch of bytes, what takes its place, and how that is reported."""

    start: int
    end: int
    replacement: bytes
    change: Change


def migrate_ids(ids: Iterable[str], index: Index) -> list[Change]:
    """What became of ids in a release; live ones are left out. `line` is the position, from 1."""
    changes = [_change(hpo_id, position, index) for position, hpo_id in enumerate(ids, 1)]
    return [change for change in changes if change]


def migrate_file(path: Path, target: Path, index: Index) -> list[Change]:
    """Rewrite the HPO ids of a file to live ids of a release; in JSON, the labels beside them too.

    Every `HP:` with seven digits is looked at, wherever it stands. In JSON and JSON Lines, `hpo_label` is
    renewed in objects that have `hpo_id` too. Everything else stays as it is, byte for byte; `hpo_release`
    too, as it tells what a result was made with. Doing it twice changes nothing more.

    Args:
        path: a .json, .jsonl, .ndjson, .csv, .tsv or .txt file.
        target: where the result goes, atomically; may be `path`.

    Returns:
        The changes in the order of the file. Those with `new` None are ids that are unknown or were
        retired without a successor: they stay as they are.

    Raises:
        InputError: not such a file, not valid JSON, or two keys of an object are now the same term.
        OutputError: `target` cannot be written; nothing was changed.
    """
    data = _read(path)
    edits = _edits(data, path, index)
    migrated = _apply(data, edits)
    if migrated != data or target != path:
        with write_atomically(target) as file:
            file.write(migrated)
    return [edit.change for edit in edits]


def _read(path: Path) -> bytes:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is not a file of the kinds {' '.join(sorted(SUFFIXES))}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if b"\0" in data:
        raise InputError(f"{path} is binary or UTF-16; save it as UTF-8")
    return data


def _apply(data: bytes, edits: Iterable[_Edit]) -> bytes:
    parts, done = list[bytes](), 0
    for edit in edits:
        parts += [data[done : edit.start], edit.replacement]
        done = edit.end
    return b"".join([*parts, data[done:]])


def _edits(data: bytes, path: Path, index: Index) -> list[_Edit]:
    lines = _Lines(data)
    edits = list(_id_edits(data, lines, index))
    if path.suffix.lower() in LINES_OF_JSON | {".json"}:
        _check_json(data, path)
        for closed in _objects(data):
            _check_keys(closed, lines, index, path)
            edits += _label_edit(closed, lines, index, ascii_only=data.isascii())
    return _without_overlaps(edits)


def _without_overlaps(edits: Iterable[_Edit]) -> list[_Edit]:
    """Edits in order; an id inside a label that is renewed goes with the label."""
    kept = list[_Edit]()
    for edit in sorted(edits, key=lambda edit: edit.start):
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
    return kept


class _Lines:
    """The number of the line at a position."""

    def __init__(self, data: bytes) -> None:
        self._ends = [found.start() for found in re.finditer(rb"\n", data)]

    def at(self, position: int) -> int:
        return bisect_left(self._ends, position) + 1


def _id_edits(data: bytes, lines: _Lines, index: Index) -> Iterator[_Edit]:
    for found in _ID.finditer(data):
        if change := _change(found[0].decode(), lines.at(found.start()), index):
            yield _Edit(found.start(), found.end(), (change.new or change.old).encode(), change)


def _change(hpo_id: str, line: int, index: Index) -> Change | None:
    try:
        live = index.live(hpo_id)
    except UnknownTermError:
        retired = hpo_id in index.retired
        reason = "retired without a successor" if retired else f"unknown in HPO {index.release}"
        return Change(line, hpo_id, None, reason)
    return Change(line, hpo_id, live, "replaced") if live != hpo_id else None


def _check_json(data: bytes, path: Path) -> None:
    documents = [data.removeprefix(codecs.BOM_UTF8)]
    if path.suffix.lower() in LINES_OF_JSON:
        documents = documents[0].split(b"\n")
    for number, document in enumerate(documents):
        try:
            if document.strip():
                json.loads(document.decode())
        except (ValueError, RecursionError) as error:
            line = number + getattr(error, "lineno", 1)
            raise InputError(f"{path}, line {line}: not valid JSON in UTF-8; nothing was changed") from None


@dataclass(slots=True)
class _Object:
    """The keys of a JSON object and its plain values, as tokens. Of equal keys the last counts."""

    keys: list[re.Match[bytes]] = field(default_factory=list)
    values: dict[bytes, re.Match[bytes]] = field(default_factory=dict)
    after_colon: bool = False

    def take(self, token: re.Match[bytes]) -> None:
        if token[0] in b":,":
            self.after_colon = token[0] == b":"
        elif self.after_colon:
            self.values[self.keys[-1][0]] = token
        else:
            self.keys.append(token)


def _objects(data: bytes) -> Iterator[_Object]:
    """The objects of valid JSON with the places of their tokens; parsing would not keep those."""
    around: list[_Object | None] = []  # None is an array
    for token in _JSON_TOKEN.finditer(data):
        if token[0] in b"{[":
            around.append(_Object() if token[0] == b"{" else None)
        elif token[0] in b"}]":
            if closed := around.pop():
                yield closed
        elif around and (inside := around[-1]):
            inside.take(token)


def _check_keys(closed: _Object, lines: _Lines, index: Index, path: Path) -> None:
    seen = dict[str, str]()
    for token in closed.keys:
        if _ID.fullmatch(token[0][1:-1]):
            hpo_id = token[0][1:-1].decode()
            change = _change(hpo_id, 0, index)
            other = seen.setdefault((change and change.new) or hpo_id, hpo_id)
            if other != hpo_id:
                where = f"{path}, line {lines.at(token.start())}"
                raise InputError(f"{where}: the keys {other} and {hpo_id} are now one term; join them first")


def _label_edit(closed: _Object, lines: _Lines, index: Index, *, ascii_only: bool) -> Iterator[_Edit]:
    hpo_id, label = closed.values.get(b'"hpo_id"'), closed.values.get(b'"hpo_label"')
    if not hpo_id or not label or not (label[0] == b"null" or label[0].startswith(b'"')):
        return
    try:
        new = index.label(hpo_id[0][1:-1].decode())
    except UnknownTermError:
        return
    old = json.loads(label[0]) or ""
    if old != new:
        change = Change(lines.at(label.start()), old, new, "label renewed")
        yield _Edit(label.start(), label.end(), json.dumps(new, ensure_ascii=ascii_only).encode(), change)
