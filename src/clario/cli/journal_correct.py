"""`clario journal correct` and `agreement`: what people say of what was found."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from clario.cli.console import console
from clario.cli.journal import Annotator, File, Format, opened, wants_table

EPILOG = """
**Examples** (ITEM and version are what 'clario journal show' tells)

clario journal correct 12 m7 --accept

clario journal correct 12 m7 --term HP:0000217

clario journal correct 12 m8 --assertion absent

clario journal correct 12 --add 17:22 --type symptom --term HP:0001945
"""


def correct(
    id: Annotated[str, typer.Argument(help="The entry.")],
    item: Annotated[str | None, typer.Argument(help="The entity.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="It is right.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="It is no entity.")] = False,
    term: Annotated[str | None, typer.Option(help="Its HPO id; none: no term fits.")] = None,
    assertion: Annotated[
        str | None, typer.Option(help="present, past, absent, other (somebody else's) or hypothetical.")
    ] = None,
    type: Annotated[str | None, typer.Option(help="symptom, lab_marker, med, trigger or behavior.")] = None,
    span: Annotated[str | None, typer.Option(help="Its characters, START:END.")] = None,
    add: Annotated[str | None, typer.Option(help="Add what was missed at START:END.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last change back.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Make it again.")] = False,
    version: Annotated[int | None, typer.Option(help="Only if it is still this version.")] = None,
    annotator: Annotator = "me",
    file: File = None,
) -> None:
    """Decide about what was found; it stays decided when the entry is read anew."""
    from clario.entities import Assertion, EntityType

    _check(assertion, Assertion, "--assertion")
    _check(type, EntityType, "--type")
    hpo_id = None if term in (None, "none") else term
    changes: list[dict[str, Any]] = []
    if add is not None:
        start, end = _span(add)
        kind, told = type or "symptom", assertion or "present"
        changes = [
            {"action": "add", "start": start, "end": end, "type": kind, "assertion": told, "hpo_id": hpo_id}
        ]
    else:
        changes += [{"action": "accept"}] * accept + [{"action": "reject"}] * reject
        changes += [{"action": "term", "hpo_id": hpo_id}] * (term is not None)
        changes += [{"action": "assertion", "assertion": assertion}] * (assertion is not None)
        changes += [{"action": "type", "type": type}] * (type is not None)
        changes += [dict(zip(("action", "start", "end"), ("span", *_span(span)), strict=True))] if span else []
        changes = [{**change, "item": item} for change in changes]
    if len(changes) + undo + redo != 1 or (item is None) != bool(add or undo or redo):
        raise typer.BadParameter("one change at a time: an ITEM with one option, or --add, --undo or --redo")
    with opened(file) as journal:
        seen = journal.effective(id, annotator).version if version is None else version
        if changes:
            view = journal.correct(id, seen, changes[0], annotator)
        else:
            view = (journal.undo if undo else journal.redo)(id, seen, annotator)
    typer.echo(f"version {view.version}")


def _check(given: str | None, known: Iterable[str], option: str) -> None:
    if given is not None and given not in list(known):
        raise typer.BadParameter(f"it is one of {', '.join(known)}", param_hint=option)


def _span(given: str) -> tuple[int, int]:
    start, _, end = given.partition(":")
    if not (start.isascii() and start.isdigit() and end.isascii() and end.isdigit()):
        raise typer.BadParameter("a span is START:END, such as 17:22")
    return int(start), int(end)


def agreement(
    first: Annotated[str, typer.Argument(help="An annotator.")],
    second: Annotated[str, typer.Argument(help="Another, who did not see the first one's work.")],
    file: File = None,
    format: Format = None,
) -> None:
    """How far two annotators agree, on the entries that both have finished."""
    from clario.journal import exchange

    with opened(file) as journal:
        found = asdict(exchange.agree(journal, first, second))
    if not wants_table(format):
        typer.echo(json.dumps(found))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    flat = {k: v for k, v in found.items() if k != "assertions"} | {
        f"assertion F1, {name}": share for name, share in found["assertions"].items()
    }
    for name, share in flat.items():
        table.add_row(name, "-" if share is None else f"{share:.3f}" if isinstance(share, float) else str(share))
    console().print(table)
