"""The command line: thin commands over the library.

Exit codes: 0 done, 1 an input failed, 2 bad use, 130 interrupted, 141 nobody reads the output on.
Each command imports what it needs when it runs, so that `clario --help` answers at once.
"""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import IO, Any

import typer

from clario.cli import (
    check,
    corpus,
    evaluate,
    export,
    export_model,
    extract,
    journal,
    journal_correct,
    journal_files,
    lookup,
    ontology,
    serve,
    train,
)
from clario.cli.console import tell
from clario.errors import ClarioError

NOBODY_READS = 141  # 128 + SIGPIPE, as shells have it

app = typer.Typer(
    help="Turn what patients write in their own words into Human Phenotype Ontology terms. Not a diagnosis.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # A traceback with local variables would print patient text.
    pretty_exceptions_enable=False,
)
app.command("extract", epilog=extract.EPILOG)(extract.extract)
app.command("export", epilog=export.EPILOG)(export.export)
app.command("resolve", epilog=lookup.RESOLVE_EPILOG)(lookup.resolve)
app.command("models")(lookup.models)
app.command("schema")(lookup.schema)
app.command("evaluate", epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.add_typer(ontology.app, name="ontology")
corpus.app.command("check", epilog=check.EPILOG)(check.check)
train.app.command("export", epilog=export_model.EPILOG)(export_model.export)
app.add_typer(train.app, name="train")
app.add_typer(corpus.app, name="corpus")
journal.app.command("correct", epilog=journal_correct.EPILOG)(journal_correct.correct)
journal.app.command("finish")(journal_files.finish)
journal.app.command("agreement")(journal_correct.agreement)
journal.app.command("import", epilog=journal_files.IMPORT_EPILOG)(journal_files.import_)
journal.app.command("export", epilog=journal_files.EXPORT_EPILOG)(journal_files.export)
journal.app.command("timeline", epilog=journal_files.TIMELINE_EPILOG)(journal_files.timeline)
app.add_typer(journal.app, name="journal")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        from clario import __version__

        typer.echo(f"clario {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; errors that a user can mend become one line on the standard error."""
    _prepare_streams()
    streams, before = (sys.stdout, sys.stderr), _standing()
    code: str | int | None = 1
    try:
        code = _run()
        if _standing() != before:
            code = NOBODY_READS
        sys.stdout.flush()
    except BrokenPipeError:
        code = NOBODY_READS
    except ClarioError as error:
        _try_to_tell(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _try_to_tell(f"{where}{error.strerror or error}")
        code = 1
    for stream in streams:
        _empty(stream)
    sys.exit(code)


def _run() -> str | int | None:
    try:
        app()
    except SystemExit as stop:
        return stop.code
    return 0


def _prepare_streams() -> None:
    """Streams that are there and take any character, whatever the shell and the locale say."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    if sys.stdout is None:
        # Holds the number 1, so that no file gets it that is opened later.
        os.open(os.devnull, os.O_RDWR)
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  as long as the process


class _Closed(io.TextIOBase):
    """A standard output that the caller has closed: only who needs it fails."""

    def write(self, _: str, /) -> int:
        raise OSError(errno.EBADF, "the standard output is closed")


def _standing() -> tuple[object, ...]:
    """What the standard output is. Where nobody reads it, Typer and Rich exchange it, and exit with 1."""
    with suppress(OSError):
        status = os.fstat(sys.stdout.fileno())
        return sys.stdout, status.st_dev, status.st_ino
    return (sys.stdout,)


def _try_to_tell(message: str) -> None:
    with suppress(OSError):
        tell(message)


def _empty(stream: IO[Any]) -> None:
    """Drop what a stream cannot get rid of, else Python complains about it at its end."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
