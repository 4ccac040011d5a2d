"""Loads Gemma and an adapter for `gemma`: where they lie, in which precision, and whether they fit each other.

Nothing is fetched unless a hub id was named, in the extractor's name or in the environment; a base that only the
adapter's own configuration names must be on this machine already.

A file `clario.json` beside the adapter may hold what its training knows:
    base_fingerprint    see `fingerprint`
    shots               whether it was taught with the demonstrations of the prompt
    candidates          among how many terms of the dense index it names a quote; else among all names
    assertions          "rules" where `context` tells them better than the model
    confidence          weights of logistic functions (Platt 1999): "other" of one and the log-odds of the mean
                        probability of an entity's tokens; "named", for those with a candidate's name, also of the
                        score of the best candidate and its lead
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clario.errors import ModelError
from clario.paths import sha256_of

ADAPTER, BASE, PRECISION = "CLARIO_ADAPTER", "CLARIO_BASE", "CLARIO_PRECISION"
"""Variables of the environment."""
NO_ADAPTER: Final = "none"
"""As `CLARIO_ADAPTER`: the base reads alone, whatever adapter lies in a usual place."""
PRECISIONS: Final = ("4bit", "bf16", "float32")
FACTS: Final = "clario.json"
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_LARGE: Final = 2048  # hidden size from which 16 bits a weight are too much for a usual card
_INSTALL: Final = "install the packages of `pip install 'clario[gemma]'`"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something lies: a folder, a file or a hub id, and whether the hub may be asked."""

    name: str
    may_fetch: bool

    @property
    def gguf(self) -> Path | None:
        """The path of a GGUF file, else None."""
        path = Path(self.name).expanduser()
        return path if path.suffix.lower() == ".gguf" else None

    def file(self, name: str) -> Path | None:
        """A file of a folder or of the hub, None where there is no such file."""
        folder = Path(self.name).expanduser()
        if folder.exists():
            return folder / name if (folder / name).is_file() else None
        from transformers.utils import cached_file

        with _explained(self.name):
            found = cached_file(
                self.name, name, local_files_only=not self.may_fetch, _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=self.may_fetch,
            )  # fmt: skip
        return Path(found) if found else None


@dataclass(frozen=True)
class Loaded:
    """A model ready to read, with what its adapter's training knows."""

    model: Any
    tokenizer: Any
    version: str
    shots: bool
    facts: dict[str, Any] = field(default_factory=dict)


def load(named: str) -> Loaded:
    """The model of a name: an adapter, on its base or `CLARIO_BASE`; or a base, with `CLARIO_ADAPTER` if that is
    set and not "none".

    Raises:
        ModelError: it cannot be had, read or joined; the message says what to do.
    """
    try:
        import peft  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise ModelError(f"gemma needs {error.name}; {_INSTALL}") from None
    base, adapter, config = _places(named)
    precision = _precision(base)
    model = _base(base, precision)
    facts: dict[str, Any] = {}
    version = f"{Path(base.name).name}.{precision}"
    if adapter:
        facts = _facts(adapter)
        _check_fit(model, adapter, config, facts)
        model = _joined(model, adapter, precision)
        version = f"{_digest(adapter, facts)}+{version}"
    tokenizer = _tokenizer(adapter if adapter and adapter.file("tokenizer.json") else base)
    return Loaded(model.eval(), tokenizer, version, bool(facts.get("shots", adapter is None)), facts)


def _places(named: str) -> tuple[Place, Place | None, dict[str, Any]]:
    """The base, the adapter if there is one, and the adapter's configuration."""
    first, others = Place(named, True), (os.environ.get(BASE, "").strip(), os.environ.get(ADAPTER, "").strip())
    missing = named.startswith((".", "/", "~")) and not Path(named).expanduser().exists()
    if missing:
        raise ModelError(f"there is no {named}; name a folder, a GGUF file or a hub id after 'gemma:'")
    base, adapter = (None, first) if not first.gguf and first.file(_CONFIG) else (first, None)
    if adapter is None and others[1] not in ("", NO_ADAPTER):
        adapter = Place(others[1], True)
    config = _adapter_config(adapter) if adapter else {}
    if base is None:
        own = config.get("base_model_name_or_path") or ""
        if not others[0] and not own:
            raise ModelError(f"the adapter {named} does not tell its base; set {BASE} to a folder or a hub id")
        base = Place(others[0] or own, bool(others[0]))
    return base, adapter, config


def _adapter_config(adapter: Place) -> dict[str, Any]:
    path = adapter.file(_CONFIG)
    if path is None:
        raise ModelError(f"{adapter.name} is no adapter: it has no {_CONFIG}; set {ADAPTER} to one of PEFT's")
    config = _object(path)
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{adapter.name} is an adapter of another kind ({config.get('peft_type')}), not LORA")
    return config


def _facts(adapter: Place) -> dict[str, Any]:
    path = adapter.file(FACTS)
    facts = _object(path) if path else {}
    weights, candidates = facts.get("confidence", {}), facts.get("candidates", 0)
    if (
        not isinstance(candidates, int)
        or not isinstance(weights, dict)
        or not all(map(_are_weights, weights.items()))
    ):
        raise ModelError(f"{path} is damaged, or of an older version; fetch or train the adapter again")
    return facts


def _are_weights(row: tuple[str, Any]) -> bool:
    kind, found = row
    wanted = {"named": 4, "other": 2}.get(kind)
    return isinstance(found, list) and len(found) == wanted and all(isinstance(w, (int, float)) for w in found)


def _object(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ModelError(f"{path} is damaged; fetch or train the adapter again")
    return record


def _digest(adapter: Place, facts: dict[str, Any]) -> str:
    """Eight digits of the adapter's weights, four of how it is read with."""
    path = adapter.file(_WEIGHTS)
    if path is None:
        raise ModelError(f"{adapter.name} has no {_WEIGHTS}; fetch or train the adapter again")
    told = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{sha256_of(path)[:8]}.{told[:4]}"


def _precision(base: Place) -> str:
    """The one asked for; else 4 bits for a large model on a CUDA GPU, bf16 where memory or the GPU suggests it."""
    import torch

    asked, cuda = os.environ.get(PRECISION, "").strip(), torch.cuda.is_available()
    if asked and asked not in PRECISIONS:
        raise ModelError(f"{PRECISION} is {asked!r}; it may be {', '.join(PRECISIONS)}")
    if asked == "4bit" and not cuda:
        raise ModelError(
            f"4 bits need a CUDA GPU, and PyTorch finds none here; set {PRECISION}=bf16 to do without"
        )
    if asked:
        return asked
    large = base.gguf is None and _hidden_size(base) >= _LARGE
    if cuda:
        return "4bit" if large else "bf16"
    return "bf16" if large else "float32"


def _hidden_size(base: Place) -> int:
    path = base.file("config.json")
    if path is None:
        raise ModelError(
            f"the base model {base.name} is not on this machine; set {BASE} to its folder, its GGUF file or, to "
            "have it fetched, its hub id"
        )
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError:
        raise ModelError(f"{path} is damaged; fetch the base model again") from None
    size: int = config.get("text_config", config).get("hidden_size", 0)
    return size


def _base(base: Place, precision: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": torch.float32 if precision == "float32" else torch.bfloat16}
    if precision == "4bit":
        options["quantization_config"] = _four_bits()
    elif base.gguf:
        from transformers import GgufConfig

        options["quantization_config"] = GgufConfig(dequantize=True)  # adapters need plain weights
    if torch.cuda.is_available():
        options["device_map"] = {"": torch.cuda.current_device()}
    with _explained(base.name):
        return AutoModelForCausalLM.from_pretrained(*_source(base), **_source_options(base), **options)


def _four_bits() -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise ModelError(f"4 bits need bitsandbytes; {_INSTALL}, or set {PRECISION}=bf16") from None
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip


def _source(base: Place) -> tuple[str]:
    return (
        str(base.gguf.parent) if base.gguf else str(Path(base.name).expanduser()) if _is_here(base) else base.name,
    )


def _is_here(base: Place) -> bool:
    return Path(base.name).expanduser().exists()


def _source_options(base: Place) -> dict[str, Any]:
    return {"gguf_file": base.gguf.name} if base.gguf else {"local_files_only": not base.may_fetch}


def _tokenizer(base: Place) -> Any:
    from transformers import AutoTokenizer

    with _explained(base.name):
        tokenizer = AutoTokenizer.from_pretrained(*_source(base), **_source_options(base))
    if base.gguf and "▁before" not in tokenizer.tokenize("pads before"):
        raise ModelError("this transformers reads the tokenizer of a GGUF file wrongly; install transformers 5.23")
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"the tokenizer of {base.name} has no tokenizer.json; use a model that has one")
    return tokenizer


def _joined(model: Any, adapter: Place, precision: str) -> Any:
    """The base with the adapter merged into its weights, which saves much time; beside them where they have
    4 bits, since merging would round those anew.
    """
    from peft import PeftModel

    with _explained(adapter.name), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what PEFT still asks of newer models
        joined = PeftModel.from_pretrained(model, *_source(adapter), local_files_only=not adapter.may_fetch)
        return joined if precision == "4bit" else joined.merge_and_unload()


def fingerprint(model: Any) -> str:
    """What tells one base from another whatever its precision: a hash of its last norm's weights in bf16.

    Norms are not quantised, neither in NF4 nor in a GGUF file.
    """
    import torch

    weights = [
        p for name, p in model.named_parameters() if name.endswith("norm.weight") and ".layers." not in name
    ]
    numbers = weights[-1].detach().to("cpu", torch.bfloat16).view(torch.int16).numpy()
    return hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


def _check_fit(model: Any, adapter: Place, config: dict[str, Any], facts: dict[str, Any]) -> None:
    """Compare an adapter's matrices with the layers of the base, and the base with the one it was trained on.

    Raises:
        ModelError: they do not belong together.
    """
    trained_on = config.get("base_model_name_or_path") or "another base"
    advice = f"it was trained on {trained_on}: set {BASE} to that model"
    wanted, layers = _shapes(adapter), dict(model.named_modules())
    wrong = [name for name, shape in wanted.items() if _shape(layers.get(name)) != shape]
    if wrong or not wanted:
        raise ModelError(
            f"the adapter {adapter.name} does not fit the base in {len(wrong)} of {len(wanted)} layers; {advice}"
        )
    known = facts.get("base_fingerprint")
    if known and known != fingerprint(model):
        raise ModelError(f"the adapter {adapter.name} belongs to other weights than those of this base; {advice}")


def _shapes(adapter: Place) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of the layers that an adapter changes."""
    from safetensors import safe_open

    path = adapter.file(_WEIGHTS)
    if path is None:
        raise ModelError(f"{adapter.name} has no {_WEIGHTS}; fetch or train the adapter again")
    sides: dict[str, dict[str, int]] = {}
    with _explained(adapter.name), safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118  no mapping
            name, _, side = key.removesuffix(".weight").rpartition(".lora_")
            shape = file.get_slice(key).get_shape()
            if name and side in "AB":
                sides.setdefault(name.removeprefix("base_model.model."), {})[side] = shape[side == "A"]
    return {name: (found.get("A", 0), found.get("B", 0)) for name, found in sides.items()}


def _shape(layer: Any) -> tuple[int, int] | None:
    return (layer.in_features, layer.out_features) if hasattr(layer, "in_features") else None


def out_of_memory(error: BaseException) -> bool:
    """Whether a failure of PyTorch means that memory ran out, on a GPU or a CPU."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError) or "allocate memory" in str(error)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn the failures of loading into one that says what to do."""
    from safetensors import SafetensorError

    try:
        yield
    except ImportError as error:
        raise ModelError(f"{name} cannot be loaded: {error.name or 'a package'} is missing; {_INSTALL}") from None
    except (SafetensorError, EOFError) as error:
        raise ModelError(f"the weights of {name} are damaged or cut off ({error}); fetch them again") from None
    except OSError:
        raise ModelError(
            f"{name} is not there, or not whole; name a folder with config.json, weights and tokenizer.json, a "
            "GGUF file, or a hub id that can be reached (`hf download` fetches; some ask to accept a licence)"
        ) from None
    except (ValueError, KeyError, RuntimeError) as error:
        if out_of_memory(error):
            raise ModelError(
                f"not enough memory to load {name}; set {PRECISION}=4bit, or use a smaller model"
            ) from None
        raise ModelError(f"{name} cannot be loaded ({type(error).__name__}: {str(error)[:200]})") from None
