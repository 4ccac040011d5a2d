"""Compile a parsed ontology and the lay lexicon into the index that `index.py` reads.

Members hold no time stamps and are sorted, so that equal sources give equal bytes.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from clario.errors import OntologyError
from clario.ontology.index import PHENOTYPIC_ABNORMALITY, Name, NameKind
from clario.ontology.normalize import key, tokens
from clario.ontology.obo import Ontology, Term

_EPOCH = (1980, 1, 1, 0, 0, 0)

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
