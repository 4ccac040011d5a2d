"""`clario serve`: Clario over HTTP."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clario.cli.console import check_release, one_line, tell

if TYPE_CHECKING:
    from clario.pipeline import Clario
    from clario.service.settings import Settings

EPILOG = """
**Examples**

clario serve

curl -s localhost:11435/extract -H 'Content-Type: application/json' -d '{"diary": "Mouth so dry. No fever."}'

clario serve --model lexicon --port 8000

clario serve --journal: with the review page at / for the entries of your journal

CLARIO_TOKEN=$(openssl rand -hex 24) clario serve --host 0.0.0.0 --allow-host diary.example.org

**Environment**

CLARIO_TOKEN: the token, where there is no --token-file. CLARIO_EXTRACTOR_PORT: the port.
CLARIO_KNOWLEDGE_PATH: a folder of HPO releases. CLARIO_ADAPTER: the adapter of a language model, such as
--model gemma.
"""

_ADAPTERS = "gemma"  # how the models are named that take one


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but this machine's own demands a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="CLARIO_EXTRACTOR_PORT", help="0 takes a free one.")
    ] = 11435,
    model: Annotated[str | None, typer.Option(help="A model of 'clario models'.")] = None,
    release: Annotated[str | None, typer.Option(help="An HPO release of 'clario ontology list'.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token that every request must bring.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name that the service is called by, such as a proxy's.")
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Requests at once; more are answered with 429.")] = 64,
    max_body: Annotated[int, typer.Option(min=1, help="Largest body of a request, in KiB.")] = 4096,
    max_chars: Annotated[int, typer.Option(min=1, help="Longest diary, in characters.")] = 100_000,
    max_texts: Annotated[int, typer.Option(min=1, help="Most diaries of one request.")] = 10_000,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one answer may take.")] = 100.0,
    journal: Annotated[
        bool, typer.Option("--journal", help="Show the journal's entries on the review page, to all who reach it.")
    ] = False,
    journal_file: Annotated[
        Path | None, typer.Option(envvar="CLARIO_JOURNAL", help="Its file. Default: in your data folder.")
    ] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="The page makes no proposals: for a golden set of people's own.")
    ] = False,
    own_only: Annotated[
        bool,
        typer.Option(
            "--own-only",
            help="Leave out of /extract what the patient does not have (denied, somebody else's, feared): "
            "for clients that do not read attrs.assertion.",
        ),
    ] = False,
) -> None:
    """Serve the sidecar, and the review page, on this machine. Not a diagnosis. Ctrl-C ends it."""
    _installed()
    from clario.service import server
    from clario.service.review import ReviewSettings

    path = _journal(journal_file) if journal else None
    settings = ReviewSettings(
        host=host,
        port=port,
        token=_token(token_file),
        hosts=frozenset(allow_host or ()),
        requests=requests,
        body_bytes=max_body << 10,
        text_chars=max_chars,
        texts=max_texts,
        seconds=timeout,
        own_only=own_only,
        journal=path,
        journal_key=_key(path),
        blind=blind,
    )
    clario = _clario(model, release)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    server.serve(clario, settings, lambda url: _announce(url, clario, settings))


def _installed() -> None:
    from clario.errors import ModelError

    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ModelError(f"the sidecar needs {error.name}: pip install 'clario[serve]'") from None


def _journal(file: Path | None) -> Path:
    from clario.errors import InputError
    from clario.journal.database import default_path

    path = file or default_path()
    if not path.exists():
        raise InputError(f"there is no journal at {path}; 'clario journal add' begins one")
    return path


def _key(path: Path | None) -> str | None:
    from clario.journal.keys import key_of

    return key_of(path, _ask) if path else None


def _ask(_new: bool) -> str:
    key: str = typer.prompt("Key of the journal", hide_input=True, err=True)
    return key


def _token(file: Path | None) -> str | None:
    if file is None:
        given = os.environ.get("CLARIO_TOKEN")
        return given.strip() if given else None  # blanks alone are a weak token, not none
    try:
        return file.read_text("ascii").strip()
    except UnicodeDecodeError:
        raise typer.BadParameter("the token is not ASCII", param_hint="--token-file") from None


def _clario(model: str | None, release: str | None) -> "Clario":
    from clario.extraction import base
    from clario.ontology.resolver import Resolver
    from clario.pipeline import Clario
    from clario.service import knowledge

    if os.environ.get("CLARIO_ADAPTER") and not (model or "").startswith(_ADAPTERS):
        tell("CLARIO_ADAPTER is set, but this model takes no adapter; name one that does with --model")
    folder = os.environ.get("CLARIO_KNOWLEDGE_PATH")
    if folder:
        resolver = Resolver(knowledge.load(Path(folder).expanduser(), release))
        return Clario(base.create(model, resolver) if model else base.default(resolver))
    check_release(release)
    return Clario(model, release)


def _announce(url: str, clario: "Clario", settings: "Settings") -> None:
    token = ", with the token" if settings.token else ""
    typer.echo(one_line(f"clario: {clario.model}, HPO {clario.resolver.release}, at {url}{token}"), err=True)
