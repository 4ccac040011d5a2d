"""Texts as word pieces, and reading the prepared files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

LONGEST = 384


class Tokens:
    """The tokenizer of a prepared folder."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def phrases(self, texts: Sequence[str], longest: int = 32) -> list[list[int]]:
        """The pieces of phrases between [CLS] and [SEP], at most `longest` of each in all."""
        found = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        return [ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]] for ids in found]

    def text(self, text: str) -> Encoding:
        """A diary, cut after `LONGEST` pieces: training does without what comes after them."""
        encoding = self._tokenizer.encode(text)
        if len(encoding.ids) > LONGEST:
            encoding.truncate(LONGEST)
        return encoding


def pieces_of(encoding: Encoding, start: int, end: int) -> tuple[int, int] | None:
    """The pieces (first, after the last) that share a letter with text[start:end]; None where none does."""
    inside = [n for n, (a, b) in enumerate(encoding.offsets) if a < end and start < b and a < b]
    return (inside[0], inside[-1] + 1) if inside else None


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a prepared file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def words_of(encoding: Encoding) -> list[int]:
    """The first piece of each word, and the piece after the last word."""
    ids = encoding.word_ids
    first = [n for n, word in enumerate(ids) if word is not None and (n == 0 or ids[n - 1] != word)]
    return [*first, 1 + max((n for n, word in enumerate(ids) if word is not None), default=0)]
