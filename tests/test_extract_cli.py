"""`clario extract` as people and scripts use it: real files, real processes, bad input."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clario.cli import main

CLARIO = [sys.executable, "-c", "from clario.cli import main; main()", "extract"]
TEXT = "Mouth so dry today. No fever."


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in this process (starting one takes most of a second), in a folder of its own."""

    def call(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["clario", "extract", *map(str, args)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as stop:
                main()
        printed = [stream.buffer.getvalue().decode() for stream in (out, err)]
        return subprocess.CompletedProcess(args, stop.value.code, *printed)

    return call


def answers(printed: str) -> list[dict]:
    return [json.loads(line) for line in printed.splitlines()]


def test_a_pipe_gets_one_extraction_a_line_and_files_keep_their_order(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.jsonl").write_text('{"id": "x", "text": "knee pain"}\n\n{"text": "fever"}\n')
    (tmp_path / "c.csv").write_text('id,text\n7,"a cough,\nall night"\n')
    done = run("a.txt", "b.jsonl", "c.csv")
    assert done.returncode == 0, done.stderr
    lines = answers(done.stdout)
    assert [line["id"] for line in lines] == ["a.txt", "x", "b.jsonl:3", "7"]
    assert [e["hpo_label"] for e in lines[0]["entities"]] == ["Xerostomia", "Fever"]
    assert done.stderr == ""


def test_standard_input_is_a_diary_or_json_lines(run: Run) -> None:
    assert answers(run("-", stdin=TEXT.encode()).stdout)[0]["entities"][0]["hpo_id"] == "HP:0000217"
    lines = answers(run("-", stdin=b'{"id": 1, "text": "fever"}\n{"id": 2, "text": "cough"}\n').stdout)
    assert [line["id"] for line in lines] == ["1", "2"]
    assert len(answers(run("-", stdin=b"{not json at all\nbut dry mouth").stdout)) == 1


def test_formats(run: Run, tmp_path: Path) -> None:
    whole = json.loads(run("--text", TEXT, "--format", "json").stdout)
    assert [e["assertion"] for e in whole[0]["entities"]] == ["present", "absent"]
    rows = list(csv.DictReader(io.StringIO(run("--text", TEXT, "--format", "csv").stdout)))
    assert [(r["hpo_id"], r["assertion"]) for r in rows] == [("HP:0000217", "present"), ("HP:0001945", "absent")]
    table = run("--text", TEXT, "--format", "table").stdout
    assert "Xerostomia" in table
    assert "Not a diagnosis" in table
    assert json.loads(run("--text", "", "--format", "json").stdout)[0]["warnings"] == ["the text is empty"]


def test_confidence_dates_and_release_options(run: Run) -> None:
    sure = answers(run("--text", TEXT, "--min-confidence", 0.99).stdout)
    assert sure[0]["entities"] == []
    hint = answers(run("--text", "fever since yesterday", "--recorded", "2026-11-26").stdout)[0]["ts_event_hint"]
    assert hint == "2026-11-25"
    assert run("--text", TEXT, "--release", "2026-02-16").returncode == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("binary.txt", b"\x7fELF\x00\x01", "binary file"),
        ("latin.txt", "Übelkeit".encode("latin-1"), "not UTF-8 (byte 0)"),
        ("huge.txt", b"dry mouth " * 1_000_000, "more than"),
        ("long.txt", b"dry mouth " * 200_000, "split it"),
        ("nocolumn.csv", b"id,note\n1,fever\n", "no column 'text' (columns: id, note)"),
        ("half.jsonl", b'{"id": "1", "te', "line 1: not a whole JSON object"),
        ("list.jsonl", b"[1]\n", 'expected an object like {"id"'),
        ("notext.jsonl", b'{"id": "1"}\n', 'no field "text"'),
        ("deep.jsonl", b"[" * 100_000 + b"\n", "not a whole JSON object"),
        ("date.jsonl", b'{"text": "fever", "ts_recorded": "soon"}\n', "line 1"),
        ("surrogate.jsonl", b'{"text": "fever \\ud800"}\n', "surrogate"),
        ("latin.csv", b"text\n\xfcbel\n", "row 1: not UTF-8"),
        ("what.pdf", b"%PDF", "unknown kind of file"),
    ],
)
def test_a_bad_input_is_named_and_the_others_are_done(
    run: Run, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.txt").write_text(TEXT)
    done = run(name, "good.txt")
    assert done.returncode == 1
    assert message in done.stderr
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert [line["id"] for line in answers(done.stdout)] == ["good.txt"]


def test_a_missing_file_a_folder_and_an_empty_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    done = run("gone.txt", "folder", "empty.csv", "empty.txt")
    assert done.returncode == 1
    assert "gone.txt: No such file" in done.stderr
    assert "folder: a folder" in done.stderr
    assert "empty.csv: no column 'text'" in done.stderr
    assert answers(done.stdout)[0]["warnings"] == ["the text is empty"]


def test_one_broken_line_loses_no_other(run: Run, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(
        '{"id": "1", "text": "fever"}\n{"id": "2", "te\n{"id": "3", "text": "cough"}\n'
    )
    done = run("d.jsonl")
    assert done.returncode == 1
    assert "d.jsonl, line 2" in done.stderr
    assert [line["id"] for line in answers(done.stdout)] == ["1", "3"]


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--text", "x", "file.txt"],
        ["--text", "x", "--format", "xml"],
        ["--text", "x", "--min-confidence", "2"],
        ["--text", "x", "--resume"],
        ["--text", "x", "--output", "o.json", "--format", "json", "--resume"],
        ["--text", "x", "--output", "o.txt", "--format", "table"],
        ["--nonsense"],
    ],
)
def test_bad_use_is_exit_code_2(run: Run, args: list[str], tmp_path: Path) -> None:
    assert run(*args).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_set_up_are_exit_code_1(run: Run, tmp_path: Path) -> None:
    unknown = run("--text", "x", "--model", "nonsense")
    assert (unknown.returncode, "installed: " in unknown.stderr) == (1, True)
    assert run("--text", "x", "--release", "1999-01-01").returncode == 1
    unwritable = run("--text", "x", "--output", tmp_path / "no" / "such" / "out.jsonl")
    assert unwritable.returncode == 1
    assert "No such file or directory" in unwritable.stderr
    full = run("--text", TEXT, "--output", "/dev/full")
    assert full.returncode == 1
    assert "Traceback" not in full.stderr


def _many(path: Path, number: int) -> Path:
    lines = (json.dumps({"id": str(n), "text": f"Day {n}. {TEXT}"}) for n in range(number))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_interrupted_run_keeps_what_is_done_and_resumes(run: Run, tmp_path: Path) -> None:
    source, output = _many(tmp_path / "many.jsonl", 1000), tmp_path / "out.jsonl"
    process = subprocess.Popen([*CLARIO, str(source), "--output", str(output)], stderr=subprocess.PIPE)
    partial = tmp_path / "out.jsonl.partial"
    deadline = time.monotonic() + 30
    while (not partial.exists() or partial.stat().st_size < 20_000) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"--resume" in stderr
    assert b"Traceback" not in stderr
    assert not output.exists()
    done = partial.read_bytes().count(b"\n")
    assert 0 < done < 1000

    refused = run(source, "--output", output)
    assert refused.returncode == 1
    assert "continue it with --resume" in refused.stderr

    partial.write_bytes(partial.read_bytes() + b'{"id":"half')  # as a kill -9 may leave it
    resumed = run(source, "--output", output, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert [line["id"] for line in answers(output.read_text())] == [str(n) for n in range(1000)]
    assert not partial.exists()
    straight = run(source, "--output", tmp_path / "straight.jsonl")
    assert straight.returncode == 0
    assert output.read_bytes() == (tmp_path / "straight.jsonl").read_bytes()


def test_resuming_refuses_what_is_not_its_own(run: Run, tmp_path: Path) -> None:
    source = _many(tmp_path / "many.jsonl", 3)
    other = tmp_path / "other.jsonl"
    other.write_text('{"some": "thing"}\n')
    done = run(source, "--output", other, "--resume")
    assert done.returncode == 1
    assert "not an Extraction" in done.stderr
    assert other.read_text() == '{"some": "thing"}\n'


def test_a_closed_pipe_is_no_error_message(run: Run, tmp_path: Path) -> None:
    source = _many(tmp_path / "many.jsonl", 300)
    command = " ".join(
        ["exec", sys.executable, "-c", "'from clario.cli import main; main()'", "extract", str(source)]
    )
    done = subprocess.run(["bash", "-c", f"{command} | head -n 1"], capture_output=True, timeout=60)
    assert done.stderr == b""
    assert len(done.stdout.splitlines()) == 1


def test_a_terminal_gets_a_table_and_a_progress_bar(run: Run, tmp_path: Path) -> None:
    source = _many(tmp_path / "many.jsonl", 25)
    shown = _on_a_terminal(["--text", TEXT + " \x1b[31mred"])
    assert "Xerostomia" in shown
    assert "\x1b[31mred" not in shown  # escape sequences of a diary stay out of the terminal
    progress = _on_a_terminal([str(source), "--output", str(tmp_path / "o.jsonl")])
    assert "25/25" in progress


def _on_a_terminal(args: list[str]) -> str:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [*CLARIO, *args])
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown.decode()


def test_no_patient_text_in_messages_of_failure(run: Run, tmp_path: Path) -> None:
    secret = "Sekretwort"
    (tmp_path / "a.jsonl").write_text(
        f'{{"id": "1", "text": "{secret}\n{{"id": "2", "text": "{secret} \\ud800"}}\n'
    )
    done = run("a.jsonl")
    assert done.returncode == 1
    assert secret not in done.stderr
