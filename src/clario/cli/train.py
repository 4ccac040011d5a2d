"""`clario train`: train Clario's own models. Needs the packages of the extra `train`."""

from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
**Examples**

clario train mini --data data/corpus --lexicon data/lexicon/lay_phrases.jsonl --base minilm --output runs/mini

clario train mini ... --smoke: two steps, to see that everything runs.
"""

app = typer.Typer(help="Train Clario's own models.", no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def _group() -> None:
    """Keeps `mini` a command of its own while it is the only one."""


@app.command(epilog=EPILOG)
def mini(
    data: Annotated[Path, typer.Option(help="The folder of train.jsonl and validation.jsonl.")],
    lexicon: Annotated[Path, typer.Option(help="The lay lexicon, JSON Lines.")],
    base: Annotated[Path, typer.Option(help="The folder of the base: a BERT with model.safetensors.")],
    output: Annotated[Path, typer.Option(help="A folder for the prepared files, the weights and the model.")],
    smoke: Annotated[bool, typer.Option("--smoke", help="Two steps on a part, to see that it runs.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the parts that are there.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    hold_out: Annotated[
        bool, typer.Option("--hold-out", help="A linker for benchmarks/linking.py, which asks for the rest.")
    ] = False,
) -> None:
    """Prepare the data, train the small encoder, and write the model that is served to OUTPUT/model."""
    from clario.training import data as preparing
    from clario.training.encoder import train
    from clario.training.finish import finish

    prepared, trained = output / "prepared", output / ("held-out" if hold_out else "trained")
    if not (resume and (prepared / preparing.PREPARED).exists()):
        preparing.prepare(data, lexicon, base, prepared)
    train(prepared, trained, smoke=smoke, resume=resume, seed=seed, hold_out=hold_out, log=typer.echo)
    record = finish(prepared, trained, output / ("model-held-out" if hold_out else "model"), hold_out, smoke)
    typer.echo(f"version {record['version']}")
