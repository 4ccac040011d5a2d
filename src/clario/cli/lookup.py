"""`clario resolve`, `clario models`, `clario schema`: looking things up."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clario.cli.console import check_release, console, echo, one_line

if TYPE_CHECKING:
    from clario.ontology.resolver import Resolution, Resolver

RESOLVE_EPILOG = """
**Examples**

clario resolve "dry mouth"

clario resolve "can't see at night" --candidates 10 --format table

clario resolve "legs like jelly on the stairs" --no-dense: names and typing errors only
"""


def resolve(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names or phrases, each in quotes.")],
    candidates: Annotated[int, typer.Option(min=0, help="How many terms that share words to show as well.")] = 5,
    release: Annotated[str | None, typer.Option(help="An HPO release of 'clario ontology list'.")] = None,
    format: Annotated[str | None, typer.Option(help="table or json; default: table on a terminal.")] = None,
    dense: Annotated[
        bool, typer.Option("--dense/--no-dense", help="Look for what no name matches by its meaning.")
    ] = True,
) -> None:
    """Find the HPO term that a name means, and others that it may mean. Exit code 1 if one was not found."""
    if format not in (None, "table", "json"):
        raise typer.BadParameter("--format is table or json")
    from clario.ontology import release as releases
    from clario.ontology.resolver import Resolver

    check_release(release)
    resolver = Resolver(releases.load(release))
    answers = [(name, resolver.resolve(name, dense=dense)) for name in names]
    if (format or ("table" if sys.stdout.isatty() else "json")) == "json":
        for name, answer in answers:
            echo(json.dumps(_record(resolver, name, answer, candidates), ensure_ascii=False))
    else:
        _print(resolver, answers, candidates)
    if any(answer.hpo_id is None for _, answer in answers):
        raise typer.Exit(1)


def _record(resolver: "Resolver", name: str, answer: "Resolution", candidates: int) -> dict[str, Any]:
    record = {"query": name, **asdict(answer), "hpo_release": resolver.release}
    record["candidates"] = [asdict(c) for c in _candidates(resolver, name, answer, candidates)]
    return record


def _candidates(resolver: "Resolver", name: str, answer: "Resolution", limit: int) -> list[Any]:
    """Ties of the answer first, then terms whose names share words."""
    found = {c.hpo_id: c for c in (*answer.candidates, *resolver.search(name, limit + 1 + len(answer.candidates)))}
    return [c for c in found.values() if c.hpo_id != answer.hpo_id][:limit]


def _print(resolver: "Resolver", answers: "list[tuple[str, Resolution]]", candidates: int) -> None:
    from rich.table import Table

    table = Table("query", "HPO", "label", "match", "by the name", "score", box=None, pad_edge=False)
    for query, answer in answers:
        found = (
            answer.hpo_id or "-",
            answer.label or "not found",
            answer.method,
            answer.name or "",
            f"{answer.score:.2f}",
        )
        table.add_row(*map(one_line, (query, *found)), style="bold")
        for c in _candidates(resolver, query, answer, candidates):
            table.add_row("", *map(one_line, (c.hpo_id, c.label, "candidate", c.name, f"{c.score:.2f}")))
    console().print(table)


def models() -> None:
    """List the installed models: a table on a terminal, JSON in a pipe."""
    from clario.extraction.base import DEFAULT, available

    found = [
        {"name": name, "default": name == DEFAULT, "entry_point": point.value}
        for name, point in available().items()
    ]
    if not sys.stdout.isatty():
        typer.echo(json.dumps(found))
        return
    from rich.table import Table

    table = Table("model", "", "found at", box=None, pad_edge=False)
    for model in found:
        table.add_row(str(model["name"]), "default" if model["default"] else "", str(model["entry_point"]))
    console().print(table)


def schema() -> None:
    """Print the JSON Schema of an Extraction."""
    from clario.entities import Extraction

    typer.echo(json.dumps(Extraction.model_json_schema(), indent=2, ensure_ascii=False))
