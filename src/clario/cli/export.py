"""`clario export`: what was found, for other programs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from clario.cli.console import console, one_line, standard_output

if TYPE_CHECKING:
    from datetime import datetime

    from clario.export.files import Render
    from clario.export.records import About, Record, Tally

EPILOG = """
**Examples**

clario extract diaries.jsonl --output found.jsonl

clario export found.jsonl --to phenopacket --output packets/

clario export found.jsonl --to fhir --about diaries.jsonl --output bundles.ndjson

clario export found.jsonl --to phenopacket --subject P-17 --output P-17.json --min-confidence 0.5

clario export found.jsonl --to parquet --quotes --output found.parquet

None of it is a diagnosis, and each file says so where its format has a place for it.
"""


class To(StrEnum):
    """What to make of Extractions."""

    PHENOPACKET = "phenopacket"
    FHIR = "fhir"
    CSV = "csv"
    PARQUET = "parquet"


_DOCUMENTS = (To.PHENOPACKET, To.FHIR)
_MODULES = {To.PHENOPACKET: "phenopackets", To.FHIR: "fhir.resources", To.PARQUET: "pyarrow"}


def export(
    results: Annotated[
        str, typer.Argument(help="Extractions, JSON lines of 'clario extract'; - (standard input).")
    ],
    to: Annotated[To, typer.Option(help="GA4GH Phenopacket v2, FHIR R4 Bundle, or a table with an entity a row.")],
    output: Annotated[
        Path | None,
        typer.Option(
            help="A file; for Phenopackets and Bundles .jsonl or .ndjson (one a line), .json (one patient) or a "
            "folder (a file each). Default: the standard output."
        ),
    ] = None,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Leave out entities below this.")] = 0.0,
    quotes: Annotated[bool, typer.Option("--quotes", help="Let the patient's words go along.")] = False,
    subject: Annotated[str | None, typer.Option(help="The patient's id: all diaries are one patient's.")] = None,
    about: Annotated[
        Path | None,
        typer.Option(
            help="Whose each diary is and when it was written: .jsonl or .csv with id, subject, ts_recorded; "
            "the file of the diaries will do. One document a patient, held in memory until the end."
        ),
    ] = None,
) -> None:
    """Turn results into Phenopackets, FHIR Bundles, CSV or Parquet. Not a diagnosis."""
    from clario.export.records import Tally, read

    _check(results, to, output, subject, about)
    _need(to)
    tally, known = Tally(), _about(subject, about)
    with _opened(results) as lines:
        name = "standard input" if results == "-" else results
        records = read(lines, name, known, min_confidence, tally)
        if to in _DOCUMENTS:
            _documents(records, to, output, quotes, subject is not None or about is not None, tally)
        else:
            _table(records, to, output, quotes, tally)
    _show(tally, to, output)


def _check(results: str, to: To, output: Path | None, subject: str | None, about: Path | None) -> None:
    from clario.export.files import LINES, SINGLE
    from clario.reading import overwritten

    if subject is not None and about is not None:
        raise typer.BadParameter("give --subject or --about, not both")
    if to is To.PARQUET and output is None:
        raise typer.BadParameter("Parquet is not for the standard output; give --output")
    if output is None:
        return
    endings = (SINGLE, *LINES, "")
    if to in _DOCUMENTS and not output.is_dir() and output.suffix.lower() not in endings:
        raise typer.BadParameter("--output must be a .json, .jsonl or .ndjson file, or a folder")
    if (path := overwritten(output, [results, *([str(about)] if about else [])])) is not None:
        raise typer.BadParameter(one_line(f"--output would overwrite the input {path}"))


def _need(to: To) -> None:
    """Say what to install where a library is missing, before anything is read.

    Raises:
        OutputError: it is missing.
    """
    from importlib.util import find_spec

    from clario.errors import OutputError

    module = _MODULES.get(to, "csv")
    if find_spec(module.partition(".")[0]) is None:
        raise OutputError(f"{to} needs {module}: pip install 'clario[export]'")


def _about(subject: str | None, path: Path | None) -> "Callable[[str], About]":
    from clario.errors import InputError
    from clario.export.records import About, about_file

    if path is None:
        return lambda _: About(subject)
    known = about_file(path)

    def look_up(identifier: str) -> About:
        try:
            return known[identifier]
        except KeyError:
            raise InputError(f"its id is not in {path}") from None

    return look_up


@contextmanager
def _opened(results: str) -> "Iterator[IO[bytes]]":
    from clario.errors import InputError

    if results == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(results, "rb")  # noqa: SIM115  an error of the block is not one of opening
    except OSError as error:
        raise InputError(f"{results}: {error.strerror or 'cannot be read'}") from None
    with file:
        yield file


def _documents(
    records: "Iterator[Record]", to: To, output: Path | None, quotes: bool, patients: bool, tally: "Tally"
) -> None:
    """One document a patient where they are known, else one a diary, as each comes."""
    from datetime import UTC, datetime

    from clario.export import files
    from clario.export.records import grouped

    groups = grouped(records) if patients else ([record] for record in records)
    render = _render(to, datetime.now(UTC), quotes, tally)
    if output is None:
        files.write_lines(standard_output(), groups, render)
    else:
        files.write(output, groups, render)


def _render(to: To, created: "datetime", quotes: bool, tally: "Tally") -> "Render":
    from clario.export import fhir, phenopacket

    def render(records: "list[Record]", indent: int | None) -> str:
        if to is To.FHIR:
            made = fhir.bundle(records, created=created, quotes=quotes, tally=tally)
            text = fhir.as_json(made, indent)
        else:
            packet = phenopacket.packet(records, created=created, quotes=quotes, tally=tally)
            text = phenopacket.as_json(packet, indent)
        tally.written["documents"] += 1
        return text

    return render


def _table(records: "Iterator[Record]", to: To, output: Path | None, quotes: bool, tally: "Tally") -> None:
    import io

    from clario.export import table
    from clario.paths import write_atomically

    rows = table.rows(records, quotes, tally)
    if output is None:
        table.write_csv(standard_output(), rows)
        return
    with write_atomically(output) as file:
        if to is To.PARQUET:
            table.write_parquet(file, rows)
        else:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            table.write_csv(text, rows)
            text.detach()  # the file is closed by whoever opened it


def _show(tally: "Tally", to: To, output: Path | None) -> None:
    """What was written and what was left out; beside the data where they go to the standard output."""
    from rich.table import Table

    shown = Table("", "number", box=None, pad_edge=False, title=f"{to}: {output or 'standard output'}")
    shown.columns[1].justify = "right"
    for name, count in sorted(tally.written.items()):
        shown.add_row(name, f"{count:,}")
    for reason, count in sorted(tally.left_out.items()):
        if count:
            shown.add_row(f"left out: {reason}", f"{count:,}")
    screen = console(stderr=output is None)
    screen.print(shown)
    screen.print("Not a diagnosis.", style="dim")
