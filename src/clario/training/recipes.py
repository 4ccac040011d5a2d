"""Recipes: what a training run is told, as frozen records out of TOML files. Needs nothing but Python."""

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from clario.errors import InputError

FOLDER: Final = Path(__file__).parent / "recipes"
KINDS: Final = ("diaries", "excerpts", "phrases", "sentences", "synonyms")
OPTIMIZERS: Final = ("adamw_torch", "adamw_8bit")
SCHEDULES: Final = ("cosine", "linear", "constant")
ASSERTIONS: Final = ("model", "rules")
QUANTIZATIONS: Final = ("none", "nf4")
MODULES: Final = {
    **{name: f"self_attn.{name}_proj" for name in ("q", "k", "v", "o")},
    **{name: f"mlp.{name}_proj" for name in ("gate", "up", "down")},
}
_PLAIN: Final[dict[Any, tuple[type, ...]]] = {str: (str,), int: (int,), bool: (bool,), float: (int, float)}
_Table = TypeVar("_Table")


@dataclass(frozen=True, slots=True)
class Lora:
    """The adapter: rank, scale, dropout, and which projections of every language-model layer it changes."""

    r: int
    alpha: int
    dropout: float
    modules: tuple[str, ...]

    def targets(self) -> str:
        """A regular expression for PEFT (it must match a module's whole name): projections of decoder layers.

        The towers for pictures and sound have projections of the same names; they, the embeddings and the output
        layer are never changed.
        """
        ends = "|".join(MODULES[name].replace(".", r"\.") for name in self.modules)
        return rf"(?:(?!vision|audio|embed).)*\blayers\.\d+\.(?:{ends})"


@dataclass(frozen=True, slots=True)
class Optimizer:
    """How weights are changed. `rate` is the highest learning rate, `warmup` the share of the run before it."""

    name: str
    rate: float
    schedule: str
    warmup: float
    decay: float
    clip: float


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of example: how many a step takes, and what the mean loss of their answers weighs."""

    kind: str
    batch: int
    weight: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the trained model leaves to others when it reads; see `clario.extraction.gemma_model`.

    `candidates`: among how many terms of the dense index it names a quote, 0 for all; `assertions`: who tells
    them, the "model" or the "rules". Both are chosen on validation diaries.
    """

    candidates: int
    assertions: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way of training an adapter.

    Attributes:
        base: the hub's name of the base, whatever folder it is loaded from.
        quantization: "nf4" (4 bits, double quantisation, bfloat16 compute) or "none".
        system_turn, shots: see `clario.extraction.prompt`.
        length: tokens; longer examples are left out, because an answer cut short teaches to stop too early.
        epochs: of the first source; the others are repeated for as long.
        tokens: padded tokens of a forward pass; a step is divided into as many passes as it takes.
        chunk: answer positions whose logits exist at once.
        checkpointing: compute activations again instead of keeping them.
        save_every: steps between checkpoints.
    """

    name: str
    base: str
    quantization: str
    system_turn: bool
    shots: bool
    length: int
    epochs: int
    tokens: int
    chunk: int
    checkpointing: bool
    save_every: int
    lora: Lora
    optimizer: Optimizer
    reading: Reading
    sources: tuple[Source, ...]

    def record(self) -> dict[str, Any]:
        """The recipe as JSON has it; `from_record` reads it."""
        return asdict(self)


def names() -> list[str]:
    """The recipes that Clario brings."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Recipe:
    """A recipe by name, or of a TOML file.

    Raises:
        InputError: there is none, or it is broken; the message says what to change.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"no recipe {name[:80]!r}; there are {', '.join(names())}, or name a .toml file")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no recipe: {error}") from None
    return from_record(table, path.name)


def from_record(table: dict[str, Any], where: str = "recipe") -> Recipe:
    """A recipe out of its table; raises as `load` does."""
    parts = dict(table)
    for key, kind in (("lora", Lora), ("optimizer", Optimizer), ("reading", Reading)):
        parts[key] = _made(kind, parts.get(key), f"{where}, {key}")
    rows = parts.get("sources")
    rows = rows if isinstance(rows, (list, tuple)) else []
    parts["sources"] = tuple(_made(Source, row, f"{where}, sources") for row in rows)
    recipe = _made(Recipe, parts, where)
    _check(recipe, where)
    return recipe


def _made(kind: type[_Table], table: Any, where: str) -> _Table:
    """A record out of a table that has all its keys and no other, each of the kind that it says."""
    if not isinstance(table, dict):
        raise InputError(f"{where}: a table is missing")
    known: dict[str, Any] = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    if odd := set(known) ^ set(table):
        what = "is missing" if odd <= set(known) else "is unknown"
        raise InputError(f"{where}: {', '.join(sorted(odd))} {what}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    for key, value in values.items():
        if known[key] in _PLAIN and type(value) not in _PLAIN[known[key]]:
            raise InputError(f"{where}: {key} is not of the kind {known[key].__name__}")
    return kind(**values)


def _check(recipe: Recipe, where: str) -> None:
    """Refuse what cannot work, and a paged optimiser, which can hang."""
    optimizer = recipe.optimizer
    if optimizer.name.startswith("paged"):
        raise InputError(
            f"{where}: a paged optimiser hung the reference run (it moves its state to the main memory behind "
            f"PyTorch's back); take {' or '.join(OPTIMIZERS)}"
        )
    _among(where, "optimizer", [optimizer.name], OPTIMIZERS)
    _among(where, "schedule", [optimizer.schedule], SCHEDULES)
    _among(where, "quantization", [recipe.quantization], QUANTIZATIONS)
    _among(where, "assertions", [recipe.reading.assertions], ASSERTIONS)
    _among(where, "modules", list(recipe.lora.modules), tuple(MODULES))
    _among(where, "kind", [source.kind for source in recipe.sources], KINDS)
    counts = (recipe.length, recipe.epochs, recipe.tokens, recipe.chunk, recipe.save_every, recipe.lora.r)
    if min(*counts, *(source.batch for source in recipe.sources), 1) < 1:
        raise InputError(f"{where}: length, epochs, tokens, chunk, save_every, r and batch must be 1 or more")
    if not recipe.sources or recipe.sources[0].kind != "diaries":
        raise InputError(f"{where}: the first source must be the diaries")
    if not (optimizer.rate > 0 and 0 <= optimizer.warmup < 1 and 0 <= recipe.lora.dropout < 1):
        raise InputError(f"{where}: rate must be above 0, warmup and dropout from 0 to below 1")


def _among(where: str, what: str, given: list[str], known: tuple[str, ...]) -> None:
    for value in given:
        if value not in known:
            raise InputError(f"{where}: {what} {value!r} is unknown; there are {', '.join(known)}")
