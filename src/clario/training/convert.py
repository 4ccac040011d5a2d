"""A trained adapter of PEFT as a GGUF file, for llama.cpp. Gemma 3 text models only.

Every weight of an adapter is written, or the whole is refused: converters that skip what they do not know make a
model that is silently another one.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from clario.errors import InputError, ModelError, OutputError
from clario.extraction.gguf_header import read_header
from clario.extraction.llama_model import BASE_SHA256, SHOTS, check_adapter
from clario.paths import aside, sha256_of, sync_folder

CONFIG, WEIGHTS, RECORD = "adapter_config.json", "adapter_model.safetensors", "training.json"
ARCHITECTURE: Final = "gemma3"
_NAMES: Final = {
    "embed_tokens": "token_embd", "norm": "output_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}  # fmt: skip
_MODULE: Final = re.compile(r"(?:base_model\.model\.)?model\.(?:language_model\.)?(?:layers\.(\d+)\.)?([a-z_.]+)")
_HALF: Final = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
_PLAIN: Final = {"bias": "none", "use_dora": False, "fan_in_fan_out": False}
"""What the configuration of an adapter must say that is nothing but products of two matrices."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The two halves of one module's LoRA, float32: `a` [rank, inputs], `b` [outputs, rank], and alpha / rank."""

    a: Any
    b: Any
    scale: float

    def product(self) -> Any:
        """What is added to the weight [outputs, inputs]."""
        return self.scale * (self.b @ self.a)


@dataclass(frozen=True, slots=True)
class Adapter:
    """Pairs by the names that GGUF has for their weights; its alpha; whether it was taught with demonstrations."""

    pairs: Mapping[str, Pair]
    alpha: float
    shots: bool


def gguf_name(module: str) -> str | None:
    """GGUF's name of the weight of a module of Gemma 3 as transformers or PEFT name it; None if there is none."""
    found = _MODULE.fullmatch(module)
    known = _NAMES.get(found[2]) if found else None
    layered = known not in ("token_embd", "output_norm")
    if not found or known is None or layered != (found[1] is not None):
        return None
    return f"blk.{found[1]}.{known}.weight" if layered else f"{known}.weight"


def read_adapter(folder: Path) -> Adapter:
    """An adapter of PEFT.

    Raises:
        InputError: it is not there, or broken.
        ModelError: something in it is no LoRA of a projection of Gemma 3.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        record = json.loads((folder / RECORD).read_text("utf-8")) if (folder / RECORD).exists() else {}
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError):
        raise InputError(
            f"{folder} is no whole adapter of PEFT; name a folder with {CONFIG} and {WEIGHTS}"
        ) from None
    odd = [key for key, plain in _PLAIN.items() if config.get(key, plain) != plain]
    if odd or config.get("modules_to_save"):
        raise ModelError(
            f"the adapter has more than LoRA pairs ({(odd or ['modules_to_save'])[0]}); it cannot be told"
        )
    pairs = _pairs({name: t.float().numpy() for name, t in tensors.items()}, config)
    return Adapter(pairs, float(config["lora_alpha"]), bool(record.get("recipe", {}).get("shots", False)))


def _pairs(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Pair]:
    halves: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        found = _HALF.fullmatch(name)
        if not found or not gguf_name(found[1]):
            raise ModelError(f"{name} has no place in a GGUF adapter of Gemma 3; nothing was written")
        halves.setdefault(found[1], {})[found[2]] = tensor
    lone = next((module for module, both in halves.items() if len(both) < 2), None)
    if lone or not halves:
        raise ModelError(f"the adapter lacks a half of {lone or 'everything'}; train or fetch it again")
    return {str(gguf_name(m)): Pair(b["A"], b["B"], _scale(m, len(b["A"]), config)) for m, b in halves.items()}


def _scale(module: str, rank: int, config: Mapping[str, Any]) -> float:
    """alpha / rank, or alpha / sqrt(rank) of rank-stabilised LoRA (Kalajdzievski 2023)."""
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    # As PEFT matches them: the end of the module's name.
    alphas = [alpha for key, alpha in patterns.items() if re.match(rf"(.*\.)?({key})$", module)]
    alpha = float(alphas[0] if alphas else config["lora_alpha"])
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def write_gguf_adapter(folder: Path, output: Path, base: Path | None = None) -> int:
    """Write an adapter of PEFT as a GGUF file, float16; gives the number of its pairs.

    llama.cpp multiplies by alpha / rank, one alpha for all; where a module has another scale, its `b` is scaled.

    Args:
        base: the GGUF file that it belongs to; its checksum is written, and another base then refused.

    Raises:
        InputError, ModelError: see `read_adapter`; or it does not fit the base.
        OutputError: `output` cannot be written.
    """
    adapter = read_adapter(folder)
    with writing(output, ARCHITECTURE) as writer:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", adapter.alpha)
        writer.add_bool(SHOTS, adapter.shots)
        if base:
            writer.add_string(BASE_SHA256, sha256_of(base))
        for name, pair in sorted(adapter.pairs.items()):
            writer.add_tensor(f"{name}.lora_a", pair.a.astype(np.float16))
            even = pair.scale * len(pair.a) / adapter.alpha
            writer.add_tensor(f"{name}.lora_b", (pair.b * even).astype(np.float16))
    _check_written(output, adapter, base)
    return len(adapter.pairs)


def _check_written(output: Path, adapter: Adapter, base: Path | None) -> None:
    header = read_header(output)
    wanted = {f"{name}.lora_{half}" for name in adapter.pairs for half in "ab"}
    try:
        if set(header.tensors) != wanted:
            raise ModelError(
                f"{len(wanted ^ set(header.tensors))} halves of the adapter were not written; report this"
            )
        if base:
            check_adapter(output, header, base, read_header(base))
    except ModelError:
        output.unlink()
        raise


@contextmanager
def writing(output: Path, architecture: str) -> Iterator[Any]:
    """A writer of the package gguf; `output` appears when the block ends without an error."""
    try:
        from gguf import GGUFWriter
    except ImportError:
        raise ModelError("writing GGUF needs the package gguf: pip install gguf") from None
    part = aside(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        writer = GGUFWriter(part, architecture)
        try:
            yield writer
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
        part.replace(output)
        sync_folder(output.parent)
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}; nothing was changed") from None
    finally:
        part.unlink(missing_ok=True)
