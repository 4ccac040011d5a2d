"""`clario journal import`, `export`, `finish` and `timeline`: entries from files, into files, over time."""

import datetime as dt
import io
import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clario.cli.console import console, one_line, standard_output, tell
from clario.cli.journal import Annotator, Encrypted, File, Format, opened, wants_table

if TYPE_CHECKING:
    from clario.export.records import Record
    from clario.journal import timeline as tracks
    from clario.journal.store import Journal

IMPORT_EPILOG = """
**Examples**

clario journal import diaries.jsonl old/*.txt

clario journal import validation.jsonl --entities-of first

clario journal import validation.second.jsonl --entities-of second      entities alone, of entries that are there
"""
EXPORT_EPILOG = """
**Examples**

clario journal export --output journal.jsonl                     the corpus' format: texts and entities

clario journal export --annotator anna --finished --output gold.jsonl

clario journal export --to phenopacket --subject P-17 --output P-17.json
"""
TIMELINE_EPILOG = """
**Examples**

clario journal timeline

clario journal timeline --output symptoms.svg
"""
_ROWS = 30


class To(StrEnum):
    """What to make of the entries."""

    CORPUS = "corpus"
    EXTRACTIONS = "extractions"
    CSV = "csv"
    PHENOPACKET = "phenopacket"
    FHIR = "fhir"


def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=".txt, .jsonl (id, text), .csv, or -.")],
    entities_of: Annotated[
        str | None, typer.Option(help="Take the entities of .jsonl lines over as this annotator's.")
    ] = None,
    file: File = None,
    encrypted: Encrypted = False,
) -> None:
    """Take diaries over from files. Done again, it adds only what is not there yet."""
    from clario.journal import exchange

    if entities_of and any(Path(name).suffix.lower() != ".jsonl" for name in files):
        raise typer.BadParameter("--entities-of is for .jsonl files")
    texts = [name for name in files if not (entities_of and _without_texts(Path(name)))]
    with opened(file, encrypted=encrypted, there=False) as journal:
        tally = exchange.import_files(journal, texts)
        for name in files if entities_of else ():
            exchange.import_annotations(journal, Path(name), str(entities_of), tally)
    for failure in tally.failures:
        tell(failure.error if failure.id in failure.error else f"{failure.id}: {failure.error}")
    typer.echo(f"{tally.added} added, {tally.there} there before, {tally.annotated} annotated")
    if tally.failures:
        raise typer.Exit(1)


def _without_texts(path: Path) -> bool:
    """Whether a file has entities alone, as an annotator's file of the corpus."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            return "text" not in json.loads(next((line for line in lines if line.strip()), "{}"))
    except (OSError, ValueError, TypeError):
        return False  # whoever reads it tells


def export(
    to: Annotated[To, typer.Option(help="The format.")] = To.CORPUS,
    output: Annotated[Path | None, typer.Option(help="Write here, not to the standard output.")] = None,
    annotator: Annotator = "me",
    finished: Annotated[
        bool, typer.Option("--finished", help="Only entries that the annotator has finished.")
    ] = False,
    dates: Annotated[
        bool,
        typer.Option("--dates", help="Corpus: with the days the entries were written, which it has no field for."),
    ] = False,
    subject: Annotated[
        str | None, typer.Option(help="Phenopacket, FHIR: the patient's id, if all entries are one patient's.")
    ] = None,
    quotes: Annotated[
        bool, typer.Option("--quotes", help="Phenopacket, FHIR, CSV: let the patient's words go along.")
    ] = False,
    file: File = None,
) -> None:
    """Write the entries with what was found in them, corrections applied."""
    from clario.reading import overwritten

    if output and to in (To.CORPUS, To.EXTRACTIONS, To.CSV) and output.is_dir():
        raise typer.BadParameter(f"{output} is a folder; name a file")
    with opened(file) as journal:
        if output and overwritten(output, [str(journal.path)]):
            raise typer.BadParameter("--output would overwrite the journal")
        if to in (To.PHENOPACKET, To.FHIR):
            _documents(_records(journal, annotator, finished, subject), to, output, quotes)
        elif to is To.CSV:
            _written(_table(_records(journal, annotator, finished, subject), quotes), output)
        elif to is To.CORPUS:
            _written(_gold(journal, annotator, finished, dates), output)
        else:
            _written(_extractions(journal, annotator, finished), output)


def _gold(journal: "Journal", annotator: str, finished: bool, dates: bool) -> Iterator[str]:
    from clario.journal import exchange

    days = {entry.id: entry.recorded for entry in journal.entries()} if dates else {}
    for diary in exchange.gold(journal, annotator, finished=finished):
        record = diary.model_dump(mode="json")
        if day := days.get(diary.id):
            record["ts_recorded"] = day.isoformat()
        yield json.dumps(record, ensure_ascii=False) + "\n"


def _extractions(journal: "Journal", annotator: str, finished: bool) -> Iterator[str]:
    from clario.journal import exchange

    for _, extraction in exchange.results(journal, annotator, finished=finished):
        yield extraction.model_dump_json() + "\n"


def _records(journal: "Journal", annotator: str, finished: bool, subject: str | None) -> "list[Record]":
    from clario.export.records import About, Record
    from clario.journal import exchange

    found = exchange.results(journal, annotator, finished=finished)
    return [Record(extraction, About(subject, entry.recorded)) for entry, extraction in found]


def _table(records: "list[Record]", quotes: bool) -> Iterator[str]:
    from clario.export import table
    from clario.export.records import Tally

    out = io.StringIO()
    table.write_csv(out, table.rows(records, quotes, Tally()))
    yield out.getvalue()


def _written(lines: Iterator[str], output: Path | None) -> None:
    from clario.paths import write_atomically

    if output is None:
        for line in lines:
            standard_output().write(line)
        return
    with write_atomically(output) as file:
        file.writelines(line.encode() for line in lines)


def _documents(records: "list[Record]", to: To, output: Path | None, quotes: bool) -> None:
    from clario.errors import OutputError
    from clario.export import fhir, files, phenopacket

    now = dt.datetime.now(dt.UTC)

    def render(patient: "list[Record]", indent: int | None) -> str:
        if to is To.FHIR:
            return fhir.as_json(fhir.bundle(patient, created=now, quotes=quotes), indent)
        return phenopacket.as_json(phenopacket.packet(patient, created=now, quotes=quotes), indent)

    one = bool(records) and records[0].about.subject is not None
    patients = [records] if one else [[record] for record in records]
    try:
        if output is None:
            files.write_lines(standard_output(), patients, render)
        else:
            files.write(output, patients, render)
    except ImportError:
        raise OutputError(f"{to.value} needs more libraries: pip install 'clario[export]'") from None


def finish(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The entries.")],
    annotator: Annotator = "me",
    not_yet: Annotated[bool, typer.Option("--not-yet", help="They are not finished after all.")] = False,
    file: File = None,
) -> None:
    """Say that an annotator is through with entries: only those count as annotated."""
    with opened(file) as journal:
        for id in ids:
            journal.finish(id, annotator, not not_yet)


def timeline(
    output: Annotated[Path | None, typer.Option(help="Draw it into this .png or .svg file.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Terms at most, those on most days first.")] = _ROWS,
    annotator: Annotator = "me",
    file: File = None,
    format: Format = None,
) -> None:
    """Show which symptoms the entries tell of, and when. Not a diagnosis."""
    from clario.journal import timeline as lines
    from clario.paths import write_atomically

    kind = output.suffix.lower().removeprefix(".") if output else ""
    if output and kind not in ("png", "svg"):
        raise typer.BadParameter("--output is a .png or .svg file")
    with opened(file) as journal:
        found = lines.tracks(journal, annotator)
    if output:
        picture = lines.plot(found[:limit], kind)
        with write_atomically(output) as target:
            target.write(picture)
    elif wants_table(format):
        _show(found, limit)
    else:
        for track in found[:limit]:
            days = {day.isoformat(): assertion.value for day, assertion in track.days.items()}
            typer.echo(json.dumps({"name": track.name, "hpo_id": track.hpo_id, "days": days}, ensure_ascii=False))


def _show(found: "list[tracks.Track]", limit: int) -> None:
    from rich.table import Table

    from clario.journal import timeline as lines

    out = console()
    if not found:
        out.print("Nothing to show yet: 'clario journal process' reads the entries.")
        return
    names = max(len(track.name) for track in found[:limit])
    starts, column = lines.columns(found, max(10, out.width - min(names, 40) - 14))
    table = Table("term", "days", f"{starts[0]} to {max(max(t.days) for t in found)}", box=None, pad_edge=False)
    for track in found[:limit]:
        table.add_row(one_line(track.name)[:40], str(track.present), lines.cells(track, len(starts), column))
    out.print(table)
    step = (starts[1] - starts[0]).days if len(starts) > 1 else 1
    signs = "  ".join(f"{sign} {assertion.value}" for assertion, sign in lines.SHOWN.items())
    left = f" {len(found) - limit} more terms: --limit." if len(found) > limit else ""
    out.print(f"{signs}; a column is {step} day{'s' * (step > 1)}.{left}", style="dim")
    out.print(lines.NOTE, style="dim")
