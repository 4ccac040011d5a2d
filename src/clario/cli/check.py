"""`clario corpus check`: is the corpus what it says?"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clario.cli.console import Shape, console

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clario.corpus.agreement import Agreement
    from clario.corpus.check import Fault, Spread

EPILOG = """
**Examples**

clario corpus check data/corpus

clario corpus check data/corpus --format json
"""


def check(
    folder: Annotated[Path, typer.Argument(help="A folder with train, validation, test .jsonl and splits.json.")],
    release: Annotated[str | None, typer.Option(help="An HPO release of 'clario ontology list'.")] = None,
    format: Annotated[Shape | None, typer.Option(help="Default: table on a terminal, else json.")] = None,
) -> None:
    """Check diaries, ids, splits and leaks, and count what is there. Exit code 1 if there is a fault."""
    from clario.corpus.check import faults, spread
    from clario.corpus.split import frozen
    from clario.ontology.release import load

    parts = frozen(folder)
    found = faults(parts, load(release))
    spreads = {part: spread(diaries) for part, diaries in parts.items() if diaries}
    agreements = _agreements(folder, parts)
    if (format or (Shape.TABLE if sys.stdout.isatty() else Shape.JSON)) is Shape.JSON:
        typer.echo(json.dumps(_record(found, spreads, agreements), ensure_ascii=False, indent=1))
    else:
        _print(spreads, agreements)
    for fault in found:
        typer.secho(f"clario: {fault.id}: {fault.what}", fg="red", err=True)
    if found:
        typer.secho(f"clario: {len(found)} faults", fg="red", err=True)
        raise typer.Exit(1)


def _agreements(folder: Path, parts: "Iterable[str]") -> "dict[str, Agreement]":
    """How far the two annotators of each part agreed, where it has two."""
    from clario.corpus.agreement import agreement
    from clario.corpus.dataset import FIRST, SECOND, load_annotations

    files = {part: [folder / f"{part}.{which}.jsonl" for which in (FIRST, SECOND)] for part in parts}
    return {
        part: agreement(*map(load_annotations, both))
        for part, both in files.items()
        if all(path.exists() for path in both)
    }


def _record(
    faults: "Sequence[Fault]", spreads: "Mapping[str, Spread]", agreements: "Mapping[str, Agreement]"
) -> dict[str, Any]:
    return {
        "faults": [asdict(fault) for fault in faults],
        "parts": {part: asdict(spread) for part, spread in spreads.items()},
        "agreement": {part: asdict(agreement) for part, agreement in agreements.items()},
    }


def _print(spreads: "Mapping[str, Spread]", agreements: "Mapping[str, Agreement]") -> None:
    from rich.table import Table

    for title, records in (("Spread", spreads), ("Two annotators", agreements)):
        rows = {part: dict(_flat(asdict(record))) for part, record in records.items()}
        table = Table(title, *(rows or ["-"]), box=None, pad_edge=False)
        for name in next(iter(rows.values()), {}):
            table.add_row(name, *(row[name] for row in rows.values()))
        console().print(table)


def _flat(record: "Mapping[str, Any]") -> "list[tuple[str, str]]":
    flat = list[tuple[str, str]]()
    for name, value in record.items():
        if isinstance(value, dict):
            flat += [(f"{name} {key}", shown) for key, shown in _flat(value)]
        elif isinstance(value, float):
            flat.append((name.replace("_", " "), f"{value:.3f}"))
        else:
            flat.append((name.replace("_", " "), "-" if value is None else str(value).strip("()")))
    return flat
