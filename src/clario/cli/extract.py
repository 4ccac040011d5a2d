"""`clario extract`: diaries in, HPO terms out."""

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clario.cli.console import check_release, console, one_line, standard_output, tell

if TYPE_CHECKING:
    from datetime import date

    from clario.entities import Extraction, Failure
    from clario.pipeline import Clario, Diary
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
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue an --output file of jsonl: an id that is in it is done, and stays as it is even if its "
            "text or the options have changed since. Model and release must be those it was made with.",
        ),
    ] = False,
) -> None:
    """Find what patients tell in their diaries, and name it in HPO terms."""
    shape = _shape(files, text, format, output, resume)
    _keep_inputs(files or [], output)
    day = _day(recorded)
    clario = _clario(model, release)
    inputs, total = _inputs(files or [], text, day)
    made_with = (clario.model, clario.resolver.release) if resume else None
    try:
        with _sink(shape, output, made_with) as (sink, before):
            results = _results(clario, sink, _without(inputs, before))
            with _progress(results, total, before.total()) as watched:
                failed = _write(watched, sink, min_confidence)
    except KeyboardInterrupt:
        tell(f"interrupted{_kept(shape, output)}")
        raise typer.Exit(INTERRUPTED) from None
    if failed:
        tell(f"{failed} input(s) failed; the others are done")
        raise typer.Exit(1)


def _kept(shape: Format, output: Path | None) -> str:
    from clario.writing import partial

    if output is None or shape is not Format.JSONL or not partial(output).exists():
        return ""
    return "; what is done is kept, continue with --resume"


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


def _keep_inputs(files: list[str], output: Path | None) -> None:
    """Refuse to write over what is read, under any of its names."""
    from clario.reading import overwritten
    from clario.writing import partial

    for target in (output, partial(output)) if output else ():
        if (path := overwritten(target, files)) is not None:
            name = "on the standard input" if path == "-" else path
            raise typer.BadParameter(one_line(f"--output would overwrite the input {name}"))


def _day(recorded: str | None) -> "date | None":
    from clario.errors import InputError
    from clario.extraction.dates import parse_recorded

    try:
        return parse_recorded(recorded) if recorded else None
    except InputError as error:
        raise typer.BadParameter(one_line(str(error)), param_hint="--recorded") from None


def _clario(model: str | None, release: str | None) -> "Clario":
    from clario.errors import ModelError
    from clario.extraction.base import available
    from clario.pipeline import Clario

    check_release(release)
    try:
        return Clario(model, release)
    except ModelError as error:
        if model is None or model in available():  # there, but it cannot be loaded
            raise
        raise typer.BadParameter(one_line(str(error)), param_hint="--model") from None


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
def _sink(
    shape: Format, output: Path | None, made_with: tuple[str, str] | None
) -> "Iterator[tuple[Writer, Counter[str]]]":
    """Where results go, and the ids that are there already."""
    from clario import writing

    if output:
        with writing.opened(output, shape, made_with=made_with) as opened:
            yield opened
        return
    if shape is Format.TABLE:
        from clario.cli.display import Display

        sink: Writer = Display()
    else:
        sink = writing.writer(shape, standard_output())
    yield sink, Counter()
    sink.close()


def _results(
    clario: "Clario", sink: "Writer", inputs: "Iterable[Diary | Failure]"
) -> "Iterable[Extraction | Failure]":
    """What the inputs hold, past a display that wants their texts."""
    follow = getattr(sink, "follow", None)
    return follow(inputs, clario.extract_many) if follow else clario.extract_many(inputs)


@contextmanager
def _progress(
    results: "Iterable[Extraction | Failure]", total: int | None, completed: int
) -> "Iterator[Iterable[Extraction | Failure]]":
    """A progress bar on the standard error, for many texts and a person who looks."""
    if not sys.stderr.isatty() or (total is not None and total < _PROGRESS_FROM):
        yield results
        return
    from rich.progress import MofNCompleteColumn, Progress

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console(stderr=True)) as bar:
        task = bar.add_task("diaries", total=total, completed=completed)
        yield _counted(results, lambda: bar.advance(task))


def _counted(
    results: "Iterable[Extraction | Failure]", advance: Callable[[], None]
) -> "Iterator[Extraction | Failure]":
    for result in results:
        yield result
        advance()


def _write(results: "Iterable[Extraction | Failure]", sink: "Writer", min_confidence: float) -> int:
    """Write each result as it comes; name each failure. The number of failures."""
    from clario.entities import Failure

    failed = 0
    for result in results:
        if isinstance(result, Failure):
            failed += 1
            tell(_named(result))
        else:
            with _unbroken():
                sink.write(_confident(result, min_confidence))
    return failed


@contextmanager
def _unbroken() -> Iterator[None]:
    """Hold Ctrl-C back while a result is written: Pydantic would turn it into an error of its own."""
    pressed = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _named(failure: "Failure") -> str:
    return failure.error if failure.id in failure.error else f"{failure.id}: {failure.error}"


def _confident(extraction: "Extraction", at_least: float) -> "Extraction":
    kept = tuple(entity for entity in extraction.entities if entity.confidence >= at_least)
    return extraction.model_copy(update={"entities": kept})
