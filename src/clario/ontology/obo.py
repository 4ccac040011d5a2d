"""Parse an OBO file of the Human Phenotype Ontology.

Only what Clario needs is kept: ids, names, definitions, synonyms with scope and type, parents, and
the ids that a release retired. Source of the rules: OBO Flat File Format 1.4, sections "Stanzas" and
"Escape characters" (http://owlcollab.github.io/oboformat/doc/GO.format.obo-1_4.html).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from clario.errors import OntologyError

HP_ID = re.compile(r"HP:\d{7}")
_ESCAPES = {"n": "\n", "t": "\t", "W": " "}
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(.*)', re.DOTALL)
_RELEASE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Synonym:
    """Another name of a term. `scope` is EXACT, BROAD, NARROW or RELATED; `kind` such as layperson, or None."""

    text: str
    scope: str
    kind: str | None = None


@dataclass(slots=True)
class Term:
    """One term of the ontology as its stanza gives it, live or obsolete."""

    id: str
    name: str = ""
    definition: str = ""
    synonyms: list[Synonym] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    alt_ids: list[str] = field(default_factory=list)
    replaced_by: list[str] = field(default_factory=list)
    consider: list[str] = field(default_factory=list)
    obsolete: bool = False


@dataclass(frozen=True, slots=True)
class Ontology:
    """A parsed file: the date of its release and its terms by id, obsolete ones included."""

    release: str
    terms: dict[str, Term]


def parse(lines: Iterable[str], source: str = "hp.obo") -> Ontology:
    """Parse the lines of an OBO file.

    Args:
        lines: the file's lines, in order.
        source: how errors name the file.

    Raises:
        OntologyError: a line is not OBO, a term has no name, a parent is missing, or the header has no date;
            the message names the file and the line.
    """
    release, terms, starts = "", dict[str, Term](), dict[str, int]()
    for header, start, tags in _stanzas(lines, source):
        if header == "":
            release = _release_date(tags)
        elif header == "Term":
            term = _term(tags, source, start)
            if term.id in terms:
                raise OntologyError(
                    f"{source}, line {start}: {term.id} was defined before, in line {starts[term.id]}"
                )
            terms[term.id], starts[term.id] = term, start
    if not release:
        raise OntologyError(f"{source}: the header has no data-version with a date; is this a release of hp.obo?")
    _check(terms, starts, source)
    return Ontology(release, terms)


Tag = tuple[int, str, str]


def _stanzas(lines: Iterable[str], source: str) -> Iterator[tuple[str, int, list[Tag]]]:
    header, start, tags = "", 1, list[Tag]()
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("!"):
            continue
        if line.startswith("[") and line.endswith("]"):
            yield header, start, tags
            header, start, tags = line[1:-1], number, []
            continue
        tag, colon, value = line.partition(": ")
        if not colon and not line.endswith(":"):
            raise OntologyError(f"{source}, line {number}: not a line of an OBO file (expected 'tag: value')")
        tags.append((number, tag.rstrip(":"), value.strip()))
    yield header, start, tags


def _release_date(tags: list[Tag]) -> str:
    versions = [value for _, tag, value in tags if tag == "data-version"]
    found = _RELEASE.search(versions[0]) if versions else None
    return found[0] if found else ""


def _term(tags: list[Tag], source: str, start: int) -> Term:
    ids = [value for _, tag, value in tags if tag == "id"]
    if len(ids) != 1:
        raise OntologyError(f"{source}, line {start}: a term must have one id, this one has {len(ids)}")
    term = Term(ids[0])
    for number, tag, value in tags:
        try:
            _set(term, tag, value)
        except ValueError as error:
            raise OntologyError(f"{source}, line {number}: {error}") from None
    return term


def _set(term: Term, tag: str, value: str) -> None:
    match tag:
        case "name":
            term.name = _unescape(_without_comment(value))
        case "def":
            term.definition = _quoted(value)[0]
        case "synonym":
            term.synonyms.append(_synonym(value))
        case "is_a":
            term.parents.append(_reference(value))
        case "alt_id":
            term.alt_ids.append(_reference(value))
        case "replaced_by":
            term.replaced_by.append(_reference(value))
        case "consider":
            term.consider.append(_reference(value))
        case "is_obsolete":
            term.obsolete = _reference(value) == "true"


def _synonym(value: str) -> Synonym:
    text, rest = _quoted(value)
    words = rest.partition("[")[0].split()
    # OBO 1.2 lets the scope be left out; RELATED is then meant.
    scope = words[0] if words else "RELATED"
    if scope not in {"EXACT", "BROAD", "NARROW", "RELATED"}:
        raise ValueError(f"unknown synonym scope {scope!r}")
    return Synonym(text, scope, words[1] if len(words) > 1 else None)


def _quoted(value: str) -> tuple[str, str]:
    found = _QUOTED.match(value)
    if not found:
        raise ValueError("expected a text in double quotes")
    return _unescape(found[1]), found[2]


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text)


def _without_comment(value: str) -> str:
    return re.split(r"(?<!\\) ! ", value, maxsplit=1)[0]


def _reference(value: str) -> str:
    """The id at the start of a value, without trailing modifiers `{...}` and comment `! ...`."""
    return re.split(r"\s", value, maxsplit=1)[0]


def _check(terms: dict[str, Term], starts: dict[str, int], source: str) -> None:
    if not terms:
        raise OntologyError(f"{source}: no terms; is the file cut off?")
    for term in terms.values():
        where = f"{source}, line {starts[term.id]}"
        if not term.name and not term.obsolete:
            raise OntologyError(f"{where}: {term.id} has no name; is the file cut off?")
        missing = [parent for parent in term.parents if parent not in terms]
        if missing:
            raise OntologyError(f"{where}: {term.id} has a parent that is not in the file: {missing[0]}")
