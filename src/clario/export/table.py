"""Tables with an entity a row: CSV for spreadsheets, Parquet for programs."""

import csv
import re
from collections.abc import Iterable
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from clario.export.records import Record, Tally
from clario.writing import Sink

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = {
    "subject": "string",
    "id": "string",
    "ts_recorded": "date32",
    "ts_event_hint": "string",
    "type": "string",
    "hpo_id": "string",
    "hpo_label": "string",
    "assertion": "string",
    "confidence": "float64",
    "name_canonical": "string",
    "name_colloquial": "string",
    "start": "int64",
    "end": "int64",
    "match_method": "string",
    "match_name": "string",
    "match_score": "float64",
    "match_candidates": "string",
    "model": "string",
    "hpo_release": "string",
}
"""The columns, in their order, with their types in Parquet. `match_candidates` are ids, divided by blanks."""

NOT_A_DIAGNOSIS = b"Not a diagnosis: found by a program in what patients wrote, not reviewed."
_BATCH = 10_000
# What a spreadsheet takes for a formula (OWASP, CSV Injection), also behind blanks, and with apostrophes before
# it, so that taking one apostrophe away always gives back what stood there.
_FORMULA = re.compile(r"'*\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n]")


def rows(records: Iterable[Record], quotes: bool, tally: Tally) -> Iterable[dict[str, Any]]:
    """A row of `COLUMNS` for each entity, whatever its type and assertion.

    Args:
        quotes: whether `name_colloquial` is told, and `name_canonical` and `match_name` where they are not the
            term's label. Else they are None: a name of an unknown term, or a lay phrase that matched, may be the
            patient's words.
    """
    for record in records:
        extraction = record.extraction
        for entity in extraction.entities:
            tally.written[f"rows, {entity.assertion}"] += 1
            values: dict[str, Any] = {
                **entity.model_dump(mode="json", exclude={"match"}),
                **{f"match_{name}": value for name, value in entity.match.model_dump(mode="json").items()},
                **extraction.model_dump(mode="json", include={"id", "ts_event_hint", "model", "hpo_release"}),
                "subject": record.about.subject,
                "ts_recorded": record.about.recorded,
                "match_candidates": " ".join(entity.match.candidates),
            }
            if not quotes:
                values["name_colloquial"] = None
                values["name_canonical"] = entity.hpo_label
                if entity.match.name != entity.hpo_label:  # a lay phrase that was met word for word
                    values["match_name"] = None
            yield {name: values[name] for name in COLUMNS}


def defused(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: with an apostrophe before what looks like one.

    >>> defused("=1+1"), defused("dry mouth")
    ("'=1+1", 'dry mouth')
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def write_csv(file: Sink, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as CSV in UTF-8, with a header; formulas are `defused`."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([defused(value) for value in row.values()] for row in rows)
    file.flush()


def write_parquet(file: IO[bytes], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as Parquet, a batch at a time; texts stand as they are, for nothing there is a formula."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema(pa)
    stream = iter(rows)
    with parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(stream, _BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _schema(arrow: Any) -> "pa.Schema":
    fields = [(name, getattr(arrow, kind)()) for name, kind in COLUMNS.items()]
    return arrow.schema(fields, metadata={b"note": NOT_A_DIAGNOSIS})
