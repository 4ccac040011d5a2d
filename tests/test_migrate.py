"""Moving stored ids and labels to a release: only they change, and doing it twice changes nothing more."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clario.errors import InputError, OutputError, UnknownTermError
from clario.ontology.index import Index
from clario.ontology.migrate import Change, migrate_file, migrate_ids

GONE = "retired without a successor"
UNKNOWN = "unknown in HPO 2026-01-01"


def _migrate(path: Path, content: str | bytes, index: Index) -> tuple[bytes, list[Change]]:
    """The migrated content and its changes, after checking that a second time changes nothing more."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    changes = migrate_file(path, path, index)
    once = path.read_bytes()
    again = migrate_file(path, path, index)
    assert path.read_bytes() == once
    assert again == [change for change in changes if change.new is None]
    return once, changes


def test_ids_are_moved_and_reported(new: Index) -> None:
    ids = ["HP:0000217", "HP:0001278", "HP:0100001", "HP:0100002", "HP:0100003", "HP:7777777"]
    assert migrate_ids(ids, new) == [
        Change(2, "HP:0001278", "HP:0000217", "replaced"),
        Change(3, "HP:0100001", "HP:0002829", "replaced"),
        Change(4, "HP:0100002", "HP:0012378", "replaced"),
        Change(5, "HP:0100003", None, GONE),
        Change(6, "HP:7777777", None, UNKNOWN),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".CSV"])
def test_other_bytes_of_a_table_or_text_stay(tmp_path: Path, new: Index, suffix: str) -> None:
    content = (
        b"id;hpo\r\n1;\xe9t\xe9 HP:0100001,HP:0100003\r\n\r2;(HP:0001278)\tHP:00012789 XHP:0001278 HP:0001278"
    )
    migrated, changes = _migrate(tmp_path / f"cohort{suffix}", content, new)
    assert migrated == (
        b"id;hpo\r\n1;\xe9t\xe9 HP:0002829,HP:0100003\r\n\r2;(HP:0000217)\tHP:00012789 XHP:0001278 HP:0000217"
    )
    assert [(c.line, c.old, c.new) for c in changes] == [
        (2, "HP:0100001", "HP:0002829"), (2, "HP:0100003", None),
        (3, "HP:0001278", "HP:0000217"), (3, "HP:0001278", "HP:0000217"),
    ]  # fmt: skip


def test_labels_in_json_are_renewed_and_the_layout_stays(tmp_path: Path, new: Index) -> None:
    content = """{ "entities": [
  {"hpo_id":"HP:0100001", "hpo_label" : "Aching joints", "score": 1.00, "match": {"candidates": ["HP:0001278"]}},
  {"hpo_label": "Fever", "hpo_id": "HP:0001945", "n": 1e5},
  {"hpo_id": "HP:0000217", "hpo_label": null},
  {"hpo_id": null, "hpo_label": null}, {"hpo_id": "HP:0100003", "hpo_label": "Vague feeling"},
  {"hpo_label": "é", "nested": {"hpo_id": "HP:0001945"}}, {"HP:0001278": ["hpo_label", "hpo_id"]}
]}\r\n"""
    migrated, changes = _migrate(tmp_path / "results.json", "\ufeff" + content, new)
    expected = (
        content.replace("HP:0100001", "HP:0002829").replace("Aching joints", "Arthralgia")
        .replace("HP:0001278", "HP:0000217").replace('"Fever"', '"Fièvre"')
        .replace('"HP:0000217", "hpo_label": null', '"HP:0000217", "hpo_label": "Xerostomia"')
    )  # fmt: skip
    assert migrated.decode("utf-8") == "\ufeff" + expected
    assert changes == [
        Change(2, "HP:0100001", "HP:0002829", "replaced"),
        Change(2, "Aching joints", "Arthralgia", "label renewed"),
        Change(2, "HP:0001278", "HP:0000217", "replaced"),
        Change(3, "Fever", "Fièvre", "label renewed"),
        Change(4, "", "Xerostomia", "label renewed"),
        Change(5, "HP:0100003", None, GONE),
        Change(6, "HP:0001278", "HP:0000217", "replaced"),
    ]


def test_json_lines_are_taken_one_by_one(tmp_path: Path, new: Index) -> None:
    content = '{"id": "a\u2028b", "hpo_id": "HP:0001278"}\n\n["HP:7777777", "HP:0001945"]\n"HP:0100002"'
    migrated, changes = _migrate(tmp_path / "results.jsonl", content, new)
    assert migrated.decode() == content.replace("HP:0001278", "HP:0000217").replace("HP:0100002", "HP:0012378")
    assert [(c.line, c.new) for c in changes] == [(1, "HP:0000217"), (3, None), (4, "HP:0012378")]


def test_pure_ascii_stays_pure_ascii(tmp_path: Path, new: Index) -> None:
    migrated, _ = _migrate(tmp_path / "x.json", '{"hpo_id": "HP:0001945", "hpo_label": "Fever"}', new)
    assert migrated == b'{"hpo_id": "HP:0001945", "hpo_label": "Fi\\u00e8vre"}'


def test_an_id_inside_a_renewed_label_goes_with_it(tmp_path: Path, new: Index) -> None:
    content = '{"hpo_id": "HP:0001278", "hpo_label": "Dry mouth (HP:0001278)", "x": "HP:0001278"}'
    migrated, changes = _migrate(tmp_path / "x.json", content, new)
    assert json.loads(migrated) == {"hpo_id": "HP:0000217", "hpo_label": "Xerostomia", "x": "HP:0000217"}
    assert len(changes) == 3


def test_the_result_may_go_elsewhere(tmp_path: Path, new: Index) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "b.txt"
    source.write_text("HP:0001278")
    migrate_file(source, target, new)
    assert (source.read_text(), target.read_text()) == ("HP:0001278", "HP:0000217")
    source.write_text("nothing to do")
    migrate_file(source, target, new)
    assert target.read_text() == "nothing to do"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.xlsx", b"HP:0001278", "is not a file of the kinds"),
        ("x", b"HP:0001278", "is not a file of the kinds"),
        ("x.json", b'{"a": 1,\n "b"}', "line 2: not valid JSON"),
        ("x.json", b"[" * 100_000, "not valid JSON"),
        ("x.json", b'"\xff"', "not valid JSON in UTF-8"),
        ("x.jsonl", b'{"a": 1}\n{"b": ', "line 2: not valid JSON"),
        ("x.csv", "HP:0001278".encode("utf-16"), "binary or UTF-16"),
        ("x.json", b'{"HP:0000217": 1,\n"HP:0001278": 2}', "line 2: the keys HP:0000217 and HP:0001278"),
    ],
)
def test_what_cannot_be_migrated_is_named_and_stays(
    tmp_path: Path, new: Index, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        migrate_file(path, path, new)
    assert path.read_bytes() == content


def test_missing_and_unwritable_files_are_named(tmp_path: Path, new: Index) -> None:
    with pytest.raises(InputError, match=r"gone\.json cannot be read"):
        migrate_file(tmp_path / "gone.json", tmp_path / "out.json", new)
    (tmp_path / "a.txt").write_text("HP:0001278")
    with pytest.raises(OutputError):
        migrate_file(tmp_path / "a.txt", tmp_path / "a.txt" / "b.txt", new)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


IDS = st.sampled_from(["HP:0000217", "HP:0001278", "HP:0100001", "HP:0100003", "HP:7777777", "HP:0001945", "x"])
LABELS = st.one_of(st.sampled_from(["Xerostomia", "Fever", 'a "quoted\\" {label}', ""]), st.none(), st.integers())
JSON = st.recursive(
    st.one_of(IDS, LABELS, st.floats(allow_nan=False), st.booleans(), st.text(max_size=5)),
    lambda values: st.one_of(
        st.lists(values, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b:,{", "hpo"]), values, max_size=3),
        st.fixed_dictionaries({"hpo_id": IDS, "hpo_label": LABELS}, optional={"more": values}),
    ),
    max_leaves=12,
)


def _expected(value: Any, index: Index) -> Any:
    """What migration means, on the parsed value."""
    if isinstance(value, list):
        return [_expected(item, index) for item in value]
    if isinstance(value, dict):
        moved = {name: _expected(item, index) for name, item in value.items()}
        if {"hpo_id", "hpo_label"} <= value.keys() and not isinstance(value["hpo_label"], int):
            moved["hpo_label"] = _label(value, index)
        return moved
    try:
        return index.live(value) if isinstance(value, str) else value
    except UnknownTermError:
        return value


def _label(value: dict[str, Any], index: Index) -> Any:
    try:
        return index.label(value["hpo_id"])
    except UnknownTermError:
        return value["hpo_label"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_any_json_means_what_it_should(
    tmp_path: Path, new: Index, value: Any, indent: int | None, ascii_only: bool
) -> None:
    content = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    migrated, _ = _migrate(tmp_path / "any.json", content, new)
    assert json.loads(migrated) == _expected(value, new)
