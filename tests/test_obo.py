"""The OBO parser: against fastobo on a whole release, on broken files, and on whatever text may come."""

import gzip
from pathlib import Path
from typing import Any

import fastobo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clario.errors import OntologyError
from clario.ontology.obo import Ontology, Synonym, Term, parse
from clario.ontology.sources import read_obo

WHOLE = Path(__file__).parents[1] / "data" / "hpo" / "hp-2026-02-16.obo.gz"
SMALL = Path(__file__).parent / "data" / "hp-small-2026-01-01.obo"
HEADER = ["format-version: 1.2", "data-version: hp/releases/2026-01-01"]
LISTS = {
    "SynonymClause": ("synonyms", lambda c: _synonym(c.synonym)),
    "IsAClause": ("parents", lambda c: str(c.term)),
    "AltIdClause": ("alt_ids", lambda c: str(c.alt_id)),
    "ReplacedByClause": ("replaced_by", lambda c: str(c.term)),
    "ConsiderClause": ("consider", lambda c: str(c.term)),
}
VALUES = {
    "NameClause": ("name", lambda c: c.name),
    "DefClause": ("definition", lambda c: str(c.definition)),
    "IsObsoleteClause": ("obsolete", lambda c: c.obsolete),
}


def _synonym(synonym: Any) -> Synonym:
    return Synonym(synonym.desc, synonym.scope, str(synonym.type) if synonym.type else None)


def _term(frame: Any) -> Term:
    """What fastobo read, as ours."""
    term = Term(str(frame.id))
    for clause in frame:
        kind = type(clause).__name__
        if kind in LISTS:
            name, read = LISTS[kind]
            getattr(term, name).append(read(clause))
        elif kind in VALUES:
            name, read = VALUES[kind]
            setattr(term, name, read(clause))
    return term


def test_reads_a_whole_release_as_fastobo_does() -> None:
    ontology = read_obo(WHOLE)
    with gzip.open(WHOLE) as file:
        expected = {str(f.id): _term(f) for f in fastobo.load(file) if isinstance(f, fastobo.term.TermFrame)}
    assert ontology.release == "2026-02-16"
    assert len(ontology.terms) > 19_000
    assert ontology.terms.keys() == expected.keys()
    assert [term for term in expected.values() if ontology.terms[term.id] != term] == []


def _with(*lines: str) -> list[str]:
    return [*HEADER, "", "[Term]", "id: HP:0000118", "name: Phenotypic abnormality", *lines]


def test_reads_what_the_format_allows() -> None:
    (term,) = parse(
        _with(
            "! a comment",
            r'def: "Said \"so\"; a \\ and a tab\tand a line\nbreak" [PMID:1 "x"] {a="b"}',
            'synonym: "without a scope" []',
            'synonym: "dry lips" NARROW layperson [ORCID:1]',
            'alt_id: HP:0000001 {source="x"} ! old',
            "is_obsolete: false",
            "xref:",
        )
    ).terms.values()
    assert term.definition == 'Said "so"; a \\ and a tab\tand a line\nbreak'
    assert term.synonyms == [
        Synonym("without a scope", "RELATED"),
        Synonym("dry lips", "NARROW", "layperson"),
    ]
    assert (term.alt_ids, term.obsolete) == (["HP:0000001"], False)


def test_an_escaped_exclamation_mark_is_no_comment() -> None:
    first, second = HEADER, ["[Term]", "id: HP:1", r"name: Ow \! really ! a comment"]
    assert parse([*first, *second]).terms["HP:1"].name == "Ow ! really"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["<!DOCTYPE html>"], "x.obo, line 1: not a line of an OBO file"),
        (_with("nonsense"), "x.obo, line 7: not a line of an OBO file"),
        (_with("def: without quotes"), "x.obo, line 7: expected a text in double quotes"),
        (_with('def: "never closed'), "x.obo, line 7: expected a text in double quotes"),
        (_with('synonym: "x" CLOSE []'), "x.obo, line 7: unknown synonym scope 'CLOSE'"),
        (_with("id: HP:0000002"), "x.obo, line 4: a term must have one id, this one has 2"),
        (_with("", "[Term]", "name: nobody"), "x.obo, line 8: a term must have one id, this one has 0"),
        (_with("", "[Term]", "id: HP:0000002"), "x.obo, line 8: HP:0000002 has no name"),
        (_with("is_a: HP:0000404"), "x.obo, line 4: HP:0000118 has a parent that is not in the file: HP:0000404"),
        (HEADER, "x.obo: no terms; is the file cut off?"),
        (_with()[2:], "x.obo: the header has no data-version with a date"),
        (["data-version: today", *_with()[2:]], "x.obo: the header has no data-version with a date"),
        ([], "x.obo: the header has no data-version with a date"),
    ],
)
def test_says_where_a_file_is_broken(lines: list[str], message: str) -> None:
    with pytest.raises(OntologyError) as caught:
        parse(lines, "x.obo")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 2], "ended before the end-of-stream marker"),
        (lambda data: data[:2] + b"rubbish", "cannot be read on"),
        (lambda data: data[:-8] + b"\0" * 8, "CRC check failed"),
        (lambda _: b"\x1f\x8b", "line 1: cannot be read on"),
        (lambda _: gzip.compress(HEADER[0].encode() + b"\nname: \xff\n"), "line 2: not UTF-8"),
        (lambda _: b"id: " + b"x" * 2**20, "line 1: too long"),
        (lambda _: b"", "no data-version"),
    ],
)
def test_says_what_is_wrong_with_a_gzip_or_binary_file(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "hp.obo.gz"
    path.write_bytes(change(gzip.compress(SMALL.read_bytes())))
    with pytest.raises(OntologyError, match=message) as caught:
        read_obo(path)
    assert str(path) in str(caught.value)


def test_reads_gzip_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "named.obo"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + SMALL.read_bytes().replace(b"\n", b"\r\n")))
    assert read_obo(path) == read_obo(SMALL)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OntologyError, match=r"missing\.obo cannot be read: No such file"):
        read_obo(tmp_path / "missing.obo")


def _escaped(text: str) -> str:
    for plain, escape in (("\\", r"\\"), ('"', r"\""), ("\n", r"\n"), ("\t", r"\t"), (" ! ", r" \! ")):
        text = text.replace(plain, escape)
    return text


@given(st.text(), st.text(), st.text(min_size=1).filter(lambda name: name == name.strip()))
def test_escapes_come_back_as_they_were(definition: str, synonym: str, name: str) -> None:
    lines = [
        "[Term]", "id: HP:1", f"name: {_escaped(name)}",
        f'def: "{_escaped(definition)}" []', f'synonym: "{_escaped(synonym)}" EXACT layperson []',
    ]  # fmt: skip
    term = parse([*HEADER, *lines]).terms["HP:1"]
    assert term == Term("HP:1", name, definition, [Synonym(synonym, "EXACT", "layperson")])


_TAGS = st.sampled_from(["id: ", "name: ", "def: ", "synonym: ", "is_a: ", "alt_id: ", "[Term]", "data-version: "])
_VALUES = st.one_of(st.text(), st.sampled_from(['"x" EXACT []', '"x" [', "HP:0000118", "2026-01-01", '"\\']))


@given(st.lists(st.one_of(st.text(), st.tuples(_TAGS, _VALUES).map("".join))))
def test_whatever_the_lines_are_only_an_ontology_error_comes_out(lines: list[str]) -> None:
    try:
        ontology = parse([*_with(), *lines], "x.obo")
    except OntologyError as error:
        assert "x.obo" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(ontology, Ontology)


@given(st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(SMALL.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.obo"
    path.write_bytes(content)
    try:
        read_obo(path)
    except OntologyError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
