"""What `mini` is trained on, as plain files: terms, phrases, diaries, and a base with a smaller vocabulary.

Everything that needs the rest of Clario happens here, so that `clario.training.encoder` runs on a machine
that has PyTorch and this package's folder only.

terms.jsonl       {"id", "label", "synonyms", "definition", "parents"} of the terms under Phenotypic abnormality
phrases.jsonl     {"hpo_id", "phrase", "part"} of the lay lexicon; `part` as in `part_of`
sentences.jsonl   {"hpo_id", "text", "start", "end"}: a mention of a term in a sentence or two
train.jsonl, validation.jsonl    the diaries
tokenizer.json, base.npz         the base encoder, its vocabulary cut down, weights in float16
prepared.json     what all this was made from; written last
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clario.corpus import dataset
from clario.errors import InputError
from clario.ontology import release as releases
from clario.ontology.index import Index, TermRecord
from clario.ontology.normalize import key
from clario.ontology.sources import read_lexicon
from clario.paths import sha256_of, write_atomically

SEED = 20_260_216
KNOWN, PHRASE, TERM = "known", "phrase", "term"
_HELD_OUT_TERMS = 15  # in a hundred
_FEWEST_PHRASES = 4  # of a term one of whose phrases is held out
FREQUENT_PIECES = 10_000
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST = 384  # word pieces that the encoder reads at once
PREPARED = "prepared.json"
LEXICON, SENTENCES = "lay_phrases.jsonl", "sentences.jsonl"


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of the lay lexicon. `part` is KNOWN, or how it is held out: PHRASE alone, or its whole TERM."""

    hpo_id: str
    phrase: str
    part: str


def hold_out(lexicon: Iterable[tuple[str, str]], names: Iterable[str], seed: int = SEED) -> list[Phrase]:
    """Put each (HPO id, phrase) of a lexicon into a part, by hashes, so that a lexicon that grows keeps them.

    All phrases of 15 % of the terms are held out, and one phrase of each other term that has four. A phrase
    that says the same (`normalize.key`) as another phrase or as one of `names` is never held out.
    """
    phrases = list(dict.fromkeys(lexicon))
    said = [key(text) for text in [*(phrase for _, phrase in phrases), *names]]
    often = {one for one, count in _counts(said).items() if count > 1}
    of_term: dict[str, list[str]] = {}
    for hpo_id, phrase in phrases:
        of_term.setdefault(hpo_id, []).append(phrase)
    parts: dict[tuple[str, str], str] = {}
    for hpo_id, own in of_term.items():
        if _hash(seed, hpo_id) % 100 < _HELD_OUT_TERMS:
            parts.update({(hpo_id, phrase): TERM for phrase in own if key(phrase) not in often})
        elif len(own) >= _FEWEST_PHRASES:
            first = min(own, key=lambda phrase: _hash(seed, hpo_id, phrase))
            if key(first) not in often:
                parts[hpo_id, first] = PHRASE
    return [Phrase(hpo_id, phrase, parts.get((hpo_id, phrase), KNOWN)) for hpo_id, phrase in phrases]


def _counts(said: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in said:
        counts[one] = counts.get(one, 0) + 1
    return counts


def _hash(*parts: object) -> int:
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def prepare(data: Path, lexicon: Path, base: Path, output: Path, release: str | None = None) -> None:
    """Write the files that training reads into `output`.

    Args:
        data: the folder of train.jsonl and validation.jsonl; the test part is not read.
        lexicon: the folder of the lay lexicon, `LEXICON`, and of its sentences, `SENTENCES`.
        base: the folder of a BERT with model.safetensors, tokenizer.json and config.json.

    Raises:
        InputError: a file is missing or broken.
        OutputError: `output` cannot be written.
    """
    index = releases.load(release)
    terms = [index.term(hpo_id) for hpo_id in index.ids if index.is_phenotypic(hpo_id)]
    live = _live(read_lexicon(lexicon / LEXICON).phrases, index)
    sentences = list(read_sentences(lexicon / SENTENCES, index))
    phrases = hold_out(live, (name.text for name in index.names))
    diaries = {part: dataset.load(data / f"{part}.jsonl") for part in ("train", "validation")}
    _write(output / "terms.jsonl", map(_term, terms))
    _write(output / "phrases.jsonl", ({"hpo_id": p.hpo_id, "phrase": p.phrase, "part": p.part} for p in phrases))
    _write(output / SENTENCES, sentences)
    for part, found in diaries.items():
        _write(output / f"{part}.jsonl", (diary.model_dump(mode="json") for diary in found))
    told = [*(d.text for d in diaries["train"]), *(p.phrase for p in phrases), *(s["text"] for s in sentences)]
    shrink(base, [*told, *_texts(terms)], output)
    sources = [data / "train.jsonl", data / "validation.jsonl", lexicon / LEXICON, lexicon / SENTENCES]
    _finish(output, index.release, sources)


def read_sentences(path: Path, index: Index) -> Iterator[dict[str, Any]]:
    """The sentences of a file whose terms are phenotypic abnormalities of the release, retired ids brought on.

    Raises:
        InputError: the file cannot be read, or a line is no {"hpo_id", "text", "start", "end"}; it names the line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__})") from None
    live = set(index.ids)
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            hpo_id, inside = record["hpo_id"], 0 <= record["start"] < record["end"] <= len(record["text"])
        except (ValueError, TypeError, KeyError):
            inside = False
        if not inside:
            raise InputError(f"{path}: line {number} is no sentence with a mention")
        hpo_id = index.retired.get(hpo_id) or hpo_id
        if hpo_id in live and index.is_phenotypic(hpo_id):
            yield {**record, "hpo_id": hpo_id}


def _live(phrases: Iterable[tuple[str, str]], index: Index) -> list[tuple[str, str]]:
    known = ((index.retired.get(hpo_id) or hpo_id, phrase) for hpo_id, phrase in phrases)
    live = set(index.ids)
    return [(hpo_id, phrase) for hpo_id, phrase in known if hpo_id in live and index.is_phenotypic(hpo_id)]


def _term(term: TermRecord) -> dict[str, Any]:
    return {
        "id": term.hpo_id,
        "label": term.label,
        "synonyms": [s.text for s in term.synonyms if s.kind != "obsolete_synonym"],
        "definition": term.definition,
        "parents": list(term.parents),
    }


def _texts(terms: Iterable[TermRecord]) -> Iterator[str]:
    for term in terms:
        yield from (term.label, term.definition, *(s.text for s in term.synonyms))


def shrink(base: Path, texts: Iterable[str], output: Path, frequent: int = FREQUENT_PIECES) -> None:
    """Cut the vocabulary of a base to the pieces of `texts`, its most frequent pieces and all single signs.

    A text that holds other words is still read, in smaller pieces. Writes tokenizer.json and base.npz.
    """
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    try:
        record = json.loads((base / "tokenizer.json").read_text("utf-8"))
        weights = load_file(base / "model.safetensors")
    except (OSError, ValueError) as error:
        raise InputError(f"{base}: no base encoder ({type(error).__name__})") from None
    record.update(truncation=None, padding=None)
    whole = Tokenizer.from_str(json.dumps(record))
    vocabulary: dict[str, int] = record["model"]["vocab"]
    used = {number for encoding in whole.encode_batch(list(texts)) for number in encoding.ids}
    kept = sorted(n for piece, n in vocabulary.items() if _keep(piece, n, used, frequent))
    pieces = {number: piece for piece, number in vocabulary.items()}
    record["model"]["vocab"] = {pieces[number]: place for place, number in enumerate(kept)}
    renumbered = json.dumps(_special(record), ensure_ascii=False)
    with write_atomically(output / "tokenizer.json") as file:
        file.write(renumbered.encode())
    _save_base(weights, kept, output / "base.npz")


def _keep(piece: str, number: int, used: set[int], frequent: int) -> bool:
    if piece.startswith("[unused"):
        return False
    return piece in SPECIAL or number in used or number < frequent or len(piece.removeprefix("##")) == 1


def _special(record: dict[str, Any]) -> dict[str, Any]:
    """The record with the new numbers of the special pieces wherever it repeats them."""
    vocabulary = record["model"]["vocab"]
    for token in record["added_tokens"]:
        token["id"] = vocabulary[token["content"]]
    for token in record["post_processor"]["special_tokens"].values():
        token["ids"] = [vocabulary[piece] for piece in token["tokens"]]
    return record


def _save_base(weights: dict[str, Any], kept: Sequence[int], path: Path) -> None:
    """BERT's weights under our names; the embedding of the one segment is added to those of the positions."""
    import numpy as np

    def take(name: str) -> Any:
        return weights[name]

    embeddings = "embeddings."
    segment = take(f"{embeddings}token_type_embeddings.weight")[0]
    arrays = {
        "words": take(f"{embeddings}word_embeddings.weight")[list(kept)],
        "positions": take(f"{embeddings}position_embeddings.weight")[:LONGEST] + segment,
        "norm.weight": take(f"{embeddings}LayerNorm.weight"),
        "norm.bias": take(f"{embeddings}LayerNorm.bias"),
    }
    for number in range(_layers(weights)):
        arrays.update(_layer(weights, number))
    np.savez(path, **{name: array.astype(np.float16) for name, array in arrays.items()})


def _layers(weights: dict[str, Any]) -> int:
    return 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))


_PARTS = {
    "mix": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "norm2": "output.LayerNorm",
}


def _layer(weights: dict[str, Any], number: int) -> dict[str, Any]:
    import numpy as np

    old, new = f"encoder.layer.{number}.", f"layers.{number}."
    arrays = {}
    for kind in ("weight", "bias"):
        heads = [weights[f"{old}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
        arrays[f"{new}attend.{kind}"] = np.concatenate(heads)
        arrays |= {f"{new}{ours}.{kind}": weights[f"{old}{theirs}.{kind}"] for ours, theirs in _PARTS.items()}
    return arrays


def _finish(output: Path, release: str, sources: Iterable[Path]) -> None:
    names = (
        "terms.jsonl",
        "phrases.jsonl",
        SENTENCES,
        "train.jsonl",
        "validation.jsonl",
        "tokenizer.json",
        "base.npz",
    )
    record = {
        "release": release,
        "seed": SEED,
        "sources": {path.name: sha256_of(path) for path in sources},
        "files": {name: sha256_of(output / name) for name in names},
    }
    with write_atomically(output / PREPARED) as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with write_atomically(path) as file:
        file.writelines((json.dumps(row, ensure_ascii=False) + "\n").encode() for row in rows)
