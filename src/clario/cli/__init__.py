"""The command line: thin commands over the library. Exit codes: 0 done, 1 an input failed, 2 bad use.

Each command imports what it needs when it runs, so that `clario --help` answers at once.
"""

import os
import sys

import typer

from clario.cli import check, corpus, evaluate, extract, lookup, ontology
from clario.errors import ClarioError

app = typer.Typer(
    help="Turn what patients write in their own words into Human Phenotype Ontology terms. Not a diagnosis.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # A traceback with local variables would print patient text.
    pretty_exceptions_enable=False,
)
app.command("extract", epilog=extract.EPILOG)(extract.extract)
app.command("resolve", epilog=lookup.RESOLVE_EPILOG)(lookup.resolve)
app.command("models")(lookup.models)
app.command("schema")(lookup.schema)
app.command("evaluate", epilog=evaluate.EPILOG)(evaluate.evaluate)
app.add_typer(ontology.app, name="ontology")
corpus.app.command("check", epilog=check.EPILOG)(check.check)
app.add_typer(corpus.app, name="corpus")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        from clario import __version__

        typer.echo(f"clario {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; errors that a user can mend become one line on the standard error."""
    try:
        app()
    except ClarioError as error:
        typer.secho(f"clario: {error}", fg="red", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of a pipe went away (clario extract ... | head): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
