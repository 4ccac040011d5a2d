"""Orphanet's XML and phenotype.hpoa: what they state is read, and what is broken is refused by name and line."""

import gzip
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clario.corpus.associations import Association
from clario.corpus.hpoa import parse_frequency, read_hpoa
from clario.corpus.orphanet import read_orphanet
from clario.corpus.profiles import read_source
from clario.errors import OntologyError

SOURCES = Path(__file__).parent / "data" / "sources"
HPOA = SOURCES / "phenotype-excerpt.hpoa"
ORPHANET = SOURCES / "en_product4-sample.xml"


def by_term(associations: list[Association], disease: str) -> dict[str, Association]:
    return {a.hpo_id: a for a in associations if a.disease == disease}


def test_hpoa_rows_are_read_whole() -> None:
    found = by_term(list(read_hpoa(HPOA)), "OMIM:612567")["HP:0000143"]
    name = "Inflammatory bowel disease 25, early onset, autosomal recessive"
    source = "phenotype-excerpt.hpoa PMID:19890111"
    assert found == Association("OMIM:612567", name, "HP:0000143", 1.0, "HP:0003593", "female", source)


def test_hpoa_knows_all_three_databases_and_names_beyond_ascii() -> None:
    found = list(read_hpoa(HPOA))
    assert Counter(a.disease.partition(":")[0] for a in found) == {"ORPHA": 47, "OMIM": 7, "DECIPHER": 3}
    assert {a.disease_name for a in found if a.disease == "ORPHA:816"} == {"Sjögren-Larsson syndrome"}


def test_hpoa_leaves_out_what_patients_do_not_have() -> None:
    found = list(read_hpoa(HPOA))
    assert not {"HP:0001270", "HP:0200041"} & by_term(found, "ORPHA:1401").keys()  # NOT
    assert not by_term(found, "OMIM:612201")  # 0/11


def test_hpoa_leaves_out_inheritance_course_and_history() -> None:
    left_out = {"HP:0000006", "HP:0003829", "HP:0001522", "HP:0003828", "HP:0100602"}  # aspects I, I, C, M, H
    assert left_out <= {line.split("\t")[3] for line in HPOA.read_text("utf-8").splitlines()[5:]}
    assert not left_out & {a.hpo_id for a in read_hpoa(HPOA)}


@pytest.mark.parametrize(
    ("written", "share"),
    [
        ("", None), ("3/7", 3 / 7), ("7/7", 1.0), ("0/5", 0.0), ("45%", 0.45), ("76.3%", 0.763), ("100%", 1.0),
        ("HP:0040280", 1.0), ("HP:0040281", 0.895), ("HP:0040282", 0.545), ("HP:0040283", 0.17),
        ("HP:0040284", 0.025), ("HP:0040285", 0.0),
    ],
)  # fmt: skip
def test_frequencies(written: str, share: float | None) -> None:
    assert parse_frequency(written) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    "written",
    [
        "8/7",
        "0/0",
        "3/0",
        "101%",
        "-5%",
        "1/2/3",
        "3 / 7",
        "half",
        "HP:0040279",
        "0.5",
        "٣/٧",
        "1e1%",
        "1_0%",
        "3/7\n",
    ],
)
def test_what_is_no_frequency_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="frequency"):
        parse_frequency(written)


@given(st.integers(0, 999_999), st.integers(1, 999_999))
def test_a_fraction_is_its_quotient_or_refused(having: int, patients: int) -> None:
    if having <= patients:
        assert parse_frequency(f"{having}/{patients}") == having / patients
    else:
        with pytest.raises(ValueError, match="not a share"):
            parse_frequency(f"{having}/{patients}")


@given(st.text(st.characters(codec="utf-8"), max_size=12) | st.from_regex(r"[0-9./%]{1,8}", fullmatch=True))
def test_a_frequency_is_a_share_or_nothing_or_refused(written: str) -> None:
    try:
        share = parse_frequency(written)
    except ValueError:
        return
    assert (share is None) == (written == "")
    assert share is None or 0 <= share <= 1


def edited(target: Path, line: int, old: str, new: str) -> Path:
    lines = HPOA.read_text("utf-8").splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    target.write_text("".join(lines), "utf-8")
    return target


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        (6, "\tTAS", "", "11 columns instead of 12"),
        (6, "HP:0000252", "HP:252", "'HP:252' is not an HPO id"),
        (6, "ORPHA:816\tSj", "MONDO:816\tSj", "'MONDO:816' is not an ORPHA, OMIM or DECIPHER id"),
        (6, "HP:0040283", "often", "unknown frequency 'often'"),
        (6, "\tP\t", "\tQ\t", "unknown aspect 'Q'"),
        (52, "\tNOT\t", "\tnot sure\t", "qualifier 'not sure'"),
        (5, "hpo_id", "term", "unknown column 'term'"),
    ],
)
def test_a_broken_line_of_hpoa_is_named(tmp_path: Path, line: int, old: str, new: str, message: str) -> None:
    path = edited(tmp_path / "phenotype.hpoa", line, old, new)
    with pytest.raises(OntologyError, match=rf"phenotype\.hpoa, line {line}: .*{message}"):
        list(read_hpoa(path))


def test_what_stands_before_a_broken_line_is_read(tmp_path: Path) -> None:
    stream = read_hpoa(edited(tmp_path / "phenotype.hpoa", 7, "HP:0000488", "x"))
    assert next(stream).hpo_id == "HP:0000252"
    with pytest.raises(OntologyError, match="line 7"):
        next(stream)


@pytest.mark.parametrize("content", [b"", b"#version: 2025-01-16\n"])
def test_a_file_without_a_column_line_is_not_hpoa(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty.hpoa").write_bytes(content)
    with pytest.raises(OntologyError, match=r"no column line; is this phenotype\.hpoa"):
        list(read_hpoa(tmp_path / "empty.hpoa"))


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "latin.hpoa").write_bytes(HPOA.read_text("utf-8").encode("latin-1"))
    with pytest.raises(OntologyError, match=r"latin\.hpoa, line 6: 'utf-8' codec"):
        list(read_hpoa(tmp_path / "latin.hpoa"))


@pytest.mark.parametrize(("source", "name"), [(HPOA, "x.gz"), (ORPHANET, "x.xml.gz"), (HPOA, "misnamed.hpoa")])
def test_gzip_is_told_by_content(tmp_path: Path, source: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(source.read_bytes()))
    plain = [(a.disease, a.hpo_id, a.frequency) for a in read_source(source)]
    assert [(a.disease, a.hpo_id, a.frequency) for a in read_source(tmp_path / name)] == plain


def test_a_broken_gzip_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(HPOA.read_bytes())
    broken = {"cut": packed[:-300], "flipped": packed[:200] + b"\xff" * 40 + packed[240:], "head": packed[:2]}
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OntologyError, match=f"{name} (is cut off|cannot be read)"):
            list(read_hpoa(tmp_path / name))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_hpoa, read_orphanet, read_source):
        with pytest.raises(OntologyError, match=r"none\.hpoa cannot be read: No such file"):
            list(read(tmp_path / "none.hpoa"))


def test_orphanet_disorders_are_read() -> None:
    found = list(read_orphanet(ORPHANET))
    assert Counter((a.disease, a.disease_name) for a in found) == {
        ("ORPHA:58", "Alexander disease"): 9,
        ("ORPHA:117", "Behçet disease"): 6,
        ("ORPHA:816", "Sjögren-Larsson syndrome"): 5,  # the sixth is excluded
    }
    assert {a.source for a in found if a.disease == "ORPHA:58"} == {"en_product4-sample.xml ORPHA:58"}


def test_orphanet_frequency_classes_are_the_middle_of_their_interval() -> None:
    found = by_term(list(read_orphanet(ORPHANET)), "ORPHA:816")
    expected = {
        "HP:0008064": 1.0,
        "HP:0001249": 0.895,
        "HP:0000545": 0.545,
        "HP:0004322": 0.17,
        "HP:0000252": 0.025,
    }
    assert {hpo_id: a.frequency for hpo_id, a in found.items()} == expected


def test_orphanet_excluded_associations_are_left_out() -> None:
    assert "HP:0000365" in ORPHANET.read_text("latin-1")
    assert "HP:0000365" not in {a.hpo_id for a in read_orphanet(ORPHANET)}


def orphanet(target: Path, old: str, new: str) -> Path:
    text = ORPHANET.read_text("latin-1")
    assert old in text
    target.write_text(text.replace(old, new, 1), "latin-1")
    return target


def test_an_exclusion_criterion_is_left_out(tmp_path: Path) -> None:
    path = orphanet(tmp_path / "p4.xml", "Diagnostic criterion", "Exclusion criterion")
    assert "HP:0000155" not in by_term(list(read_orphanet(path)), "ORPHA:117")


def test_an_association_without_a_frequency_is_kept(tmp_path: Path) -> None:
    path = orphanet(tmp_path / "p4.xml", '<Name lang="en">Very frequent (99-80%)</Name>', "")
    assert by_term(list(read_orphanet(path)), "ORPHA:58")["HP:0000256"].frequency is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HP:0000155", "HP:155", "disorder 117: 'HP:155' is not an HPO id"),
        ("<OrphaCode>117</OrphaCode>", "", "disorder without a code: it must have an OrphaCode"),
        ("Very frequent (99-80%)", "Usually", "disorder 58: unknown frequency 'Usually'"),
        ("</HPOTerm>", "</HPO>", r"line 28: not well-formed XML"),
        ("HPODisorderSetStatusList count", "DisorderList count", "not well-formed"),
        ("ISO-8859-1", "klingon", "unknown encoding: klingon"),
        ("ISO-8859-1", "shift_jis", "multi-byte encodings are not supported"),
    ],
)
def test_broken_orphanet_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(OntologyError, match=rf"p4\.xml.*{message}"):
        list(read_orphanet(orphanet(tmp_path / "p4.xml", old, new)))


def test_a_cut_orphanet_file_gives_what_is_whole_and_then_fails(tmp_path: Path) -> None:
    content = ORPHANET.read_bytes()
    (tmp_path / "p4.xml").write_bytes(content[: content.index(b"<OrphaCode>816")])
    found = []
    with pytest.raises(OntologyError, match="is it cut off"):
        found.extend(read_orphanet(tmp_path / "p4.xml"))
    assert {a.disease for a in found} == {"ORPHA:58", "ORPHA:117"}


@pytest.mark.parametrize("content", ["<html/>", "<JDBOR><DisorderList/></JDBOR>"])
def test_other_xml_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.xml").write_text(content)
    with pytest.raises(OntologyError, match=r"other\.xml has no HPODisorderSetStatusList; is this Orphanet's"):
        list(read_orphanet(tmp_path / "other.xml"))


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "doctype",
    [
        f'<!DOCTYPE JDBOR [<!ENTITY e0 "lol">{BOMB}]>',
        '<!DOCTYPE JDBOR [<!ENTITY secret SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE JDBOR SYSTEM "https://example.org/jdbor.dtd">',
        "<!DOCTYPE JDBOR>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_types_are_refused_before_anything_is_expanded(
    tmp_path: Path, doctype: str, encoding: str
) -> None:
    name = "&e9;" if "e9" in doctype else "&secret;" if "secret" in doctype else "x"
    status = f"<HPODisorderSetStatus><Disorder><Name>{name}</Name></Disorder></HPODisorderSetStatus>"
    document = f"{doctype}<JDBOR><HPODisorderSetStatusList>{status}</HPODisorderSetStatusList></JDBOR>"
    (tmp_path / "bomb.xml").write_text(document, encoding)
    tracemalloc.start()
    with pytest.raises(OntologyError, match=r"bomb\.xml has a document type"):
        list(read_orphanet(tmp_path / "bomb.xml"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def peak_of_reading(path: Path) -> int:
    tracemalloc.start()
    for _ in read_orphanet(path):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_disorders(tmp_path: Path) -> None:
    text = ORPHANET.read_text("latin-1")
    start, end = text.index("    <HPODisorderSetStatus "), text.index("  </HPODisorderSetStatusList>")
    path = tmp_path / "long.xml"
    path.write_text(text[:start] + text[start:end] * 15 + text[end:], "latin-1")
    short = peak_of_reading(path)
    path.write_text(text[:start] + text[start:end] * 45 + text[end:], "latin-1")
    assert path.stat().st_size > 400_000
    assert peak_of_reading(path) < 1.5 * short
