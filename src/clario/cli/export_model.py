"""`clario train export`: a trained adapter for llama.cpp, transformers and Ollama."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
**Examples**

clario train export runs/gemma/adapter --to gguf-adapter --output adapters/gemma3-270m/adapter.gguf

clario train export runs/gemma/adapter --to merged --base gemma.gguf --output merged/

clario train export runs/gemma/adapter --to ollama --base gemma.gguf --output ollama/
"""


class Format(StrEnum):
    """What to make of an adapter."""

    GGUF_ADAPTER = "gguf-adapter"
    MERGED = "merged"
    GGUF = "gguf"
    OLLAMA = "ollama"


def export(
    adapter: Annotated[Path, typer.Argument(help="The adapter's folder, as training wrote it.")],
    to: Annotated[Format, typer.Option(help="What to make of it.")],
    output: Annotated[Path, typer.Option(help="The file to write; of merged and ollama a folder.")],
    base: Annotated[
        str | None,
        typer.Option(help="The base: its GGUF file; for merged also a folder or hub id of 16-bit weights."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="For gguf and ollama: 16-bit weights of the base, else its GGUF file's."),
    ] = None,
    kind: Annotated[str, typer.Option(help="For gguf and ollama: f16, bf16 or q8_0.")] = "q8_0",
) -> None:
    """Write a trained adapter as a GGUF adapter, as merged weights, as a GGUF file or for Ollama."""
    from clario.training import convert, merge

    if to is Format.GGUF_ADAPTER:
        count = convert.write_gguf_adapter(adapter, output, Path(base) if base else _packaged())
        typer.echo(f"{output}: {count} LoRA pairs")
    elif to is Format.MERGED:
        count = merge.merge(adapter, base or str(_packaged()), output)
        typer.echo(f"{output}: {count} modules merged")
    else:
        file = Path(base) if base else _packaged()
        merge.write_merged(adapter, weights or str(file), file, output, kind, ollama=to is Format.OLLAMA)
        typer.echo(f"{output}: written as {kind}")


def _packaged() -> Path:
    from clario.extraction.llama_model import packaged_base

    return packaged_base()
