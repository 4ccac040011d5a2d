"""`clario evaluate`: score a model, or predictions, against gold diaries."""

import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clario.cli.console import Shape, console

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clario.evaluation.read import GoldDiary
    from clario.evaluation.run import Evaluation, Source

EPILOG = """
**Examples**

clario evaluate diaries.jsonl --model lexicon --split splits.json --part validation --output runs/lexicon

clario evaluate diaries.jsonl --predictions other.jsonl --against lexicon --format json

Predictions are one JSON object a line: an Extraction as 'clario extract --format jsonl' writes it, or
{"id", "entities": [{"hpo_id"}]} where a tool gives ids only, or {"id", "raw"} with a chat model's output.
"""


class Part(StrEnum):
    """A part of a split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def evaluate(
    gold: Annotated[Path, typer.Argument(help="Annotated diaries, JSON Lines.")],
    model: Annotated[str | None, typer.Option(help="A model of 'clario models', run now.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Outputs to score, JSON Lines.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Predictions or a model to test the difference against.")
    ] = None,
    split: Annotated[Path | None, typer.Option(help="A split file; with --part.")] = None,
    part: Annotated[Part | None, typer.Option(help="The part of the split to score.")] = None,
    output: Annotated[Path | None, typer.Option(help="A folder for the report, new or of an earlier one.")] = None,
    format: Annotated[Shape, typer.Option(help="How to show the figures here.")] = Shape.TABLE,
) -> None:
    """Score a model or predictions: schema, types, names, HPO ids, mentions, assertions, calibration."""
    if (model is None) == (predictions is None):
        raise typer.BadParameter("give either --model or --predictions")
    if (split is None) != (part is None):
        raise typer.BadParameter("--split and --part go together")
    from clario.evaluation import report, run

    command = shlex.join(["clario", *sys.argv[1:]])
    if output:
        report.claim(output)  # before the work, not after it
    chosen = (split, part.value) if split and part else None
    other = _source(against) if against else None
    evaluation = run.evaluate(gold, run.Source(model, predictions), other, chosen, watch=_progress)
    result = report.write(evaluation, output, command) if output else report.record(evaluation, command)
    if format is Shape.JSON:
        typer.echo(json.dumps(result, ensure_ascii=False, indent=1))
    else:
        _show(evaluation, output)


def _progress(diaries: "Iterable[GoldDiary]") -> "Iterable[GoldDiary]":
    """A progress bar on the standard error for a person who looks: a large model takes its time."""
    from rich.progress import track

    return track(diaries, "reading diaries", console=console(stderr=True), disable=not sys.stderr.isatty())


def _source(name: str) -> "Source":
    """A file where there is one of that name, else a model."""
    from clario.evaluation.run import Source

    path = Path(name)
    return Source(file=path) if path.suffix == ".jsonl" or path.is_file() else Source(model=name)


def _show(evaluation: "Evaluation", output: Path | None) -> None:
    from rich.table import Table

    from clario.evaluation import report
    from clario.evaluation.figures import FIGURES

    table = Table(title=f"{evaluation.documents:,} diaries, HPO {evaluation.hpo_release}")
    table.add_column("")
    for scored in evaluation.scored:
        table.add_column(scored.system.name)
    if evaluation.differences:
        table.add_column("difference")
        table.add_column("p")
    for name in (name for name, figure in FIGURES.items() if figure.headline):
        cells = [report.cell(scored, name) for scored in evaluation.scored]
        tested = evaluation.differences.get(name)
        table.add_row(FIGURES[name].title, *cells, *(report.change(tested) if tested else ()))
    console().print(table)
    for scored in evaluation.scored:
        _tell_gaps(scored.system.name, len(scored.system.missing), len(scored.system.failed))
    if output:
        typer.echo(f"report: {output / report.MARKDOWN}")


def _tell_gaps(name: str, missing: int, failed: int) -> None:
    if missing or failed:
        typer.secho(f"{name}: {missing} missing and {failed} failed, scored as empty", fg="yellow", err=True)
