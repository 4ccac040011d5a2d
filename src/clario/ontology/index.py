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
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

from clario.errors import OntologyError, UnknownTermError
from clario.ontology.normalize import KEY_VERSION, key, tokens
from clario.ontology.obo import HP_ID, Ontology, Synonym, Term

PHENOTYPIC_ABNORMALITY = "HP:0000118"
FORMAT = f"1.{KEY_VERSION}"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # no time stamps inside the zip: equal sources, equal bytes


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
    synonyms: tuple[Synonym, ...]
    parents: tuple[str, ...]
    children: tuple[str, ...]
    phenotypic: bool


class NameTable:
    """Names grouped by key. Columns: `keys[i]` owns the rows `offsets[i]:offsets[i + 1]` of the others."""

    def __init__(self, columns: Mapping[str, Any], ids: list[str]) -> None:
        self.keys: list[str] = columns["keys"]
        self._offsets: list[int] = columns["offsets"]
        self._texts: list[str] = columns["texts"]
        self._terms: list[int] = columns["terms"]
        self._kinds: list[int] = columns["kinds"]
        self._ids = ids
        self._position = dict(zip(self.keys, range(len(self.keys)), strict=True))

    def __len__(self) -> int:
        return len(self._texts)

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
        return Name(self._texts[row], self._ids[self._terms[row]], NameKind(self._kinds[row]))


class Index:
    """One compiled release. Cheap to make: each part is read when it is first asked for."""

    def __init__(self, release: str, archive: Path) -> None:
        self.release = release
        self._archive = archive

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
            wanted = "an id like HP:0000217" if not HP_ID.fullmatch(hpo_id) else "another release"
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


LayPhrases = Iterable[tuple[str, str]]  # (HPO id, phrase)


def compile_index(ontology: Ontology, lay: LayPhrases, target: IO[bytes]) -> dict[str, int]:
    """Compile a parsed ontology and the lay lexicon into `target`, as `index.zip`.

    Phrases whose id was retired go to its successor; phrases of unknown ids are left out and counted.

    Returns:
        Counts for the manifest: terms, phenotypic, names, lay_phrases, lay_left_out, retired.

    Raises:
        OntologyError: the ontology has no Phenotypic abnormality, so that nothing could be an answer.
    """
    live = {term.id: term for term in sorted(ontology.terms.values(), key=lambda t: t.id) if not term.obsolete}
    if PHENOTYPIC_ABNORMALITY not in live:
        raise OntologyError(f"no term {PHENOTYPIC_ABNORMALITY} (Phenotypic abnormality); is this hp.obo?")
    rows = {hpo_id: row for row, hpo_id in enumerate(live)}
    phenotypic = _descendants(live)
    retired = retired_ids(ontology, live)
    phrases, left_out = _rebind(lay, retired, phenotypic)
    names = [name for hpo_id in live if hpo_id in phenotypic for name in _names(live[hpo_id])]
    members = {
        "terms.json": _term_columns(live, rows, phenotypic),
        "retired.json": retired,
        "names.json": _name_columns(names, rows),
        "lay.json": _name_columns(phrases, rows),
        "words.json": sorted({t.word for name in [*names, *phrases] for t in tokens(name.text)}),
        "synonyms.json": {rows[t.id]: [[s.text, s.scope, s.kind] for s in t.synonyms] for t in live.values()},
        "definitions.json": {rows[t.id]: t.definition for t in live.values() if t.definition},
    }
    _write(members, target)
    return {
        "terms": len(live),
        "phenotypic": len(phenotypic),
        "names": len(names),
        "retired": len(retired),
        "lay_phrases": len(phrases),
        "lay_left_out": left_out,
    }


def _descendants(live: Mapping[str, Term]) -> set[str]:
    children: dict[str, list[str]] = {}
    for term in live.values():
        for parent in term.parents:
            children.setdefault(parent, []).append(term.id)
    found, queue = set[str](), [PHENOTYPIC_ABNORMALITY]
    while queue:
        hpo_id = queue.pop()
        if hpo_id not in found:
            found.add(hpo_id)
            queue.extend(children.get(hpo_id, ()))
    return found


def retired_ids(ontology: Ontology, live: Mapping[str, Term]) -> dict[str, str | None]:
    """Each alternative or obsolete id with its successor, or None.

    A `consider` is advice, not a replacement, and is not followed.
    """
    retired: dict[str, str | None] = {}
    for term in ontology.terms.values():
        if term.obsolete:
            successors = [hpo_id for hpo_id in term.replaced_by if hpo_id in live]
            retired[term.id] = successors[0] if len(successors) == 1 else None
    for term in live.values():
        for alternative in term.alt_ids:
            # Where an obsolete stanza names another successor, that is the more deliberate statement.
            if alternative not in live and not retired.get(alternative):
                retired[alternative] = term.id
    return dict(sorted(retired.items()))


def _rebind(lay: LayPhrases, retired: Mapping[str, str | None], phenotypic: set[str]) -> tuple[list[Name], int]:
    names, left_out = dict[Name, None](), 0
    for hpo_id, phrase in lay:
        hpo_id = retired.get(hpo_id) or hpo_id
        if hpo_id in phenotypic:
            names[Name(phrase, hpo_id, NameKind.LAY)] = None
        else:
            left_out += 1
    return list(names), left_out


_KINDS = {
    "EXACT": NameKind.EXACT,
    "NARROW": NameKind.NARROW,
    "BROAD": NameKind.BROAD,
    "RELATED": NameKind.RELATED,
}


def _names(term: Term) -> Iterator[Name]:
    best: dict[str, NameKind] = {term.name: NameKind.LABEL}
    for synonym in term.synonyms:
        kind = _KINDS[synonym.scope]
        if synonym.kind == "abbreviation":
            kind = NameKind.ABBREVIATION
        elif synonym.kind == "obsolete_synonym":
            kind = NameKind.RELATED
        best[synonym.text] = min(kind, best.get(synonym.text, kind))
    return (Name(text, term.id, kind) for text, kind in best.items())


def _term_columns(live: Mapping[str, Term], rows: Mapping[str, int], phenotypic: set[str]) -> dict[str, Any]:
    return {
        "ids": list(live),
        "labels": [term.name for term in live.values()],
        "parents": [sorted(rows[p] for p in term.parents if p in rows) for term in live.values()],
        "phenotypic": [int(hpo_id in phenotypic) for hpo_id in live],
    }


def _name_columns(names: Iterable[Name], rows: Mapping[str, int]) -> dict[str, Any]:
    keyed = sorted((key(n.text), n.kind, n.text, n.hpo_id) for n in names)
    keyed = [row for row in keyed if row[0]]
    starts = [i for i, row in enumerate(keyed) if i == 0 or row[0] != keyed[i - 1][0]]
    return {
        "keys": [keyed[i][0] for i in starts],
        "offsets": [*starts, len(keyed)],
        "texts": [row[2] for row in keyed],
        "terms": [rows[row[3]] for row in keyed],
        "kinds": [int(row[1]) for row in keyed],
    }


def _write(members: Mapping[str, Any], target: IO[bytes]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, value in members.items():
            data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data.encode(), compresslevel=9)
