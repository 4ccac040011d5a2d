"""The compiled index of one HPO release: a zip of JSON members, read member by member when first needed.

Layout of `index.zip` (all members are deterministic, so that equal sources give equal bytes):
    terms.json        {"ids", "labels", "parents", "phenotypic"}: columns, one row a live term
    retired.json      {retired id: successor id or null}: alternative and obsolete ids
    names.json        names of the phenotypic terms, grouped by key (see `NameTable`)
    lay.json          colloquial phrases of the project's lay lexicon, likewise
    words.json        every normalised word of the names and phrases: what a typing error may mean
    synonyms.json     {term row: [[text, scope, kind]]}, definitions.json {term row: text}: for showing terms
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clario.errors import OntologyError, UnknownTermError
from clario.ontology.normalize import KEY_VERSION

if TYPE_CHECKING:
    from clario.ontology.obo import Synonym

PHENOTYPIC_ABNORMALITY = "HP:0000118"
FORMAT = f"1.{KEY_VERSION}"


class NameKind(IntEnum):
    """What a name is to its term, in order of precedence."""

    LABEL = 0
    EXACT = 1
    NARROW = 2
    BROAD = 3
    RELATED = 4
    ABBREVIATION = 5
    LAY = 6


class Name(NamedTuple):
    """A name of a term: its text as the source spells it, the term's id, and its kind."""

    text: str
    hpo_id: str
    kind: NameKind


@dataclass(frozen=True, slots=True)
class TermRecord:
    """A live term with what an annotator wants to see of it."""

    hpo_id: str
    label: str
    definition: str
    synonyms: "tuple[Synonym, ...]"
    parents: tuple[str, ...]
    children: tuple[str, ...]
    phenotypic: bool


class NameTable:
    """Names grouped by key. Columns: `keys[i]` owns the rows `offsets[i]:offsets[i + 1]` of the others."""

    def __init__(self, columns: Mapping[str, Any], ids: list[str]) -> None:
        self.keys: list[str] = columns["keys"]
        self._offsets: list[int] = columns["offsets"]
        self.texts: list[str] = columns["texts"]
        self._terms: list[int] = columns["terms"]
        self._kinds: list[int] = columns["kinds"]
        self._ids = ids
        self._position = dict(zip(self.keys, range(len(self.keys)), strict=True))

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Name]:
        return (self._name(row) for row in range(len(self)))

    def find(self, key: str) -> list[Name]:
        """The names with this key, best kind first; empty where there is none."""
        position = self._position.get(key)
        return [] if position is None else self.at(position)

    def at(self, position: int) -> list[Name]:
        """The names of `keys[position]`, best kind first."""
        return [self._name(row) for row in range(self._offsets[position], self._offsets[position + 1])]

    def _name(self, row: int) -> Name:
        return Name(self.texts[row], self._ids[self._terms[row]], NameKind(self._kinds[row]))


class Index:
    """One compiled release. Cheap to make: each part is read when it is first asked for."""

    def __init__(self, release: str, archive: Path) -> None:
        self.release = release
        self._archive = archive

    @cached_property
    def sha256(self) -> str:
        """The checksum of the compiled index: what is made for one index, such as term vectors, names it."""
        from clario.paths import sha256_of

        return sha256_of(self._archive)

    @property
    def folder(self) -> Path:
        """The folder of the release, where what is made for this index lies, too."""
        return self._archive.parent

    @cached_property
    def ids(self) -> list[str]:
        """Ids of all live terms, sorted."""
        ids: list[str] = self._terms["ids"]
        return ids

    @cached_property
    def names(self) -> NameTable:
        """Labels and synonyms of the terms under Phenotypic abnormality."""
        return NameTable(self._read("names.json"), self.ids)

    @cached_property
    def lay(self) -> NameTable:
        """Phrases of the lay lexicon."""
        return NameTable(self._read("lay.json"), self.ids)

    @cached_property
    def words(self) -> frozenset[str]:
        """Every normalised word of a name or phrase."""
        return frozenset(self._read("words.json"))

    def live(self, hpo_id: str) -> str:
        """The live id that an id stands for: itself, or the successor of a retired one.

        Raises:
            UnknownTermError: not an id of this release, or retired without a single successor.
        """
        if hpo_id in self._rows:
            return hpo_id
        if hpo_id not in self.retired:
            wanted = "an id like HP:0000217" if not re.fullmatch(r"HP:\d{7}", hpo_id) else "another release"
            raise UnknownTermError(f"{hpo_id[:40]!r} is not a term of HPO {self.release}; try {wanted}")
        successor = self.retired[hpo_id]
        if successor is None:
            raise UnknownTermError(f"{hpo_id} was retired without a successor (HPO {self.release})")
        return successor

    def label(self, hpo_id: str) -> str:
        """The label of a live id; raises UnknownTermError as `live` does."""
        label: str = self._terms["labels"][self._rows[self.live(hpo_id)]]
        return label

    def is_phenotypic(self, hpo_id: str) -> bool:
        """Whether a live id stands under Phenotypic abnormality (HP:0000118), that term included."""
        return bool(self._terms["phenotypic"][self._rows[self.live(hpo_id)]])

    def parents(self, hpo_id: str) -> tuple[str, ...]:
        """Direct parents of a live id."""
        return tuple(self.ids[row] for row in self._terms["parents"][self._rows[self.live(hpo_id)]])

    def children(self, hpo_id: str) -> tuple[str, ...]:
        """Direct children of a live id."""
        return tuple(self._children.get(self.live(hpo_id), ()))

    def ancestors(self, hpo_id: str) -> set[str]:
        """All ancestors of a live id, without itself."""
        found, queue = set[str](), list(self.parents(hpo_id))
        while queue:
            parent = queue.pop()
            if parent not in found:
                found.add(parent)
                queue.extend(self.parents(parent))
        return found

    def term(self, hpo_id: str) -> TermRecord:
        """Everything known of a term; raises UnknownTermError as `live` does."""
        from clario.ontology.obo import Synonym

        hpo_id = self.live(hpo_id)
        row = str(self._rows[hpo_id])
        synonyms = tuple(Synonym(*synonym) for synonym in self._synonyms.get(row, ()))
        return TermRecord(
            hpo_id,
            self.label(hpo_id),
            self._definitions.get(row, ""),
            synonyms,
            self.parents(hpo_id),
            self.children(hpo_id),
            self.is_phenotypic(hpo_id),
        )

    @cached_property
    def retired(self) -> dict[str, str | None]:
        """Alternative and obsolete ids, each with the live id that took its place, or None."""
        retired: dict[str, str | None] = self._read("retired.json")
        return retired

    @cached_property
    def _terms(self) -> dict[str, Any]:
        terms: dict[str, Any] = self._read("terms.json")
        return terms

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {hpo_id: row for row, hpo_id in enumerate(self.ids)}

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for row, parents in enumerate(self._terms["parents"]):
            for parent in parents:
                children.setdefault(self.ids[parent], []).append(self.ids[row])
        return children

    @cached_property
    def _synonyms(self) -> dict[str, list[tuple[str, str, str | None]]]:
        synonyms: dict[str, list[tuple[str, str, str | None]]] = self._read("synonyms.json")
        return synonyms

    @cached_property
    def _definitions(self) -> dict[str, str]:
        definitions: dict[str, str] = self._read("definitions.json")
        return definitions

    def _read(self, member: str) -> Any:
        try:
            with zipfile.ZipFile(self._archive) as archive:
                return json.loads(archive.read(member))
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
            raise OntologyError(
                f"the compiled HPO release {self.release} is damaged ({self._archive}: {error}); "
                "run 'clario ontology update' or reinstall clario"
            ) from None
