"""`clario journal`: diaries kept and read. Corrections, and files and plots, have rooms of their own beside it."""

import datetime as dt
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clario.cli.console import Shape, console, one_line, printable, standard_output, tell

if TYPE_CHECKING:
    from clario.journal.records import Entry, View
    from clario.journal.store import Journal
    from clario.journal.worker import Processed

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
ADD_EPILOG = """
**Examples**

clario journal add "Mouth so dry I can't swallow toast."

clario journal add < today.txt

clario journal add --recorded 2026-11-20     opens your editor
"""
PROCESS_EPILOG = """
**Examples**

clario journal process                       read what is new; the model runs here

CLARIO_EXTRACTOR_URL=http://127.0.0.1:11435 clario journal process --watch

clario journal process --model ollama:gemma3:4b --fallback lexicon

clario journal process --changed             read anew what another model or HPO release had read
"""
app = typer.Typer(
    help="Keep diaries in one file of yours, have them read, correct what was found. Not a diagnosis.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
File = Annotated[
    Path | None, typer.Option("--file", envvar="CLARIO_JOURNAL", help="The journal. Default: in your data folder.")
]
Encrypted = Annotated[
    bool, typer.Option("--encrypted", help="Encrypt a new journal; its key is in the system's keyring, or yours.")
]
Annotator = Annotated[str, typer.Option(help="Whose corrections.")]
Format = Annotated[Shape | None, typer.Option(help="Default: table on a terminal, else JSON.")]


@contextmanager
def opened(file: Path | None, *, encrypted: bool = False, there: bool = True) -> "Iterator[Journal]":
    """The journal of a command.

    Args:
        there: whether it must be there already; a mistyped name makes no empty journal.
    """
    from clario.errors import InputError
    from clario.journal.database import default_path
    from clario.journal.keys import key_of
    from clario.journal.store import Journal

    path = file or default_path()
    if there and not path.exists():
        raise InputError(f"there is no journal at {path}; 'clario journal add' begins one")
    with Journal(path, key=key_of(path, _ask, encrypted=encrypted)) as journal:
        yield journal


def _ask(new: bool) -> str:
    from clario.errors import InputError

    if not sys.stdin.isatty():
        raise InputError("the journal is encrypted and its key is in no keyring here; run it in a terminal")
    key: str = typer.prompt("Key of the journal", hide_input=True, confirmation_prompt=new, err=True)
    return key


def wants_table(format: Shape | None) -> bool:
    """Whether a person looks, or asked for it so."""
    return (format or (Shape.TABLE if sys.stdout.isatty() else Shape.JSON)) is Shape.TABLE


@app.command(epilog=ADD_EPILOG)
def add(
    text: Annotated[
        str | None, typer.Argument(help="The diary. Default: the standard input, or your editor.")
    ] = None,
    recorded: Annotated[str | None, typer.Option(help="Day it was written (2026-11-25). Default: today.")] = None,
    file: File = None,
    encrypted: Encrypted = False,
) -> None:
    """Keep a diary; it is read when 'clario journal process' runs."""
    from clario.errors import InputError
    from clario.extraction.dates import parse_recorded

    try:
        day = parse_recorded(recorded) if recorded else dt.date.today()
    except InputError as error:
        raise typer.BadParameter(one_line(str(error)), param_hint="--recorded") from None
    with opened(file, encrypted=encrypted, there=False) as journal:
        if text is None and sys.stdin is not None and sys.stdin.isatty():
            entry = _edited(journal, day)
        else:
            entry = journal.add(_given(text), day)
    typer.echo(entry.id)


def _given(text: str | None) -> str:
    from clario import reading
    from clario.errors import InputError
    from clario.pipeline import Diary

    if text is not None and text != reading.STDIN:
        return text
    for item in reading.diaries([reading.STDIN]):
        if isinstance(item, Diary):
            return item.text
        raise InputError(item.error)
    raise InputError("nothing stands on the standard input")


def _edited(journal: "Journal", day: dt.date) -> "Entry":
    """An entry written in the user's editor: in a file beside the journal, which stays if it cannot be kept."""
    from clario.errors import InputError

    path = journal.path.with_name(f".entry-{os.urandom(4).hex()}.txt")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode == 0
        text = path.read_text("utf-8") if done else ""
        if text.strip():
            entry = journal.add(text, day)
    except BaseException:
        with suppress(OSError):
            if path.stat().st_size:
                tell(f"what you wrote is in {path}")
            else:
                path.unlink()
        raise
    with suppress(OSError):
        path.unlink()
    if not text.strip():
        raise InputError("nothing was written; the journal is as it was")
    return entry


@app.command("list")
def list_(file: File = None, format: Format = None) -> None:
    """Show all entries, and where they stand."""
    with opened(file) as journal:
        entries = journal.entries()
    if not wants_table(format):
        for entry in entries:
            standard_output().write(json.dumps(_plain(entry), ensure_ascii=False) + "\n")
        return
    from rich.table import Table

    table = Table("id", "written", "state", "found", "text", box=None, pad_edge=False)
    for entry in entries:
        day = str(entry.recorded or "-")
        table.add_row(one_line(entry.id), day, entry.state.value, str(entry.entities), one_line(entry.text)[:60])
    console().print(table)


def _plain(entry: "Entry") -> dict[str, Any]:
    return asdict(entry) | {
        "recorded": entry.recorded.isoformat() if entry.recorded else None,
        "created": entry.created.isoformat(),
    }


@app.command()
def show(
    id: Annotated[str, typer.Argument(help="The entry.")],
    annotator: Annotator = "me",
    blind: Annotated[bool, typer.Option("--blind", help="Leave out what the model proposes.")] = False,
    history: Annotated[bool, typer.Option("--history", help="What was done to it, instead.")] = False,
    file: File = None,
    format: Format = None,
) -> None:
    """Show an entry with what was found in it and what was decided about that."""
    with opened(file) as journal:
        entry, steps = journal.entry(id), journal.history(id, annotator)
        view = journal.effective(id, annotator, blind=blind)
    if history:
        for step in steps:
            typer.echo(f"{step.version}\t{step.made:%Y-%m-%d %H:%M:%S}\t{step.action}\t{step.item}")
    elif wants_table(format):
        _show(entry, view)
    else:
        shown = _plain(entry) | view.model_dump(mode="json")
        standard_output().write(json.dumps(shown, ensure_ascii=False) + "\n")


def _show(entry: "Entry", view: "View") -> None:
    from rich.table import Table

    from clario.cli import display

    out = console()
    display.show(view.extraction(), entry.text, out)
    table = Table("item", "decided", "words", "term", box=None, pad_edge=False)
    for item in view.items:
        term = item.entity.hpo_id or "-"
        table.add_row(item.key, item.status.value, one_line(item.entity.name_colloquial), term)
    if view.items:
        out.print(table)
    state = f"{entry.state.value}{f' ({entry.error})' if entry.error else ''}"
    out.print(one_line(f"Version {view.version} of {view.annotator}'s corrections; {state}. Not a diagnosis."))


@app.command(epilog=PROCESS_EPILOG)
def process(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Read these anew.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and read what comes.")] = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Read anew what another model or release had read.")
    ] = False,
    fell_back: Annotated[
        bool, typer.Option("--fell-back", help="Read anew what the fallback had to read.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Try again what was given up.")] = False,
    model: Annotated[
        str | None, typer.Option(help="A model of 'clario models', or a sidecar's URL. Default: see the manual.")
    ] = None,
    fallback: Annotated[
        str, typer.Option(help="Who reads where that one does not answer; none: nobody.")
    ] = "mini",
    tries: Annotated[int, typer.Option(min=1, help="How often a server is asked about an entry.")] = 5,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a server may take for an answer.")] = 60.0,
    file: File = None,
) -> None:
    """Have the entries read that were not yet: by the sidecar of CLARIO_EXTRACTOR_URL, or by a model.

    A server that is away or slow is asked again after a while, and then the fallback reads. Corrections stay.
    """
    from clario.chat.server import Patience
    from clario.journal.worker import Settings, Worker

    settings = Settings(
        model=model, fallback=None if fallback == "none" else fallback, timeout=timeout,
        patience=Patience(tries=tries),
    )  # fmt: skip
    with opened(file) as journal:
        worker = Worker(journal, settings)
        _queue(worker, ids or [], changed=changed, fell_back=fell_back, failed=failed)
        try:
            lost = _told(worker.watch() if watch else worker.drain())
        except KeyboardInterrupt:
            tell("interrupted; what was not read is still queued")
            raise typer.Exit(INTERRUPTED) from None
    if lost:
        tell(f"{lost} entries could not be read; they are kept: 'clario journal process --failed' tries again")
        raise typer.Exit(1)


def _queue(worker: Any, ids: list[str], *, changed: bool, fell_back: bool, failed: bool) -> None:
    journal = worker.journal
    again = [*ids, *(journal.fell_back() if fell_back else ()), *(journal.failed() if failed else ())]
    if changed:
        again += journal.outdated(*worker.made_with())
    journal.again(dict.fromkeys(again))


def _told(results: "Iterable[Processed]") -> int:
    """Say how each entry went; the number of those that were given up."""
    from clario.journal.worker import Outcome

    lost = 0
    for done in results:
        lost += done.outcome is Outcome.FAILED
        if done.error:
            tell(f"entry {done.entry}: {done.outcome.value}: {done.error}")
        elif done.outcome is Outcome.DONE:
            typer.echo(f"{printable(done.entry)}\t{done.entities}")
    return lost


@app.command()
def delete(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The entries.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    file: File = None,
) -> None:
    """Delete entries with all that was found and decided. It cannot be taken back."""
    with opened(file) as journal:
        for id in ids:
            journal.entry(id)
        if not yes and not (sys.stdin.isatty() and typer.confirm(f"Delete {len(ids)} entries for good?")):
            tell("nothing was deleted; --yes does it without asking")
            raise typer.Exit(1)
        for id in ids:
            journal.delete(id)
