"""The corpus: reading it, splitting it, and telling what is wrong with it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clario.cli import app
from clario.corpus.agreement import agreement, paired
from clario.corpus.check import faults, spread
from clario.corpus.dataset import Annotation, GoldDiary, GoldEntity, load, load_annotations, save
from clario.corpus.split import Leak, freeze, frozen, leaks, split
from clario.errors import InputError
from clario.ontology.index import Index
from clario.ontology.release import load as load_release

TEXT = "Mouth so dry again today and it is only Tuesday. No fever though, thank goodness for that."


@cache
def index() -> Index:
    return load_release()


def entity(quote: str, text: str = TEXT, **fields: Any) -> GoldEntity:
    at = text.index(quote)
    given = {
        "type": "symptom", "name_colloquial": quote, "start": at, "end": at + len(quote), "hpo_id": None,
        "hpo_label": None, "alt_ids": (), "assertion": "present",
    }  # fmt: skip
    return GoldEntity.model_validate(given | fields)


DRY = entity("Mouth so dry", hpo_id="HP:0000217", hpo_label="Xerostomia")
FEVER = entity("fever", hpo_id="HP:0001945", hpo_label="Fever", assertion="absent")


def diary(
    identifier: str = "a-1",
    text: str = TEXT,
    disease: str | None = "ORPHA:1",
    writer: str = "a",
    entities: Any = None,
) -> GoldDiary:
    entities = (DRY, FEVER) if entities is None else entities
    return GoldDiary(id=identifier, text=text, disease=disease, writer=writer, entities=entities)


def whats(*diaries: GoldDiary) -> list[str]:
    return [fault.what for fault in faults({"train": diaries}, index())]


def test_a_sound_diary_has_no_fault() -> None:
    assert whats(diary()) == []


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (DRY.model_copy(update={"start": 1, "end": 13}), "the quote is not the text's"),
        (
            DRY.model_copy(update={"hpo_label": "Dry mouth"}),
            "HP:0000217 is not called 'Dry mouth' but 'Xerostomia'",
        ),
        (DRY.model_copy(update={"hpo_id": "HP:9999999"}), "is not a term of HPO"),
        (DRY.model_copy(update={"hpo_id": "HP:0002709"}), "HP:0002709 was retired for HP:0000217"),
        (DRY.model_copy(update={"hpo_id": "HP:0000001", "hpo_label": "All"}), "is no phenotypic abnormality"),
        (DRY.model_copy(update={"alt_ids": ("HP:0000217",)}), "HP:0000217 is its own alternative"),
        (DRY.model_copy(update={"type": "med"}), "has no HPO id"),
        (entity("dry ", hpo_id="HP:0000217", hpo_label="Xerostomia"), "white space"),
    ],
)
def test_each_fault_of_an_entity_is_told(broken: GoldEntity, what: str) -> None:
    assert any(what in told for told in whats(diary(entities=(broken,))))


def test_faults_between_diaries_are_told() -> None:
    other = "Something else entirely happened on that long and rainy afternoon, nobody knows quite what."
    assert "the entity stands twice" in whats(diary(entities=(DRY, DRY)))[0]
    assert "the id stands 2 times" in whats(diary(), diary(text=other, entities=()))
    assert "nearly the text of a-1" in whats(diary(), diary("a-2", TEXT + " Really."))[0]
    assert "3 words" in whats(diary(text="far too short", entities=()))[0]


def test_a_held_out_quote_must_not_stand_in_train() -> None:
    told = "Woke up and there he was, sliding through my arms like a wet towel, the poor little thing."
    quote = entity(
        "sliding through my arms like a wet towel",
        told,
        hpo_id="HP:0001252",
        hpo_label=index().label("HP:0001252"),
    )
    other = (
        "Clinic again, two buses and a wait. She keeps sliding through my arms like a wet towel, and the nurse "
        "wrote that down. Rice for tea, washing in before the rain, grandma rang about the wedding on Saturday."
    )
    parts = {
        "train": [diary("a", other, "ORPHA:1", entities=())],
        "test": [diary("b", told, "ORPHA:2", entities=(quote,))],
    }
    assert ("b", "the quote stands in train") in [
        (f.id, f.what.partition(": ")[2]) for f in faults(parts, index())
    ]


def test_a_split_keeps_diseases_and_writers_apart() -> None:
    diaries = [
        diary("a-1", disease="ORPHA:1", writer="a"),
        diary("a-2", disease="ORPHA:2", writer="a"),
        diary("b-1", disease="ORPHA:2", writer="b"),
        diary("c-1", disease="ORPHA:3", writer="c"),
        diary("a-3", disease=None, writer="a"),
    ]
    parts = split(diaries, {"validation": ["b"], "test": ["c"]})
    assert {part: [d.id for d in found] for part, found in parts.items()} == {
        "train": ["a-1", "a-3"],  # a-2 tells of a disease of validation
        "validation": ["b-1"],
        "test": ["c-1"],
    }
    assert leaks(parts) == []
    assert leaks({"train": diaries[:2], "test": diaries[2:3]}) == [Leak("ORPHA:2", ("train", "test"))]


def test_frozen_parts_come_back_and_changed_ones_do_not(tmp_path: Path) -> None:
    parts = {"train": [diary()], "validation": [diary("b")], "test": []}
    freeze(parts, tmp_path)
    assert frozen(tmp_path) == parts
    path = tmp_path / "train.jsonl"
    path.write_text(path.read_text().replace("again", "AGAIN"))
    with pytest.raises(InputError, match=r"train.jsonl: not the file"):
        frozen(tmp_path)
    (tmp_path / "splits.json").write_text("{}")
    with pytest.raises(InputError, match="no frozen splits"):
        frozen(tmp_path)


def test_broken_lines_are_named_without_their_text(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    save([diary()], path)
    record = json.loads(path.read_text())
    for broken in (record | {"writer": 7}, record | {"extra": 1}, {"id": "a"}, "cut"):
        path.write_text(json.dumps(record) + "\n" + json.dumps(broken) + "\n")
        with pytest.raises(InputError, match=r"d\.jsonl, line 2") as error:
            load(path)
        assert "Mouth" not in str(error.value)


def test_agreement_is_counted_by_hand() -> None:
    """Ours: 2 mentions, theirs: 3, 2 paired: F1 = 2*2/5. Ids: fever equal, dry mouth allowed: 1/2 and 2/2.
    Present ids: ours {217}, theirs {100755, 2315}: nothing in common."""
    theirs = Annotation(
        id="a-1",
        entities=(
            entity("so dry", hpo_id="HP:0100755", hpo_label="Abnormality of salivation", alt_ids=("HP:0000217",)),
            FEVER,
            entity("Tuesday", hpo_id="HP:0002315", hpo_label="Headache"),
        ),
    )
    found = agreement([diary()], [theirs])
    assert (found.diaries, found.mentions, found.same_id, found.compatible_id, found.documents) == (
        1,
        0.8,
        0.5,
        1,
        0,
    )
    assert found.assertions["absent"] == 1
    assert found.assertions["past"] is None


def test_pairs_are_one_to_one_and_largest_first() -> None:
    whole, part = entity("Mouth so dry again"), entity("dry")
    assert paired([part, whole], [entity("Mouth so dry")]) == [(whole, entity("Mouth so dry"))]


def test_the_spread_counts_what_is_there() -> None:
    found = spread([diary(), diary("b", entities=())])
    assert (found.diaries, found.diseases, found.writers, found.entities, found.without_entities) == (
        2,
        1,
        1,
        2,
        1,
    )
    assert found.assertions == {"present": 1, "past": 0, "absent": 1, "other": 0, "hypothetical": 0}
    assert found.terms == 2


CORPUS = Path(__file__).parent.parent / "data" / "corpus"


def test_the_corpus_is_sound() -> None:
    parts = frozen(CORPUS)
    assert faults(parts, index()) == []
    assert sum(map(len, parts.values())) >= 2200
    assert len({d.disease for part in parts.values() for d in part if d.disease}) >= 1500
    assert not {d.writer for d in parts["train"]} & {d.writer for p in ("validation", "test") for d in parts[p]}


@pytest.mark.parametrize("part", ["validation", "test"])
def test_held_out_parts_are_annotated_twice(part: str) -> None:
    ids = [d.id for d in frozen(CORPUS)[part]]
    assert len(ids) >= 200
    for which in ("first", "second"):
        assert [a.id for a in load_annotations(CORPUS / f"{part}.{which}.jsonl")] == ids


def test_the_command_prints_figures_and_names_faults(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["corpus", "check", str(CORPUS)])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["parts"]["test"]["diaries"] >= 200
    freeze({"train": [diary(), diary("a-2")], "validation": [], "test": []}, tmp_path)
    broken = CliRunner().invoke(app, ["corpus", "check", str(tmp_path)])
    assert broken.exit_code == 1
    assert "a-2: nearly the text of a-1" in broken.stderr


def test_the_parts_load_as_a_hugging_face_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = {part: str(CORPUS / f"{part}.jsonl") for part in ("train", "validation", "test")}
    loaded = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path))
    assert {part: len(rows) for part, rows in loaded.items()} == {p: len(d) for p, d in frozen(CORPUS).items()}
    first = loaded["test"][0]
    entity = first["entities"][0]
    assert first["text"][entity["start"] : entity["end"]] == entity["name_colloquial"]
