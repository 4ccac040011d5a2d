"""The folder that training reads: token ids, a recipe, a base. Reading it needs NumPy and nothing else of Clario.

examples.npz     token ids of each kind of example and of the validation diaries
base/            `base_model.Base`: where the base lies, or its weights in pieces that can be carried one by one
prepared.json    what all this was made from; written last
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from clario.errors import InputError
from clario.paths import sha256_of, write_atomically
from clario.training import base_model, recipes
from clario.training.recipes import Recipe

RECORD: Final = "prepared.json"
EXAMPLES: Final = "examples.npz"
VALIDATION: Final = "validation"
PAD: Final = 0
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Examples:
    """Token ids of the examples of a kind; `answers` is the place of each one's first answer token."""

    ids: tuple[Array, ...]
    answers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> Array:
        """Tokens of each example."""
        return np.array([len(ids) for ids in self.ids])


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared folder, read."""

    folder: Path
    recipe: Recipe
    record: Mapping[str, Any]
    examples: Mapping[str, Examples]
    sha256: str


def read(folder: Path) -> Prepared:
    """Read a prepared folder.

    Raises:
        InputError: it is not there, not whole, or broken.
    """
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        recipe = recipes.from_record(record["recipe"])
        with np.load(folder / EXAMPLES) as file:
            arrays = dict(file)
        examples = {kind: _cut(arrays, kind) for kind in record["counts"]}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} was not prepared wholly ({type(error).__name__}); prepare it again") from None
    if sha256_of(folder / EXAMPLES) != record["examples_sha256"]:
        raise InputError(f"{folder / EXAMPLES} is not what was prepared; prepare it again")
    return Prepared(folder, recipe, record, examples, sha256_of(folder / RECORD))


def _cut(arrays: Mapping[str, Array], kind: str) -> Examples:
    ends = np.cumsum(arrays[f"{kind}.lengths"])
    ids = tuple(np.split(arrays[f"{kind}.ids"], ends[:-1])) if len(ends) else ()
    return Examples(ids, tuple(int(one) for one in arrays[f"{kind}.answers"]))


def prepare(
    recipe: Recipe,
    data: Path,
    lexicon: Path | None,
    base: str,
    output: Path,
    *,
    tokenizer: Path | None = None,
    carry: bool = False,
    release: str | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Write the files that training reads into `output`.

    Args:
        data: the folder of train.jsonl and validation.jsonl; the test part is not read.
        lexicon: the folder of lay_phrases.jsonl and sentences.jsonl, for recipes that use them.
        base: a folder, a GGUF file, or a hub id.
        tokenizer: the folder of its tokenizer.json, where that lies apart.
        carry: put the base's weights into `output`, in pieces, for another machine.

    Raises:
        InputError: a file is missing or broken. ModelError: the base or its tokenizer cannot be used.
    """
    words = base_model.tokenizer_of(base, tokenizer)
    if recipe.base == base_model.GEMMA3_270M:
        base_model.check_tokenizer(words)
    kinds = _examples(recipe, data, lexicon, release)
    arrays: dict[str, Array] = {}
    counts, left_out = {}, {}
    from clario.training.examples import tokenize

    for kind, found in kinds.items():
        tokens, left_out[kind] = tokenize(found, words, recipe.length)
        arrays |= {f"{kind}.{name}": value for name, value in asdict(tokens).items()}
        counts[kind] = len(tokens)
        if kind != VALIDATION and not counts[kind]:
            raise InputError(f"{data} gives no {kind} that the recipe {recipe.name} could take")
        log(f"{kind}: {len(tokens):,} examples, {len(tokens.ids):,} tokens, {left_out[kind]:,} too long")
    with write_atomically(output / EXAMPLES) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    described = base_model.describe(base, output / "base", carry)
    _finish(recipe, data, lexicon, output, described, {"counts": counts, "left_out": left_out}, release)


def _examples(recipe: Recipe, data: Path, lexicon: Path | None, release: str | None) -> dict[str, Any]:
    from clario.ontology import release as releases
    from clario.training import examples

    kinds: dict[str, Any] = {
        "diaries": examples.diaries(data / "train.jsonl", recipe),
        VALIDATION: examples.diaries(data / "validation.jsonl", recipe),
    }
    for source in recipe.sources[1:]:
        if source.kind == "excerpts":
            kinds[source.kind] = examples.excerpts(data / "train.jsonl", recipe)
            continue
        if lexicon is None and source.kind != "synonyms":
            raise InputError(f"the recipe {recipe.name} takes {source.kind}: name their folder by --lexicon")
        kinds[source.kind] = examples.naming(source.kind, lexicon or data, releases.load(release), recipe)
    return kinds


def _finish(
    recipe: Recipe, data: Path, lexicon: Path | None, output: Path, base: dict[str, Any],
    counted: dict[str, Any], release: str | None,
) -> None:  # fmt: skip
    from clario import __version__
    from clario.extraction import prompt
    from clario.ontology import release as releases
    from clario.training.data import LEXICON, SENTENCES

    used = {"phrases": LEXICON, "sentences": SENTENCES}
    files = [data / "train.jsonl", data / "validation.jsonl"]
    files += [lexicon / used[s.kind] for s in recipe.sources if lexicon and s.kind in used]
    rendered = prompt.render(prompt.messages("", shots=recipe.shots), recipe.system_turn)
    record = {
        "clario": __version__,
        "recipe": recipe.record(),
        "release": releases.load(release).release,
        "sources": {path.name: sha256_of(path) for path in files},
        "prompt_sha256": _sha256(rendered),
        "base": base,
        **counted,
        "examples_sha256": sha256_of(output / EXAMPLES),
    }
    with write_atomically(output / RECORD) as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())


def _sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()
