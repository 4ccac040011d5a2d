"""`clario corpus`: making and checking the corpus of diaries."""

import json
import sys
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clario.cli.console import console

if TYPE_CHECKING:
    from clario.corpus.associations import Association
    from clario.corpus.profiles import Profile, Profiles
    from clario.corpus.teacher import Tally

PROFILES_EPILOG = """
**Examples**

clario corpus profiles phenotype.hpoa --limit 40

clario corpus profiles en_product4.xml phenotype.hpoa --database ORPHA --corpus diaries.jsonl --exclude-used
--limit 1200 --output profiles.jsonl

phenotype.hpoa: https://hpo.jax.org/data/annotations. en_product4.xml: https://www.orphadata.com/phenotypes/.
"""

DISTILL_EPILOG = """
**Examples**

clario corpus distill profiles.jsonl --server http://127.0.0.1:11434 --model gpt-oss:20b --output taught.jsonl

clario corpus distill profiles.jsonl --api openai --server http://127.0.0.1:8000/v1 --model NAME
--number 2000 --concurrency 16 --price-in 0.1 --price-out 0.5 --output taught.jsonl

An API key is read from the environment variable CLARIO_API_KEY.
"""
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    help="Make and check the corpus: diaries in lay words with HPO terms, spans and assertions.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


class Format(StrEnum):
    """How profiles are shown."""

    TABLE = "table"
    JSONL = "jsonl"


class Api(StrEnum):
    """What a chat server speaks."""

    OLLAMA = "ollama"
    OPENAI = "openai"


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
    from rich.table import Table

    table = Table("disease", "name", "phenotypes", box=None, pad_edge=False)
    for profile in found:
        name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in profile.name)
        table.add_row(profile.disease, name, ", ".join(p.label for p in profile.phenotypes))
    console().print(table)


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


@app.command(epilog=DISTILL_EPILOG)
def distill(
    profiles: Annotated[
        Path, typer.Argument(metavar="PROFILES", help="What 'clario corpus profiles' wrote, JSON Lines.")
    ],
    server: Annotated[str, typer.Option(metavar="URL", help="The chat server; diaries are asked for there.")],
    model: Annotated[str, typer.Option(metavar="TAG", help="The teacher, as the server names it.")],
    output: Annotated[
        Path, typer.Option(help="Diaries, JSON Lines; what failed stands in OUTPUT.failures.jsonl.")
    ],
    api: Annotated[Api, typer.Option(help="What the server speaks: Ollama's, or OpenAI's chat completions.")] = (
        Api.OLLAMA
    ),
    number: Annotated[int | None, typer.Option(min=1, help="Diaries in all. Default: one a profile.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same styles and ids.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests at once.")] = 4,
    retries: Annotated[int, typer.Option(min=0, help="How often a refused answer is asked for again.")] = 3,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an answer may take.")] = 300.0,
    price_in: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens read.")] = None,
    price_out: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens written.")] = None,
    release: Annotated[str | None, typer.Option(help="An HPO release of 'clario ontology list'.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an OUTPUT: what it holds is done.")] = False,
) -> None:
    """Have a chat server write diaries of profiles, with their entities; each is checked before it is kept.

    The server names phenotypes, the release gives their ids. A refused answer is asked for again, with the reason.
    """
    from clario.chat.server import Api as ServerApi
    from clario.chat.server import Server
    from clario.corpus import teacher
    from clario.corpus.ledger import Ledger
    from clario.errors import ModelError
    from clario.ontology.release import load
    from clario.ontology.resolver import Resolver

    place = Server(server, model, ServerApi(api))
    index = load(release)
    known = teacher.read_profiles(profiles, index)
    jobs = teacher.jobs(known, number or len(known), seed)
    price = None if price_in is None and price_out is None else (price_in or 0.0, price_out or 0.0)
    with Ledger(output, index.release, resume=resume) as ledger:
        before = sum(job.id in ledger.texts for job in jobs)
        try:
            with _progress(len(jobs), before, price) as watch:
                tally = teacher.run(
                    jobs, place, Resolver(index), ledger,
                    retries=retries, concurrency=concurrency, timeout=timeout, watch=watch,
                )  # fmt: skip
        except KeyboardInterrupt:
            typer.secho(f"clario: interrupted{_kept(ledger.texts)}", fg="red", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except ModelError as error:
            raise ModelError(f"{error}{_kept(ledger.texts)}") from None
    if tally.failed:
        typer.secho(f"clario: {tally.failed} given up, see {output}.failures.jsonl", fg="red", err=True)
        raise typer.Exit(1)


def _kept(done: Sized) -> str:
    return f"; what is done is kept ({len(done):,} diaries), continue with --resume" if done else ""


@contextmanager
def _progress(total: int, before: int, price: tuple[float, float] | None) -> "Iterator[Callable[[Tally], None]]":
    """A progress bar on the standard error for a person who looks, and in the end what came of the run."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    told = ""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    # A diary may take a minute: the time left is told from those of the last ten.
    with Progress(
        *columns, console=console(stderr=True), disable=not sys.stderr.isatty(), speed_estimate_period=600
    ) as bar:
        task = bar.add_task("diaries", total=total, completed=before, told=told)

        def watch(tally: "Tally") -> None:
            nonlocal told
            told = _told(tally, price)
            bar.update(task, completed=before + tally.done + tally.failed, told=told)

        try:
            yield watch
        finally:
            bar.stop()
            if told:
                typer.echo(told, err=True)


def _told(tally: "Tally", price: tuple[float, float] | None) -> str:
    told = (
        f"{tally.done:,} done, {tally.failed:,} given up, {tally.refused:,} answers refused; "
        f"{tally.tokens_in:,} tokens in, {tally.tokens_out:,} out"
    )
    if price is None:
        return told
    return f"{told}; cost {(tally.tokens_in * price[0] + tally.tokens_out * price[1]) / 1e6:,.4f}"
