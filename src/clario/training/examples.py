"""Training examples: what the model reads, what it is to write, and the tokens of both.

Diaries and excerpts of them are rendered by `clario.extraction.prompt`, the only prompt of extraction. The other
kinds teach naming: a phrase, or a sentence with a quote in it, and the label of its term, in a prompt of their own
that ends with the very characters that stand before a label in the answer to a diary. So the model learns
`"name_colloquial":"...","name_canonical":"` -> label, where it will need it.
"""

import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from clario.corpus import dataset
from clario.extraction import prompt
from clario.ontology.index import Index
from clario.ontology.sources import read_lexicon
from clario.training.data import LEXICON, SENTENCES, read_sentences
from clario.training.recipes import Recipe

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

NAMING: Final = "Name the quoted symptom as the Human Phenotype Ontology words it."
_BATCH: Final = 1000
_EXCERPTS: Final = 4  # of a diary at most
_LONGEST_EXCERPT: Final = 4  # sentences
_SENTENCE_END: Final = re.compile(r"[.!?…][\"'”’)]*\s+|\n\s*")


@dataclass(frozen=True, slots=True)
class Example:
    """What stands before the answer, and the answer with what ends the turn. The loss is on the answer alone."""

    before: str
    answer: str


def diaries(path: Path, recipe: Recipe) -> Iterator[Example]:
    """The diaries of a file; raises as `dataset.load` does."""
    end = _end(recipe)
    for diary in dataset.load(path):
        asked = prompt.render(prompt.messages(diary.text, shots=recipe.shots), recipe.system_turn)
        yield Example(asked, prompt.answer(diary.entities) + end)


def excerpts(path: Path, recipe: Recipe) -> Iterator[Example]:
    """A few sentences of each diary of a file, chosen by its id: so that short texts are known, too.

    Raises as `dataset.load` does.
    """
    end = _end(recipe)
    for diary in dataset.load(path):
        for first, last in _stretches(diary):
            asked = prompt.render(prompt.messages(diary.text[first:last], shots=recipe.shots), recipe.system_turn)
            inside = [entity for entity in diary.entities if first <= entity.start and entity.end <= last]
            yield Example(asked, prompt.answer(inside) + end)


def _stretches(diary: dataset.GoldDiary) -> list[tuple[int, int]]:
    """Where excerpts of a diary begin and end: between sentences, never within an entity, never all of it."""
    ends = [match.end() for match in _SENTENCE_END.finditer(diary.text)]
    whole = [end for end in ends if not any(e.start < end < e.end for e in diary.entities)]
    cuts = sorted({0, *whole, len(diary.text)})
    draw, found = random.Random(diary.id), set[tuple[int, int]]()
    for _ in range(min(_EXCERPTS, len(cuts) - 2)):
        first = draw.randrange(len(cuts) - 1)
        last = min(first + draw.randint(1, _LONGEST_EXCERPT), len(cuts) - 1)
        if last - first < len(cuts) - 1:
            found.add((cuts[first], cuts[last]))
    return sorted(found)


def naming(kind: str, lexicon: Path, index: Index, recipe: Recipe) -> Iterator[Example]:
    """The examples of a kind: "phrases" or "sentences" of the lexicon's folder, or "synonyms" of HPO."""
    end = _end(recipe)
    for hpo_id, text, quote in _named(kind, lexicon, index):
        content = f"{NAMING}\n\n{prompt.messages(text, shots=False)[-1]['content']}"
        asked = prompt.render([{"role": "user", "content": content}], recipe.system_turn)
        label = index.term(hpo_id).label
        head, whole = (_open({"name_colloquial": quote, "name_canonical": name}) for name in ("", label))
        yield Example(asked + head, whole.removeprefix(head) + '"}' + end)


def _open(fields: dict[str, str]) -> str:
    """A JSON object without its end: up to the last value's last letter."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).removesuffix('"}')


def _end(recipe: Recipe) -> str:
    return prompt.END_WITH_SYSTEM if recipe.system_turn else prompt.END


def _named(kind: str, lexicon: Path, index: Index) -> Iterable[tuple[str, str, str]]:
    """(HPO id, text, quote in it), of terms that can be answers."""
    if kind == "sentences":
        found = read_sentences(lexicon / SENTENCES, index)
        return ((s["hpo_id"], s["text"], s["text"][s["start"] : s["end"]]) for s in found)
    if kind == "phrases":
        live = set(index.ids)
        phrases = read_lexicon(lexicon / LEXICON).phrases
        brought = ((index.retired.get(old) or old, phrase) for old, phrase in phrases)
        return ((one, p, p) for one, p in brought if one in live and index.is_phenotypic(one))
    terms = (index.term(hpo_id) for hpo_id in index.ids if index.is_phenotypic(hpo_id))
    return ((t.hpo_id, s.text, s.text) for t in terms for s in t.synonyms if s.kind != "obsolete_synonym")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Examples as token ids: `ids` of all, one after another; each one's length and the place of its answer."""

    ids: "np.ndarray[Any, Any]"
    lengths: "np.ndarray[Any, Any]"
    answers: "np.ndarray[Any, Any]"

    def __len__(self) -> int:
        return len(self.lengths)


def tokenize(examples: Iterable[Example], tokenizer: "Tokenizer", longest: int) -> tuple[Tokens, int]:
    """The examples' tokens, with <bos>, and how many were left out because they have more than `longest`.

    Text before and answer are tokenized together, as a model meets them; a token on their border is the answer's.
    """
    import numpy as np

    bos = tokenizer.token_to_id("<bos>")
    rows, answers, found = [], [], list(examples)
    for start in range(0, len(found), _BATCH):
        part = found[start : start + _BATCH]
        texts = [example.before + example.answer for example in part]
        for example, encoding in zip(part, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
            if len(encoding.ids) < longest:
                rows.append([bos, *encoding.ids])
                border = len(example.before)
                answers.append(1 + next(n for n, (_, end) in enumerate(encoding.offsets) if end > border))
    ids = np.array([one for row in rows for one in row], dtype=np.uint32)
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    return Tokens(ids, lengths, np.array(answers, dtype=np.int32)), len(found) - len(rows)
