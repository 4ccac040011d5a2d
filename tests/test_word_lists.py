"""The curated word lists: well formed, closed, sourced, and free of everyday words."""

from collections import Counter
from importlib.resources import files

import pytest

Row = tuple[str, str, str]

NOTES = {
    "medicines": {"generic", "group", "supplement", "product"}
    | {"other name", "brand", "abbreviation", "lay", "misspelling"},
    "lab_tests": {"", "value"},
}
SOURCES = {
    "medicines": ("WHO Model", "Essential Medicines", "own curation"),
    "lab_tests": ("MedlinePlus", "own curation"),
}

# Words that a diary uses in their ordinary sense; a list that named one would tag half the corpus.
EVERYDAY = frozenset(
    """about after again all also always and any appointment arm away awake baby back bad bath bed because been
    before best better big blood body boots bread breakfast breath brother but calm came can car chair child
    clinic cold come complete cough could cream cup dad day days did dinner doctor done door down drink drops
    each ear early eat eden ensure even every eye face fall family feel feet few fine fit fits fluid food foot
    for friend from gave gel get girl give glass go good gone got had half hand hard has have head heart heat
    help her here him his home hospital hot hour house how hurt just keep kitchen knee know last late leave left
    leg life light like little live long look lot lunch made make many maybe meal milk mind month more morning
    mouth mum much neck need never new next night nose not nothing now nurse off oil old one only other out over
    pain part patch people place play put rash really relief rest right room run sad said same saw say school
    see she shoes shot sick side sit skin sleep small so some son soon sore spray stomach stop sun support sure
    take tea tell test than that the their them then there they thing think this time tired today toilet tongue
    too took tooth tube tummy turn two under very wait wake walk want was wash water week well went were wet
    what when where while who why will with woke word work worse would year yes yesterday you""".split()
)

# Everyday words that are also measured: allowed as tests, but only beside a value.
EVERYDAY_VALUES = frozenset(
    """calcium copper count height iron lead oxygen potassium pressure protein pulse salt scales sodium sugar
    sugars temp temperature weight""".split()
)


def shipped(name: str) -> str:
    return files("clario.extraction").joinpath("data", f"{name}.tsv").read_text(encoding="utf-8")


def rows_of(text: str) -> list[Row]:
    header, *lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert header == "name\tcanonical\tnote"
    rows = []
    for line in lines:
        name, canonical, note = line.split("\t")
        rows.append((name, canonical, note))
    return rows


@pytest.fixture(params=["medicines", "lab_tests"])
def listed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rows(listed: str) -> list[Row]:
    return rows_of(shipped(listed))


def test_no_name_stands_twice(rows: list[Row]) -> None:
    times = Counter(name.casefold() for name, _, _ in rows)
    assert [name for name, count in times.items() if count > 1] == []


def test_no_cell_is_empty_or_padded(rows: list[Row]) -> None:
    wrong = [row for row in rows if not row[0] or not row[1] or any(cell != cell.strip() for cell in row)]
    assert wrong == []


def test_every_canonical_is_a_name_in_lower_case(rows: list[Row]) -> None:
    names = {name.casefold() for name, _, _ in rows}
    assert [row for row in rows if row[1] not in names or row[1] != row[1].lower()] == []


def test_no_name_is_a_single_character(rows: list[Row]) -> None:
    assert [name for name, _, _ in rows if len(name) < 2] == []


def test_no_everyday_word_is_a_name(rows: list[Row]) -> None:
    assert sorted(EVERYDAY & {name.casefold() for name, _, _ in rows}) == []


def test_notes_are_known(listed: str, rows: list[Row]) -> None:
    assert {note for _, _, note in rows} <= NOTES[listed]


def test_the_header_names_sources_and_licence(listed: str) -> None:
    header = "\n".join(line for line in shipped(listed).splitlines() if line.startswith("#"))
    assert [words for words in (*SOURCES[listed], "Licence: CC BY 4.0") if words not in header] == []


def test_everyday_words_are_tests_only_beside_a_value() -> None:
    notes = {name.casefold(): note for name, _, note in rows_of(shipped("lab_tests"))}
    assert [word for word in EVERYDAY_VALUES if notes.get(word, "value") != "value"] == []


def test_everyday_values_are_no_medicines() -> None:
    names = {name.casefold() for name, _, _ in rows_of(shipped("medicines"))}
    assert sorted(names & (EVERYDAY_VALUES - {"oxygen"})) == []


def test_what_is_taken_and_measured_is_a_test_only_beside_a_value() -> None:
    taken = {name.casefold() for name, _, _ in rows_of(shipped("medicines"))}
    assert [row for row in rows_of(shipped("lab_tests")) if row[0].casefold() in taken and not row[2]] == []


@pytest.mark.parametrize(
    ("listed", "name", "canonical"),
    [
        ("medicines", "acetaminophen", "paracetamol"),
        ("medicines", "albuterol", "salbutamol"),
        ("medicines", "EpiPen", "epinephrine"),
        ("medicines", "Creon", "pancreatin"),
        ("medicines", "MTX", "methotrexate"),
        ("medicines", "hydroxyurea", "hydroxycarbamide"),
        ("lab_tests", "Hb", "haemoglobin"),
        ("lab_tests", "CK", "creatine kinase"),
        ("lab_tests", "sats", "oxygen saturation"),
    ],
)
def test_what_patients_write_leads_to_the_generic_name(listed: str, name: str, canonical: str) -> None:
    assert [row[1] for row in rows_of(shipped(listed)) if row[0] == name] == [canonical]


def test_names_that_alone_are_tests_carry_no_mark() -> None:
    notes = {name: note for name, _, note in rows_of(shipped("lab_tests"))}
    assert [notes[name] for name in ("ferritin", "TSH", "HbA1c", "CRP")] == ["", "", "", ""]
