"""`clario extract` as people and scripts use it: real files, real processes, bad input."""

import csv
import io
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from clario import pipeline, writing
from clario.cli import main
from clario.extraction import base

CLARIO = [sys.executable, "-c", "from clario.cli import main; main()", "extract", "--model", "lexicon"]
TEXT = "Mouth so dry today. No fever."


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True, scope="module")
def _made_once() -> Iterator[None]:
    """Make an extractor once for all tests: it takes a third of a second, and nothing alters it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "Clario", cache(pipeline.Clario))
        yield


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in this process (starting one takes most of a second), in a folder of its own."""

    def call(*args: object, stdin: bytes = b"", command: str = "extract") -> subprocess.CompletedProcess[str]:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(base, "DEFAULT", "lexicon")  # these tests are of the command, not of the model
            patch.setattr(sys, "argv", ["clario", *command.split(), *map(str, args)])
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
        ("latin.csv", b"text\n\xfcbel\n", "row 1 (line 2): not UTF-8"),
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
        ["--text", "x", "--model", "nonsense"],
        ["--text", "x", "--release", "1999-01-01"],
        ["--text", "x", "--release", "newest"],
        ["--text", "x", "--recorded", "yesterday", "--output", "o.jsonl"],
        ["--nonsense"],
    ],
)
def test_bad_use_is_exit_code_2(run: Run, args: list[str], tmp_path: Path) -> None:
    assert run(*args).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_release_that_is_not_there_is_bad_use_and_a_damaged_one_is_not(run: Run, home: Path) -> None:
    for command, *args in (
        ["extract", "--text", "x", "--release"],
        ["resolve", "x", "--release"],
        ["ontology use"],
    ):
        assert run(*args, "1999-01-01", command=command).returncode == 2
    folder = home / "data" / "ontology" / "1999-01-01"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    assert run("1999-01-01", command="ontology use").returncode == 1


def test_the_inputs_are_never_written_over(run: Run, tmp_path: Path) -> None:
    source, link = tmp_path / "d.jsonl", tmp_path / "link.jsonl"
    source.write_text('{"text": "fever"}\n')
    link.symlink_to(source)
    (tmp_path / "o.csv.partial").symlink_to(source)
    before = sorted(tmp_path.iterdir())
    for given, output in [(source, source), (source, link), (link, source), (source, "o.csv")]:
        for more in ([], ["--format", "csv"], ["--resume"]):
            done = run("other.txt", given, "--output", output, *more)
            assert (done.returncode, "overwrite the input" in done.stderr) == (2, True), (given, output, more)
    with source.open() as file:
        piped = subprocess.run([*CLARIO, "-", "--output", link], stdin=file, capture_output=True, check=False)
    assert piped.returncode == 2
    assert source.read_text() == '{"text": "fever"}\n'
    assert sorted(tmp_path.iterdir()) == before


def test_ids_that_are_no_unicode_lose_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"id,text\nJos\xe9,dry mouth\nb,no fever\n")
    (tmp_path / "d.jsonl").write_text('{"id": "\\ud800", "text": "dry mouth"}\n')
    for format in ("jsonl", "json", "csv", "table"):
        done = run("d.csv", "d.jsonl", "--format", format)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("Xerostomia") >= 2


def test_an_output_keeps_its_permissions_and_its_link(run: Run, tmp_path: Path) -> None:
    new, old, link = tmp_path / "new.jsonl", tmp_path / "far" / "old.jsonl", tmp_path / "link.jsonl"
    old.parent.mkdir()
    old.write_text("")
    old.chmod(0o640)
    link.symlink_to(old)
    mask = os.umask(0o027)
    try:
        assert run("--text", TEXT, "--output", link).returncode == 0
        assert run("--text", TEXT, "--output", new).returncode == 0
        assert run("--text", TEXT, "--output", link, "--resume").returncode == 0
    finally:
        os.umask(mask)
    assert link.is_symlink()
    assert len(answers(old.read_text())) == 1
    assert [stat.S_IMODE(path.stat().st_mode) for path in (old, new)] == [0o640, 0o640]
    assert sorted(tmp_path.rglob("*.partial")) == []


def test_two_runs_do_not_write_one_file(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    with writing.opened(output, "jsonl"):
        assert stat.S_IMODE(writing.partial(output).stat().st_mode) == 0o600
        for more in ([], ["--resume"], ["--format", "json"]):
            other = run("--text", TEXT, "--output", output, *more)
            assert (other.returncode, "another run is writing it" in other.stderr) == (1, True)
    assert output.read_text() == ""


@pytest.mark.parametrize("format", ["json", "csv", "jsonl"])
def test_only_json_lines_are_kept_for_the_next_run(run: Run, tmp_path: Path, format: str) -> None:
    source, output = _many(tmp_path / "many.jsonl", 40), tmp_path / "out"
    interrupted = _interrupted(run, source, "--output", output, "--format", format)
    assert interrupted.returncode == 130
    assert ("--resume" in interrupted.stderr) is (format == "jsonl")
    assert writing.partial(output).stat().st_size > 0
    again = run(source, "--output", output, "--format", format)
    assert again.returncode == (1 if format == "jsonl" else 0)
    assert writing.partial(output).exists() is (format == "jsonl")


def _interrupted(run: Run, *args: object) -> subprocess.CompletedProcess[str]:
    """Run, and press Ctrl-C at the 35th result."""
    with pytest.MonkeyPatch.context() as patch:
        made, seen = pipeline.Clario(), 0
        straight = made.extract_many

        def stopped(diaries: Iterator[pipeline.Diary]) -> Iterator[object]:
            nonlocal seen
            for result in straight(diaries):
                seen += 1
                if seen == 35:
                    raise KeyboardInterrupt
                yield result

        patch.setattr(made, "extract_many", stopped)
        patch.setattr(pipeline, "Clario", lambda *_: made)
        return run(*args)


def test_markup_and_escapes_of_input_are_shown_as_they_are(run: Run, tmp_path: Path) -> None:
    done = run("[/b]", "[red]\x1b]0;x\x07", ":smile:", "--format", "table", command="resolve")
    assert (done.returncode, done.stderr) == (1, "")
    assert "[/b]" in done.stdout
    assert "[red]\ufffd]0;x\ufffd" in done.stdout
    assert ":smile:" in done.stdout
    ids = ["[/x]", "\x1b[2J", "\u202eevil", "a\nclario: all is well"]
    lines = [json.dumps({"id": i, "text": "dry [/mouth] :smile:\r\n\tfever\x9b"}) for i in ids]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    shown = run("d.jsonl", "--format", "table")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert not {"\x1b", "\u202e", "\x9b", "\t"} & set(shown.stdout)
    assert "[/x]" in shown.stdout
    assert "dry [/mouth] :smile:" in shown.stdout
    assert "a clario: all is well" in shown.stdout
    failed = run("\x1b[31m.txt", "a\nclario: fine.txt")
    assert "\x1b" not in failed.stderr
    assert len(failed.stderr.splitlines()) == 3


def test_a_text_is_shown_with_its_own_result(run: Run, tmp_path: Path) -> None:
    texts = ["\\ud800", "fever", "cough"]  # all of one id, and the first of them fails
    lines = ["{", *(f'{{"id": 1, "text": "{text}"}}' for text in texts)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    done = run("d.jsonl", "--format", "table")
    assert done.returncode == 1
    texts = [line for line in done.stdout.splitlines() if line.rstrip() in {"fever", "cough"}]
    assert [line.rstrip() for line in texts] == ["fever", "cough"]


def test_streams_that_are_closed_full_or_ascii_are_no_traceback(tmp_path: Path) -> None:
    """Exit code and number of lines on the standard error; bash starts them all at once."""
    _many(tmp_path / "many.jsonl", 300)
    cases = {
        f"extract --text '{TEXT}' >&-": (1, 1),
        f"extract --text '{TEXT}' --format table > /dev/full": (1, 1),
        f"extract --text '{TEXT}' --output o.jsonl >&- 2>&- <&-": (0, 0),
        "extract many.jsonl --format table | true": (141, 0),
        "--help | true": (141, 0),
    }
    python = f"{sys.executable} -c 'from clario.cli import main; main()'"
    running = [
        subprocess.Popen(
            ["bash", "-c", f"{python} {case}; exit ${{PIPESTATUS[0]}}"],
            cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for case in cases
    ]  # fmt: skip
    found = [(process.communicate(timeout=60)[1], process.returncode) for process in running]
    assert [(code, len(err.splitlines())) for err, code in found] == list(cases.values()), found
    assert len(answers((tmp_path / "o.jsonl").read_text())) == 1


def test_any_character_can_be_printed_whatever_the_locale(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "d.jsonl").write_text('{"id": "möglich", "text": "dry mouth"}\n')
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back at the end
    for format in ("table", "csv"):
        sys.stdout = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "argv", ["clario", "extract", str(tmp_path / "d.jsonl"), "--format", format])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
        assert "möglich" in raw.getvalue().decode()


def test_errors_of_the_set_up_are_exit_code_1(run: Run, tmp_path: Path) -> None:
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
        [
            "exec",
            sys.executable,
            "-c",
            "'from clario.cli import main; main()'",
            "extract",
            "--model",
            "lexicon",
            str(source),
        ]
    )
    done = subprocess.run(
        ["bash", "-c", f"({command}) | head -n 1; exit ${{PIPESTATUS[0]}}"], capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (141, b"")
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
