"""Exports: what becomes a finding of the patient and what never does, as the standards' own libraries read it."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from clario.cli import app
from clario.entities import Extraction
from clario.errors import InputError, OutputError
from clario.export import fhir, files, phenopacket, table
from clario.export.records import About, LeftOut, Record, Tally, read

pytest.importorskip("phenopackets")
pytest.importorskip("fhir.resources")
pytest.importorskip("pyarrow")

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = date(2026, 1, 1)
SECRET = "mouth like sandpaper"
Invoke = Callable[..., Any]


def entity(term: str | None = "HP:0000217", **changes: Any) -> dict[str, Any]:
    told = changes.pop("told", SECRET)
    label = f"label of {term}" if term else None
    match = {"method": "exact" if term else "none", "name": label, "score": 1.0 if term else 0.0, "candidates": []}
    made = {"type": "symptom", "name_colloquial": told, "start": 0, "end": len(told), "hpo_id": term}
    made |= {"name_canonical": label or told, "hpo_label": label, "assertion": "present", "confidence": 0.9}
    return made | {"match": match} | changes


def extraction(*entities: dict[str, Any], **changes: Any) -> Extraction:
    made = {"id": "d1", "entities": entities, "model": "m 1", "hpo_release": "2026-02-16", "ts_event_hint": None}
    return Extraction.model_validate(made | changes)


def record(*entities: dict[str, Any], about: About | None = None, **changes: Any) -> Record:
    return Record(extraction(*entities, **changes), about or About())


def packet(*records: Record, **options: Any) -> dict[str, Any]:
    return json.loads(phenopacket.as_json(phenopacket.packet(records, created=CREATED, **options)))


def features(*records: Record, **options: Any) -> list[dict[str, Any]]:
    return packet(*records, **options).get("phenotypicFeatures", [])


def observations(*records: Record, **options: Any) -> list[dict[str, Any]]:
    made = json.loads(fhir.as_json(fhir.bundle(records, created=CREATED, **options)))
    return [entry["resource"] for entry in made["entry"] if entry["resource"]["resourceType"] == "Observation"]


@pytest.fixture
def found(tmp_path: Path) -> Path:
    """Two diaries' results in a file."""
    path = tmp_path / "found.jsonl"
    lines = [extraction(entity()), extraction(entity("HP:0001945", assertion="absent"), id="d2")]
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines), "utf-8")
    return path


@pytest.fixture
def invoke() -> Invoke:
    """Run `clario export`; an error is raised as it is."""

    def call(*args: object, **options: Any) -> Any:
        result = CliRunner().invoke(app, ["export", *map(str, args)], **options)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.mark.parametrize("assertion", ["other", "hypothetical"])
def test_what_is_not_the_patients_own_never_becomes_a_finding(assertion: str) -> None:
    for make in (features, observations):
        tally = Tally()
        assert make(record(entity(assertion=assertion)), tally=tally, quotes=True) == []
        assert dict(tally.left_out) == {LeftOut(LeftOut[assertion.upper()]): 1}


@pytest.mark.parametrize("kind", ["med", "trigger", "behavior"])
def test_only_symptoms_and_tests_become_findings(kind: str) -> None:
    for make in (features, observations):
        tally = Tally()
        assert make(record(entity(type=kind)), tally=tally) == []
        assert tally.left_out[LeftOut.TYPE] == 1


def test_a_denied_symptom_is_excluded_and_absent() -> None:
    (feature,) = features(record(entity(assertion="absent")))
    (observation,) = observations(record(entity(assertion="absent")))
    assert feature["excluded"] is True
    assert "onset" not in feature
    assert observation["valueCodeableConcept"]["coding"][0]["code"] == "LA9634-2"
    assert "dataAbsentReason" not in observation


def test_a_present_symptom_began_by_the_day_it_was_written_down() -> None:
    told = record(entity(), about=About(recorded=DAY), ts_event_hint="2025-12")
    (feature,) = features(told)
    (observation,) = observations(told)
    assert "excluded" not in feature
    assert feature["onset"]["interval"]["end"] == "2026-01-01T23:59:59Z"
    assert "resolution" not in feature
    assert "2025-12" in feature["evidence"][0]["reference"]["description"]
    assert observation["effectiveDateTime"] == "2025-12"
    assert observation["valueCodeableConcept"]["coding"][0]["code"] == "LA9633-4"


def test_without_a_day_none_is_invented() -> None:
    (feature,) = features(record(entity()))
    (observation,) = observations(record(entity()))
    assert "onset" not in feature
    assert not {key for key in observation if key.startswith("effective")}


@pytest.mark.parametrize(("recorded", "day"), [(DAY, "2026-01-01"), (None, "2026-01-02")])
def test_what_is_over_has_an_end(recorded: date | None, day: str) -> None:
    told = record(entity(assertion="past"), about=About(recorded=recorded))
    (feature,) = features(told)
    (observation,) = observations(told)
    assert feature["resolution"]["interval"]["end"] == f"{day}T23:59:59Z"
    assert observation["effectivePeriod"] == {"end": day}
    assert "past" in observation["valueCodeableConcept"]["text"]


def test_one_patients_diaries_make_one_feature_a_term() -> None:
    days = [About("P", date(2026, 1, n)) for n in (3, 1, 2)]
    tally = Tally()
    made = packet(
        record(entity(), id="a", about=days[0]),
        record(entity(assertion="past"), entity("HP:0001945", assertion="absent"), id="b", about=days[1]),
        record(entity(assertion="absent"), id="c", about=days[2]),
        tally=tally,
    )
    dry, fever = made["phenotypicFeatures"]
    assert made["id"] == made["subject"]["id"] == "P"
    assert made["subject"]["timeAtLastEncounter"]["timestamp"] == "2026-01-03T00:00:00Z"
    assert [e["reference"]["id"] for e in dry["evidence"]] == ["a", "b"]
    assert "excluded" not in dry
    assert fever["excluded"] is True
    assert tally.left_out[LeftOut.DENIED] == 1


def test_one_packet_has_ids_of_one_release() -> None:
    with pytest.raises(InputError, match="2025-01-16, 2026-02-16"):
        packet(record(entity()), record(entity(), hpo_release="2025-01-16"))


def test_a_packet_names_its_ontologies_its_maker_and_what_it_is_not() -> None:
    data = packet(record(entity()))["metaData"]
    assert {r["id"]: r["version"] for r in data["resources"]}["hp"] == "2026-02-16"
    assert data["createdBy"].endswith("m 1")
    assert data["created"] == "2026-01-02T03:04:05Z"
    assert "Not a diagnosis" in data["updates"][0]["comment"]


def test_an_observation_says_where_it_comes_from() -> None:
    (observation,) = observations(record(entity()))
    assert observation["status"] == "preliminary"
    assert observation["code"]["coding"][0] == {
        "system": "http://human-phenotype-ontology.org",
        "version": "2026-02-16",
        "code": "HP:0000217",
        "display": "label of HP:0000217",
    }
    assert observation["component"][0]["valueQuantity"]["value"] == 0.9
    assert "Not a diagnosis" in observation["note"][0]["text"]


def test_patient_text_goes_along_only_when_asked_for() -> None:
    lay = {"method": "exact", "name": SECRET, "score": 0.9, "candidates": []}
    told = record(entity(match=lay), entity(None), entity(None, type="med"))
    texts = {
        quotes: [
            json.dumps(packet(told, quotes=quotes)),
            json.dumps(observations(told, quotes=quotes)),
            json.dumps(list(table.rows([told], quotes, Tally())), default=str),
        ]
        for quotes in (False, True)
    }
    assert not any(SECRET in text for text in texts[False])
    assert all(SECRET in text for text in texts[True])


def test_a_symptom_without_a_term_is_named_only_with_quotes() -> None:
    told, test = record(entity(None)), record(entity(None, type="lab_marker"))
    assert observations(told) == observations(test, quotes=True) == []
    assert observations(told, quotes=True)[0]["code"] == {"text": SECRET}


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@a", "\t=1", "\r1", "\n1", " =1", "\N{NO-BREAK SPACE}=1", "＝1", "'=1"]
)
def test_a_formula_is_defused_and_can_be_restored(cell: str) -> None:
    assert table.defused(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["dry mouth", "a=b", "'tis", "", 0.5, None])
def test_what_is_no_formula_stays(cell: object) -> None:
    assert table.defused(cell) == cell


def test_csv_and_parquet_hold_the_same_but_for_formulas(tmp_path: Path) -> None:
    from pyarrow import parquet

    told = [record(entity(told="=1+1", assertion="other"), about=About("P", DAY)), record(entity(), id="d2")]
    text = io.StringIO()
    table.write_csv(text, table.rows(told, True, Tally()))
    with (tmp_path / "t.parquet").open("wb") as file:
        table.write_parquet(file, table.rows(told, True, Tally()))
    read_back = parquet.read_table(tmp_path / "t.parquet")
    first, second = csv.DictReader(io.StringIO(text.getvalue()))
    assert read_back.column_names == list(first) == list(table.COLUMNS)
    assert b"Not a diagnosis" in read_back.schema.metadata[b"note"]
    assert read_back["name_colloquial"].to_pylist() == ["=1+1", SECRET]
    assert read_back["ts_recorded"].to_pylist() == [DAY, None]
    assert first["name_colloquial"] == "'=1+1"
    assert (first["subject"], first["ts_recorded"], second["subject"]) == ("P", "2026-01-01", "")


def test_parquet_without_an_entity_is_still_a_table(tmp_path: Path) -> None:
    from pyarrow import parquet

    with (tmp_path / "t.parquet").open("wb") as file:
        table.write_parquet(file, [])
    assert parquet.read_table(tmp_path / "t.parquet").num_rows == 0


def test_a_broken_line_is_named_without_its_text(tmp_path: Path, found: Path, invoke: Invoke) -> None:
    found.write_text(found.read_text("utf-8") + '{"id": "d3", "entities": [{"name_colloquial": "secret', "utf-8")
    output = tmp_path / "out.jsonl"
    output.write_text("old", "utf-8")
    with pytest.raises(InputError, match=r"found\.jsonl, line 3: not an Extraction") as error:
        invoke(found, "--to", "fhir", "--output", output)
    assert "secret" not in str(error.value)
    assert error.value.__context__ is None
    assert output.read_text("utf-8") == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"found.jsonl", "out.jsonl"}


def test_results_are_read_as_a_stream() -> None:
    def lines() -> Iterator[bytes]:
        yield extraction(entity(), entity(confidence=0.2)).model_dump_json().encode()
        raise AssertionError("read on before it was asked for")

    tally = Tally()
    first = next(read(lines(), "f", lambda _: About(), 0.5, tally))
    assert len(first.extraction.entities) == tally.left_out[LeftOut.UNSURE] == 1


@pytest.mark.parametrize("to", ["phenopacket", "fhir"])
def test_the_command_writes_a_document_a_diary(to: str, found: Path, tmp_path: Path, invoke: Invoke) -> None:
    invoke(found, "--to", to, "--output", tmp_path / "out.ndjson")
    invoke(found, "--to", to, "--output", tmp_path / "folder")
    assert len((tmp_path / "out.ndjson").read_text("utf-8").splitlines()) == 2
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["d1.json", "d2.json"]


def test_the_command_groups_by_patient(found: Path, tmp_path: Path, invoke: Invoke) -> None:
    about = tmp_path / "about.csv"
    about.write_text("id,subject,ts_recorded\nd1,P,2026-01-01\nd2,P,2026-01-05T10:00:00\n", "utf-8")
    invoke(found, "--to", "phenopacket", "--about", about, "--output", tmp_path / "p.json")
    made = json.loads((tmp_path / "p.json").read_text("utf-8"))
    assert made["id"] == "P"
    assert len(made["phenotypicFeatures"]) == 2
    assert made["phenotypicFeatures"][0]["onset"]["interval"]["end"].startswith("2026-01-01")
    same = invoke(found, "--to", "phenopacket", "--subject", "P").stdout
    assert json.loads(same)["id"] == "P"


def test_a_diary_that_nobody_knows_of_is_an_error(found: Path, tmp_path: Path, invoke: Invoke) -> None:
    about = tmp_path / "about.jsonl"
    about.write_text('{"id": "d1", "text": "not looked at"}\n', "utf-8")
    with pytest.raises(InputError, match=r"line 2: its id is not in .*about\.jsonl"):
        invoke(found, "--to", "fhir", "--about", about)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"id": "d1"}\n{"id": "d1"}', "line 2: its id was there"),
        ('{"id": "d1", "ts_recorded": "soon"}', "line 1"),
        ("{", "line 1: not a whole"),
        ("{}", 'no "id"'),
    ],
)
def test_a_faulty_about_file_is_an_error(line: str, why: str, found: Path, tmp_path: Path, invoke: Invoke) -> None:
    about = tmp_path / "about.jsonl"
    about.write_text(line, "utf-8")
    with pytest.raises(InputError, match=why):
        invoke(found, "--to", "fhir", "--about", about)


def test_a_json_file_holds_one_patient(found: Path, tmp_path: Path, invoke: Invoke) -> None:
    with pytest.raises(InputError, match="holds one patient"):
        invoke(found, "--to", "phenopacket", "--output", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_no_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    names = ["../../up", "a/b", "a\\b", ".", "..", "", "A", "a", "con\x00", "x" * 500]
    made = [files.file_name(name) for name in names]
    assert len(set(made)) == len({name.lower() for name in made}) == len(names)
    assert all(Path(name).name == name and not name.startswith(".") and len(name) < 120 for name in made)


def test_two_diaries_of_one_id_do_not_overwrite_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="have one id"):
        files.write(tmp_path / "folder", [[record()], [record()]], lambda records, indent: "{}")


def test_bad_use_is_told(found: Path, tmp_path: Path, invoke: Invoke) -> None:
    both = ["--subject", "P", "--about", found]
    for arguments in (
        ["--to", "parquet"],
        ["--to", "fhir", *both],
        ["--to", "fhir", "--output", tmp_path / "a.xml"],
    ):
        assert invoke(found, *arguments).exit_code == 2
    assert invoke(found, "--to", "csv", "--output", found).exit_code == 2
    with pytest.raises(InputError, match="No such file"):
        invoke(tmp_path / "none.jsonl", "--to", "csv")


def test_a_missing_library_is_told(found: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OutputError, match=r"pip install 'clario\[export\]'"):
        invoke(found, "--to", "fhir")


def test_the_standard_output_holds_data_alone(found: Path, invoke: Invoke) -> None:
    result = invoke("-", "--to", "csv", input=found.read_bytes())
    assert len(list(csv.DictReader(io.StringIO(result.stdout)))) == 2
    assert "Not a diagnosis" in result.stderr


def test_the_modules_load_without_the_libraries() -> None:
    code = "import sys, clario.cli, clario.export.fhir, clario.export.phenopacket, clario.export.table\n"
    code += "print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"phenopackets", "google", "fhir", "pyarrow"} & set(loaded.stdout.split())


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """The script that checks a whole corpus."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield import_module("exports")
    del sys.modules["exports"]


def test_a_sample_of_the_test_diaries_is_valid(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--documents", "12", "--model", "lexicon"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["gold"]["phenopacket"]["valid"] == 12
    assert report["gold"]["fhir"]["written"]["observations, present"] > 12


def test_the_check_sees_what_is_missing(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made = phenopacket.packet([record(entity())], created=CREATED)
    assert bench.missing(made) == []
    del made.meta_data.resources[0]
    made.id = ""
    assert bench.missing(made) == ["id", "resource of HP:0000217"]
    both = {"effectiveDateTime": "2026-01-01", "effectivePeriod": {"end": "2026-01-01"}}
    monkeypatch.setattr(fhir, "_effective", lambda *_: both)
    with pytest.raises(ValueError, match="effective"):
        bench.bundle_survives(record(entity()), False, Tally())


def _golden_record() -> Record:
    found = Extraction.model_validate_json((GOLDEN / "dry_mouth.json").read_text("utf-8"))
    hinted = found.model_copy(update={"ts_event_hint": "2026-11-23"})
    return Record(hinted, About("P-17", date(2026, 11, 25)))


def _golden_csv() -> str:
    text = io.StringIO()
    table.write_csv(text, table.rows([_golden_record()], True, Tally()))
    return text.getvalue()


def _golden_parquet() -> str:
    from pyarrow import parquet

    file = io.BytesIO()
    table.write_parquet(file, table.rows([_golden_record()], True, Tally()))
    read_back = parquet.read_table(io.BytesIO(file.getvalue()))
    fields = {field.name: str(field.type) for field in read_back.schema}
    return json.dumps({"schema": fields, "rows": read_back.to_pylist()}, default=str, indent=1, ensure_ascii=False)


# Parquet's bytes change with pyarrow; what they are read as must not.
MAKERS: dict[str, Callable[[], str]] = {
    "dry_mouth.phenopacket.json": lambda: phenopacket.as_json(
        phenopacket.packet([_golden_record()], created=CREATED, quotes=True), 1
    ),
    "dry_mouth.fhir.json": lambda: fhir.as_json(fhir.bundle([_golden_record()], created=CREATED, quotes=True), 1),
    "dry_mouth.csv": _golden_csv,
    "dry_mouth.parquet.json": _golden_parquet,
}


@pytest.mark.parametrize("name", MAKERS)
def test_each_format_of_one_diary_is_the_golden_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clario.export.records.__version__", "0.0.0")
    assert MAKERS[name]().rstrip("\n") == (GOLDEN / name).read_text("utf-8").rstrip("\n")
