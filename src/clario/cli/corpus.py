"""`clario corpus`: making and checking the corpus of diaries."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from clario.corpus.associations import Association
    from clario.corpus.profiles import Profile, Profiles

PROFILES_EPILOG = """
**Examples**

clario corpus profiles phenotype.hpoa --limit 40

clario corpus profiles en_product4.xml phenotype.hpoa --database ORPHA --corpus diaries.jsonl --exclude-used
--limit 1200 --output profiles.jsonl

phenotype.hpoa: https://hpo.jax.org/data/annotations. en_product4.xml: https://www.orphadata.com/phenotypes/.
"""

app = typer.Typer(
    help="Make and check the corpus: diaries in lay words with HPO terms, spans and assertions.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.callback()
def _group() -> None:
    """Keeps `profiles` a command of its own while it is the only one."""


class Format(StrEnum):
    """How profiles are shown."""

    TABLE = "table"
    JSONL = "jsonl"


class Database(StrEnum):
    """Whose diseases."""

    ORPHA = "ORPHA"
    OMIM = "OMIM"
    DECIPHER = "DECIPHER"


@app.command(epilog=PROFILES_EPILOG)
def profiles(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="phenotype.hpoa or en_product4.xml; .gz, too.")
    ],
    corpus: Annotated[Path | None, typer.Option(help="Diaries so far: what they hold counts as used.")] = None,
    exclude_used: Annotated[
        bool, typer.Option("--exclude-used", help="Leave out the diseases of --corpus.")
    ] = False,
    database: Annotated[list[Database] | None, typer.Option(help="Only these diseases. Default: all.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Profiles at most. Default: all.")] = None,
    min_phenotypes: Annotated[int, typer.Option(min=1, help="Phenotypes a profile at least.")] = 6,
    max_phenotypes: Annotated[int, typer.Option(min=1, help="Phenotypes a profile at most.")] = 12,
    seed: Annotated[int, typer.Option(help="Same seed, same profiles.")] = 0,
    release: Annotated[str | None, typer.Option(help="An HPO release of 'clario ontology list'.")] = None,
    format: Annotated[Format | None, typer.Option(help="Default: table on a terminal, else jsonl.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write here, not to the standard output.")] = None,
) -> None:
    """Choose diseases to write diaries about, each with phenotypes that a lay person could tell of.

    Those come first that add most: phenotypes that are frequent in the disease, and rare in the corpus so far.
    """
    if exclude_used and corpus is None:
        raise typer.BadParameter("--exclude-used needs --corpus")
    if max_phenotypes < min_phenotypes:
        raise typer.BadParameter("--max-phenotypes must not be less than --min-phenotypes")
    shape = format or (Format.TABLE if output is None and sys.stdout.isatty() else Format.JSONL)
    if output and shape is Format.TABLE:
        raise typer.BadParameter("a table is for the terminal; give --output with jsonl")
    from clario.corpus import profiles as making
    from clario.ontology.release import load

    index = load(release)
    usage = making.read_usage(corpus, index) if corpus else making.Usage()
    found = making.profiles(
        _of(database, chain.from_iterable(map(making.read_source, sources))),
        index,
        used=usage.mentions,
        exclude=usage.diseases if exclude_used else (),
        limit=limit,
        fewest=min_phenotypes,
        most=max_phenotypes,
        seed=seed,
    )
    if shape is Format.TABLE:
        _print_table(found.profiles)
    else:
        _write(found.profiles, index.release, output)
    _tell(found, index.release)


def _of(database: list[Database] | None, associations: "Iterator[Association]") -> "Iterator[Association]":
    if not database:
        return associations
    return (a for a in associations if a.disease.partition(":")[0] in database)


def _write(found: "tuple[Profile, ...]", release: str, output: Path | None) -> None:
    lines = (json.dumps(asdict(p) | {"hpo_release": release}, ensure_ascii=False) + "\n" for p in found)
    if output is None:
        sys.stdout.writelines(lines)
        return
    from clario.paths import write_atomically

    with write_atomically(output) as file:
        file.writelines(line.encode() for line in lines)


def _print_table(found: "tuple[Profile, ...]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("disease", "name", "phenotypes", box=None, pad_edge=False)
    for profile in found:
        name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in profile.name)
        table.add_row(profile.disease, name, ", ".join(p.label for p in profile.phenotypes))
    Console(markup=False, emoji=False, highlight=False).print(table)


def _tell(found: "Profiles", release: str) -> None:
    """Say how many there are, and what was left out."""
    terms = len({phenotype.hpo_id for profile in found.profiles for phenotype in profile.phenotypes})
    typer.echo(f"{len(found.profiles):,} profiles with {terms:,} different terms of HPO {release}", err=True)
    if found.too_few:
        typer.echo(f"{found.too_few:,} diseases have too few phenotypes that a lay person could tell of", err=True)
    if found.unknown:
        examples = ", ".join(sorted(found.unknown)[:3])
        typer.secho(
            f"warning: {found.unknown.total():,} associations left out, their ids are unknown to HPO {release} or "
            f"were retired without a successor ({examples})",
            fg="yellow",
            err=True,
        )  # fmt: skip
