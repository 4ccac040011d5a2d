"""`clario ontology`: the releases of HPO that names are resolved with."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clario.cli.console import Shape, check_release, console, one_line, printable

if TYPE_CHECKING:
    from clario.ontology.index import Index
    from clario.ontology.migrate import Change
    from clario.ontology.obo import Ontology
    from clario.ontology.release import Manifest
    from clario.paths import Progress

app = typer.Typer(
    help="See, update, compare and build releases of the Human Phenotype Ontology.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


FormatOption = Annotated[Shape | None, typer.Option(help="Default: table on a terminal, else json.")]
ReleaseOption = Annotated[str | None, typer.Option(help="A release of 'clario ontology list'.")]


VectorsOption = Annotated[
    bool | None,
    typer.Option(
        "--vectors/--no-vectors",
        help="Make the vectors of terms that mini needs. Default: yes, but not into a folder of --output.",
    ),
]


def _examples(*lines: str) -> str:
    return "\n\n".join(["**Examples**", *lines])


@app.command(epilog=_examples("clario ontology info", "clario ontology info --format json"))
def info(format: FormatOption = None) -> None:
    """Show the release in use, its licence and its checksums, after checking its files against them."""
    from clario.ontology import release

    manifest = release.verify()
    if _as_table(format):
        rows = [(name.replace("_", " "), _plain(value)) for name, value in asdict(manifest).items()]
        _print_table("", ("", ""), rows)
    else:
        _print_json(asdict(manifest))


@app.command("list", epilog=_examples("clario ontology list"))
def list_(format: FormatOption = None) -> None:
    """List the releases that are there, and mark the one in use."""
    from clario.ontology import release

    manifests, active = release.installed(), release.active()
    if _as_table(format):
        rows = [("*" if m == active else "", m.release, m.source, _plain(m.counts["terms"])) for m in manifests]
        _print_table("Releases of HPO (* in use)", ("", "release", "source", "terms"), rows)
    else:
        _print_json([asdict(m) | {"active": m == active} for m in manifests])


@app.command(epilog=_examples("clario ontology use 2026-02-16", "clario ontology use shipped"))
def use(
    release: Annotated[str, typer.Argument(help="A release of 'clario ontology list', or 'shipped'.")],
) -> None:
    """Choose the release that is used where none is named; 'shipped' takes the choice back."""
    from clario.ontology import release as releases

    check_release(release)
    typer.echo(f"HPO {releases.use(release).release} is now in use", err=True)


@app.command(
    epilog=_examples(
        "clario ontology build hp.obo",
        "clario ontology build hp-2026-02-16.obo.gz --lay lay_phrases.jsonl --output release/",
    )
)
def build(
    obo: Annotated[Path, typer.Argument(metavar="HP.OBO", help="A release of HPO: .obo or .obo.gz.")],
    lay: Annotated[Path | None, typer.Option(help="Lay lexicon. Default: the shipped one.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder. Default: among your releases.")] = None,
    vectors: VectorsOption = None,
) -> None:
    """Compile a release from an OBO file, without the network."""
    from clario.ontology import install

    model = _model(output is None if vectors is None else vectors, required=bool(vectors))
    with _encoding() as encoding:
        manifest = install.build(obo, output, lay, model, encoding)
    _tell_built(manifest, in_use=output is not None)


@app.command(
    epilog=_examples(
        "clario ontology update",
        "clario ontology update --release 2026-02-16 --use",
        "clario ontology update --url https://intranet.example/hp.obo --sha256 0123...",
    )
)
def update(
    release: Annotated[str | None, typer.Option(help="An official release. Default: the latest.")] = None,
    url: Annotated[str | None, typer.Option(help="Another place of an OBO file.")] = None,
    sha256: Annotated[str | None, typer.Option(help="The checksum that the file must have.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="The bytes that the file must have.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
    vectors: VectorsOption = None,
) -> None:
    """Download a release of HPO and install it beside the others. Nothing else here uses the network."""
    from clario.ontology import install
    from clario.ontology import release as releases

    model = _model(vectors is not False, required=bool(vectors))
    with _progress() as progress, _encoding() as encoding:
        manifest = install.update(release, url, sha256, size, progress, model, encoding)
    if use:
        releases.use(manifest.release)
    _tell_built(manifest, in_use=use)


@app.command(
    epilog=_examples(
        "clario ontology diff 2025-05-06 2026-02-16", "clario ontology diff old/hp.obo hp.obo --format json"
    )
)
def diff(
    old: Annotated[str, typer.Argument(help="A release, or an .obo or .obo.gz file.")],
    new: Annotated[str, typer.Argument(help="Likewise.")],
    format: FormatOption = None,
) -> None:
    """Show what changed between two releases: new, renamed, merged and obsoleted terms."""
    from clario.ontology import compare

    difference = compare.diff(_source(old), _source(new))
    if not _as_table(format):
        _print_json(asdict(difference))
        return
    title = f"HPO {difference.old} to {difference.new}"
    _print_table(f"{title}: new", ("id", "label"), difference.added)
    _print_table(f"{title}: renamed", ("id", "old label", "new label"), difference.renamed)
    _print_table(f"{title}: merged", ("id", "label", "now"), difference.merged)
    _print_table(f"{title}: obsoleted, without a successor", ("id", "label"), difference.obsoleted)


@app.command(
    epilog=_examples(
        "clario ontology migrate results.jsonl --output migrated.jsonl",
        "clario ontology migrate cohort.csv --in-place --release 2026-02-16",
    )
)
def migrate(
    file: Annotated[Path, typer.Argument(help="JSON, JSON Lines, CSV, TSV or text with HPO ids.")],
    release: ReleaseOption = None,
    output: Annotated[Path | None, typer.Option(help="Where the result goes.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Change the file itself.")] = False,
    format: FormatOption = None,
) -> None:
    """Move stored HPO ids and labels to a release, and report every change.

    Exit code 1 if an id is unknown or was retired without a successor: it stays as it is.
    """
    if (output is None) != in_place:
        raise typer.BadParameter("give either --output FILE or --in-place")
    from clario.ontology.migrate import migrate_file
    from clario.ontology.release import load

    index, target = load(release), output or file
    changes = migrate_file(file, target, index)
    _report(changes, target, index.release, format)
    if any(change.new is None for change in changes):
        raise typer.Exit(1)


def _report(changes: "Sequence[Change]", target: Path, release: str, format: Shape | None) -> None:
    if _as_table(format):
        rows = [(str(c.line), c.old, c.new or "", c.reason) for c in changes]
        _print_table(f"{target}, now in HPO {release}", ("line", "old", "new", "reason"), rows)
    else:
        _print_json({"file": str(target), "release": release, "changes": [asdict(c) for c in changes]})


@app.command(epilog=_examples("clario ontology show HP:0000217", "clario ontology show HP:0000217 HP:0001278"))
def show(
    ids: Annotated[list[str], typer.Argument(metavar="HP:...", help="Ids, retired ones too.")],
    release: ReleaseOption = None,
    format: FormatOption = None,
) -> None:
    """Show terms: label, definition, synonyms, parents and children."""
    from clario.ontology.release import load

    index = load(release)
    terms = [_term(hpo_id, index) for hpo_id in ids]
    if not _as_table(format):
        _print_json(terms)
        return
    for term in terms:
        note = "" if term["asked"] == term["hpo_id"] else f" ({term['asked']} is now this term)"
        rows = [(name, _plain(term[name])) for name in ("definition", "synonyms", "parents", "children")]
        _print_table(f"{term['hpo_id']} {term['label']}{note}", ("", ""), rows)


def _term(hpo_id: str, index: "Index") -> dict[str, Any]:
    record = index.term(hpo_id)
    return {
        "asked": hpo_id, "release": index.release, "hpo_id": record.hpo_id, "label": record.label,
        "definition": record.definition, "phenotypic": record.phenotypic,
        "synonyms": [asdict(synonym) for synonym in record.synonyms],
        "parents": [{"hpo_id": parent, "label": index.label(parent)} for parent in record.parents],
        "children": [{"hpo_id": child, "label": index.label(child)} for child in record.children],
    }  # fmt: skip


def _source(name: str) -> "Index | Ontology":
    from clario.ontology.release import load
    from clario.ontology.sources import read_obo

    return read_obo(Path(name)) if name.endswith((".obo", ".obo.gz")) else load(name)


def _model(wanted: bool, required: bool) -> Path | None:
    """The folder of the model that is to make vectors; None where none are wanted, or it cannot make any."""
    from clario.ontology import dense
    from clario.ontology.encoder import FOLDER

    if not wanted:
        return None
    if not required and not dense.can_rebuild(FOLDER):
        typer.echo(
            "No vectors of terms are made: the model that is installed cannot make any for another release, so "
            "that the lexicon will read with this one. A newer model can.",
            err=True,
        )
        return None
    return FOLDER


def _tell_built(manifest: "Manifest", in_use: bool) -> None:
    more = "" if in_use else f"; use it with 'clario ontology use {manifest.release}'"
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in manifest.counts.items())
    typer.echo(f"HPO {manifest.release} is installed ({counts}){more}", err=True)


@contextmanager
def _progress() -> "Iterator[Progress]":
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    shown = console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("Downloading", total=None)

        def update(count: int, total: int | None) -> None:
            description = "Compiling" if count == total else "Downloading"
            bar.update(task, completed=count, total=total, description=description)

        yield update


@contextmanager
def _encoding() -> "Iterator[Progress]":
    """A bar that comes with the first names that are encoded."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = console(stderr=True)
    columns = TextColumn("Encoding names"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("", visible=False)
        yield lambda count, total: bar.update(task, completed=count, total=total, visible=True)


def _as_table(format: Shape | None) -> bool:
    return sys.stdout.isatty() if format is None else format is Shape.TABLE


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.table import Table

    title = one_line(title)
    if not (rows := list(rows)):
        console().print(f"{title}: none")
        return
    table = Table(title=title or None, title_justify="left", show_header=any(head))
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    console().print(table)


def _plain(value: object) -> str:
    """A value of a record as it stands in the cell of a table."""
    match value:
        case {"text": text, "scope": scope, "kind": kind}:
            return f"{text} ({scope.lower()}{', ' + kind if kind else ''})"
        case {"hpo_id": hpo_id, "label": label}:
            return f"{hpo_id} {label}"
        case dict():
            return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in value.items())
        case list():
            return "\n".join(_plain(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)
