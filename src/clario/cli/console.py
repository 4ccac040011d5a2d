"""What the commands share: a terminal that no input can steer, messages, and the check of `--release`."""

import re
import sys
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from clario.writing import Sink

# Control characters, marks that turn the direction of writing, and halves of surrogate pairs.
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BLANKS = str.maketrans("\t\r", "  ")


class Shape(StrEnum):
    """How results are shown where they are figures or terms."""

    TABLE = "table"
    JSON = "json"


def printable(text: str) -> str:
    """A text without what could steer a terminal; line ends stay.

    One code point stands for each, so that offsets stay true.
    """
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text.translate(_BLANKS))


def one_line(text: str) -> str:
    """`printable`, and no line ends either: an id or a message cannot pretend to be several."""
    return printable(text).replace("\n", " ")


def tell(message: str) -> None:
    """Print one line about what went wrong, on the standard error."""
    typer.secho(f"clario: {one_line(message)}", fg="red", err=True)


def echo(text: str) -> None:
    """Print data: as it is, but `printable` where a person looks."""
    typer.echo(printable(text) if sys.stdout.isatty() else text)


def console(*, stderr: bool = False) -> "Console":
    """A console of Rich that takes what it prints as it stands: no markup, no emoji names."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def standard_output() -> "Sink":
    """The standard output for data: as it is, but `printable` where a person looks."""
    return _Terminal() if sys.stdout.isatty() else sys.stdout


class _Terminal:
    def write(self, text: str, /) -> object:
        return sys.stdout.write(printable(text))

    def flush(self) -> None:
        sys.stdout.flush()


def check_release(name: str | None) -> None:
    """Refuse a release that is not there as bad use.

    Raises:
        typer.BadParameter: there is no such release.
        OntologyError: it is there, but cannot be used.
    """
    from clario.errors import OntologyError
    from clario.ontology import release as releases

    try:
        releases.load(name)
    except OntologyError as error:
        if name in (None, releases.SHIPPED) or name in [manifest.release for manifest in releases.installed()]:
            raise
        raise typer.BadParameter(one_line(str(error))) from None
