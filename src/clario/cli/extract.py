"""`clario extract`: diaries in, HPO terms out."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from datetime import date

    from clario.entities import Extraction, Failure
    from clario.pipeline import Diary
    from clario.writing import Writer

EPILOG = """
**Examples**

clario extract --text "Mouth so dry I can't swallow toast. No fever."

clario extract diary.txt notes.csv

clario extract diaries.jsonl --output out.jsonl --resume

cat diary.txt | clario extract - --format csv
"""

_PROGRESS_FROM = 21  # texts
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Format(StrEnum):
    """How results are shown."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def extract(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Diaries: .txt (one a file), .jsonl (id, text), .csv (a text column), - (standard input)."
        ),
    ] = None,
    text: Annotated[str | None, typer.Option(help="A diary given here.")] = None,
    model: Annotated[str | None, typer.Option(help="A model of 'clario models'.")] = None,
    release: Annotated[str | None, typer.Option(help="An HPO release of 'clario ontology list'.")] = None,
    format: Annotated[
        Format | None, typer.Option(help="Default: table on a terminal, else one Extraction a line.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write here, not to the standard output.")] = None,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Leave out entities below this.")] = 0.0,
    recorded: Annotated[
        str | None,
        typer.Option(help="Day the diaries were written (2026-11-25), for 'yesterday' and the like."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted --output file.")] = False,
) -> None:
    """Find what patients tell in their diaries, and name it in HPO terms."""
    shape = _shape(files, text, format, output, resume)
    from clario.extraction.dates import parse_recorded
    from clario.pipeline import Clario

    day = parse_recorded(recorded) if recorded else None
    clario = Clario(model, release)
    inputs, total = _inputs(files or [], text, day)
    before = Counter[str]()
    if output and resume:
        from clario.writing import done

        before = done(output, clario.model, clario.resolver.release)
    try:
        with _sink(shape, output, resume) as sink:
            todo = clario.extract_many(_seen(sink, _without(inputs, before)))
            with _progress(todo, total, before.total()) as results:
                failed = _run(results, sink, min_confidence)
    except KeyboardInterrupt:
        kept = "; what is done is kept, continue with --resume" if output and shape is Format.JSONL else ""
        typer.secho(f"clario: interrupted{kept}", fg="red", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if failed:
        typer.secho(f"clario: {failed} input(s) failed; the others are done", fg="red", err=True)
        raise typer.Exit(1)


def _shape(
    files: list[str] | None, text: str | None, format: Format | None, output: Path | None, resume: bool
) -> Format:
    if not files and text is None:
        raise typer.BadParameter("name files, or give a diary with --text, or pipe one in with -")
    if files and text is not None:
        raise typer.BadParameter("give files or --text, not both")
    shape = format or (Format.TABLE if output is None and sys.stdout.isatty() else Format.JSONL)
    if resume and (output is None or shape is not Format.JSONL):
        raise typer.BadParameter("--resume continues an --output file of --format jsonl")
    if output and shape is Format.TABLE:
        raise typer.BadParameter("a table is for the terminal; give --output with json, jsonl or csv")
    return shape


def _inputs(
    files: list[str], text: str | None, day: "date | None"
) -> "tuple[Iterable[Diary | Failure], int | None]":
    from clario import reading
    from clario.pipeline import Diary

    if text is not None:
        return [Diary("text", text, day)], 1
    return reading.diaries(files, day), reading.count(files)


def _without(inputs: "Iterable[Diary | Failure]", before: Counter[str]) -> "Iterator[Diary | Failure]":
    """The inputs that an interrupted run has not done yet."""
    left = before.copy()
    for item in inputs:
        if left[item.id] > 0:
            left[item.id] -= 1
        else:
            yield item


@contextmanager
def _sink(shape: Format, output: Path | None, resume: bool) -> "Iterator[Writer]":
    from clario import writing

    if output:
        with writing.opened(output, shape, resume=resume) as sink:
            yield sink
        return
    if shape is Format.TABLE:
        from clario.cli.display import Display

        sink = Display()
    else:
        sink = writing.writer(shape, sys.stdout)
    yield sink
    sink.close()


def _seen(sink: "Writer", inputs: "Iterator[Diary | Failure]") -> "Iterator[Diary | Failure]":
    """The inputs, past a display that wants their texts."""
    remember = getattr(sink, "remember", None)
    return remember(inputs) if remember else inputs


@contextmanager
def _progress(
    results: "Iterable[Extraction | Failure]", total: int | None, completed: int
) -> "Iterator[Iterable[Extraction | Failure]]":
    """A progress bar on the standard error, for many texts and a person who looks."""
    if not sys.stderr.isatty() or (total is not None and total < _PROGRESS_FROM):
        yield results
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("diaries", total=total, completed=completed)
        yield _counted(results, lambda: bar.advance(task))


def _counted(
    results: "Iterable[Extraction | Failure]", advance: Callable[[], None]
) -> "Iterator[Extraction | Failure]":
    for result in results:
        yield result
        advance()


def _run(results: "Iterable[Extraction | Failure]", sink: "Writer", min_confidence: float) -> int:
    """Write each result as it comes; name each failure. The number of failures."""
    from clario.entities import Failure

    failed = 0
    for result in results:
        if isinstance(result, Failure):
            failed += 1
            typer.secho(f"clario: {_named(result)}", fg="red", err=True)
        else:
            sink.write(_confident(result, min_confidence))
    return failed


def _named(failure: "Failure") -> str:
    return failure.error if failure.id in failure.error else f"{failure.id}: {failure.error}"


def _confident(extraction: "Extraction", at_least: float) -> "Extraction":
    kept = tuple(entity for entity in extraction.entities if entity.confidence >= at_least)
    return extraction.model_copy(update={"entities": kept})
