"""Diaries out of files: odd files, odd rows, and what may be said about them."""

import csv
import io
import os
import sys
from pathlib import Path

import pytest

from clario import reading, writing
from clario.entities import Failure
from clario.errors import ClarioError, InputError, OutputError
from clario.pipeline import Diary

BOM = b"\xef\xbb\xbf"


def read(path: Path, content: bytes) -> list[Diary | Failure]:
    path.write_bytes(content)
    return list(reading.diaries([str(path)]))


def piped(patch: pytest.MonkeyPatch, content: bytes) -> list[Diary | Failure]:
    patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    return list(reading.diaries(["-"]))


def texts(items: list[Diary | Failure]) -> list[str | None]:
    """The text of each diary, None for each failure."""
    return [item.text if isinstance(item, Diary) else None for item in items]


def errors(items: list[Diary | Failure]) -> list[str]:
    return [item.error for item in items if isinstance(item, Failure)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", b"id,text\nJos\xe9,dry mouth\nb,no fever\n"),
        ("d.jsonl", b'{"id": "\\ud800", "text": "dry mouth"}\n{"id": "b", "text": "no fever"}\n'),
    ],
)
def test_an_id_that_is_no_unicode_is_escaped(tmp_path: Path, name: str, content: bytes) -> None:
    odd, other = read(tmp_path / name, content)
    assert texts([odd, other]) == ["dry mouth", "no fever"]
    assert odd.id.encode() == (b"Jos\\udce9" if name.endswith(".csv") else b"\\ud800")
    assert other.id == "b"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_file_name_that_is_no_unicode_is_escaped(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    names = [folder + b"/Jos\xe9." + kind for kind in (b"txt", b"jsonl", b"csv", b"pdf")]
    for name in names:
        with open(name, "wb") as file:
            file.write(b"text\nfever\n")
    items = list(reading.diaries(map(os.fsdecode, [*names, folder + b"/no\xe9.txt"])))
    assert texts(items) == ["text\nfever\n", None, None, "fever", None, None]
    assert all("\\udce9" in item.id for item in items)
    "".join(item.id for item in items).encode()
    "".join(errors(items)).encode()


def test_a_csv_without_a_header_is_not_shown(tmp_path: Path) -> None:
    for diary in ("My mouth is so dry, I woke up twice", "1,fevered and shivering", "schwangerschaftsvergiftung"):
        (error,) = errors(read(tmp_path / "d.csv", diary.encode()))
        assert "no column 'text'" in error
        assert not any(word in error for word in ("mouth", "woke", "fever", "schwanger"))
        assert f"columns: {diary.count(',') + 1}" in error
    (error,) = errors(read(tmp_path / "d.csv", b"id,note,ts_recorded\n1,fever,2026-01-01\n"))
    assert "columns: id, note, ts_recorded" in error


def test_an_error_does_not_keep_the_text_it_is_about(tmp_path: Path) -> None:
    made = tmp_path / "o.jsonl"
    made.write_text('{"id": "1", "quote": "Sekretwort"\n')

    def resume() -> None:
        with writing.opened(made, "jsonl", made_with=("m", "r")):
            pass

    calls = [
        lambda: reading._text(b"Sekretwort \xff", "x"),
        lambda: reading._object(b'{"text": "Sekretwort', "x"),
        lambda: reading._record({"text": "", "ts_recorded": "Sekretwort" * 5}, "x", "x", None),
        resume,
    ]
    for call in calls:
        with pytest.raises(ClarioError) as caught:
            call()
        assert caught.value.__context__ is None
        assert "Sekretwort" not in str(caught.value)


@pytest.mark.parametrize("before", [b"", b"\n", BOM, BOM + b"\n", b" \r\n\n" + BOM])
@pytest.mark.parametrize("first", [b'{"id": "1", "te', b' { "text": "dry mouth"', b"{}", b"{"])
def test_piped_json_lines_are_known_by_their_beginning(
    monkeypatch: pytest.MonkeyPatch, before: bytes, first: bytes
) -> None:
    items = piped(monkeypatch, before + first + b'\n{"id": "2", "text": "no fever"}\n')
    assert texts(items) == [None, "no fever"]
    assert f"line {before.count(bytes([10])) + 1}:" in errors(items)[0]


def test_any_other_pipe_is_one_diary(monkeypatch: pytest.MonkeyPatch) -> None:
    for diary in (b"", b"\n\n", b"\n\nDry mouth.\n\nNo fever.", b"{sad} dry mouth\n", b"id,text\n1,fever\n"):
        assert texts(piped(monkeypatch, diary)) == [diary.decode()]
    assert texts(piped(monkeypatch, BOM + b"\nDry")) == ["\nDry"]
    with monkeypatch.context() as patch:
        patch.setattr(reading, "LONGEST", 10)
        assert "more than 40 bytes" in errors(piped(patch, b"\n" * 50))[0]
    monkeypatch.setattr(sys, "stdin", None)
    assert errors(list(reading.diaries(["-"]))) == ["standard input: it is closed"]


def test_a_broken_row_loses_no_other_and_is_named(tmp_path: Path) -> None:
    rows = b'id,text\n1,"dry\nmouth"\n2,"bad"x,\n3,knee pain\n\n4\n5,dry mouth, no fever\n6,cough,,\n7,\n8,"open\n'
    items = read(tmp_path / "d.csv", rows)
    assert texts(items) == ["dry\nmouth", None, "knee pain", None, None, "cough", "", None]
    broken, short, long, open_ = errors(items)
    assert "row 2 (line 4): broken CSV" in broken
    assert "row 4 (line 7): it ends before the column 'text'" in short
    assert "row 5 (line 8): more fields than columns" in long
    assert "row 8 (line 11): broken CSV" in open_
    assert [item.id.rpartition(":")[2] for item in items if isinstance(item, Failure)] == ["2", "4", "5", "8"]


def test_a_field_beyond_the_limit_loses_no_other(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    items = read(tmp_path / "d.csv", b"id,text\n1," + b"a" * 4_000_001 + b"\n2,fever\n")
    csv.field_size_limit(before)
    assert texts(items) == [None, "fever"]
    assert "row 1 (line 2)" in errors(items)[0]
    assert "no column" in errors(read(tmp_path / "d.csv", b"a" * 4_000_001))[0]


@pytest.mark.parametrize(
    "table",
    [
        "id;text\n1;fever, cough\n",
        "id\ttext\n1\tfever, cough\n",
        '"a;b;c",id,text\n,1,"fever, cough"\n',  # most marks are not those that part the columns
        " ID ; Text \n1;fever, cough\n",
        "\ufeffTEXT;id\nfever, cough;1\n",
    ],
)
def test_the_delimiter_is_the_one_that_gives_a_column_text(tmp_path: Path, table: str) -> None:
    (diary,) = read(tmp_path / "d.csv", table.encode())
    assert (diary.id, texts([diary])) == ("1", ["fever, cough"])


def test_two_columns_text_are_refused(tmp_path: Path) -> None:
    assert "2 columns 'text'" in errors(read(tmp_path / "d.csv", b"text,Text\nfever,cough\n"))[0]


def test_what_cannot_be_counted_is_left_to_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("text\na\nb\n")
    assert reading.count([str(tmp_path / "a.csv"), str(tmp_path / "gone.jsonl")]) == 3

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)
    assert reading.count([str(tmp_path / "a.csv")]) == 0


def test_an_output_with_another_name_of_an_input_is_found(tmp_path: Path) -> None:
    source, link, hard = tmp_path / "d.jsonl", tmp_path / "link", tmp_path / "hard"
    source.write_text("{}")
    link.symlink_to(source)
    os.link(source, hard)
    for name in (source, link, hard, tmp_path / "." / "x" / ".." / "d.jsonl"):
        (tmp_path / "x").mkdir(exist_ok=True)
        assert reading.overwritten(name, ["gone", str(source)]) == str(source)
    assert reading.overwritten(tmp_path / "new", [str(source)]) is None
    assert reading.overwritten(Path(os.devnull), [os.devnull]) is None


def test_a_partial_file_of_another_run_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "o.csv"
    with writing.opened(output, "csv"), pytest.raises(OutputError, match="another run"):  # noqa: SIM117
        with writing.opened(output, "csv"):
            pass
    assert output.read_text().splitlines() == [",".join(writing.COLUMNS)]
    assert list(tmp_path.iterdir()) == [output]


def test_a_run_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError), writing.opened(tmp_path / "o.jsonl", "jsonl"):
        raise InputError("stop")
    assert list(tmp_path.iterdir()) == []
