"""The vocabulary of a tokenizer as bytes, in a tree: which tokens begin as a given text goes on."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import numpy as np

from clario.errors import ModelError

# What UTF-8 text without control characters is made of: in compact JSON no other byte is ever written.
_NEEDED: Final = frozenset(range(0x20, 0xF5)) - {0x7F, 0xC0, 0xC1}


class Trie:
    """Byte strings as a tree. Nodes are numbers in the order of the sorted strings, the root is 0.

    The arrays are filled level by level, so that 262,144 strings take about a second and little memory; the
    children of a node become a dict when they are first asked for.

    Args:
        words: strings of bytes from 0x20 on, none empty, each with a number of its own from 0 on.
    """

    def __init__(self, words: Mapping[bytes, int]) -> None:
        ordered = sorted(words)
        longest = max(map(len, ordered), default=1)
        letters = np.array(ordered, dtype=f"S{longest}").view(np.uint8).reshape(len(ordered), longest)
        lengths = (letters != 0).sum(1)
        shared = np.zeros(len(ordered), np.int64)  # leading bytes that a string shares with the one before
        if len(ordered) > 1:
            shared[1:] = (letters[1:] != letters[:-1]).argmax(1)
        first = np.concatenate([[1], 1 + np.cumsum(lengths - shared)])  # node number of a string's first new byte
        self._byte, self._after, to_end, value = (np.zeros(first[-1], np.int32) for _ in range(4))
        self._after[0], to_end[0], value[:] = first[-1], lengths.min(initial=longest), -1
        for depth in range(1, longest + 1):
            new = shared < depth
            heads = np.flatnonzero(new)  # where the strings of another prefix of this length begin
            rows = np.flatnonzero(new & (lengths >= depth))
            places = np.searchsorted(heads, rows)
            nodes = first[rows] + depth - shared[rows] - 1
            self._byte[nodes] = letters[rows, depth - 1]
            self._after[nodes] = first[np.append(heads, len(ordered))[places + 1]]
            to_end[nodes] = np.minimum.reduceat(lengths, heads)[places] - depth
            ends = lengths[rows] == depth
            value[nodes[ends]] = [words[ordered[row]] for row in rows[ends]]
        self.value: list[int] = value.tolist()
        """By node: the number of the string that ends there, or -1."""
        self.to_end: list[int] = to_end.tolist()
        """By node: how many bytes the nearest end of a string is away."""
        self._children: dict[int, dict[int, int]] = {}

    def children(self, node: int) -> dict[int, int]:
        """The nodes after a node, by the byte that leads there."""
        known = self._children.get(node)
        if known is None:
            known, child, after = {}, node + 1, int(self._after[node])
            while child < after:
                known[int(self._byte[child])] = child
                child = int(self._after[child])
            self._children[node] = known
        return known


class Vocabulary:
    """What each token writes.

    Args:
        tokens: the bytes of each token by its id; special tokens left out. Of tokens that write the same, the
            first is used. Tokens with control characters are left out: JSON escapes those.
        ends: ids of the tokens that end a turn.

    Raises:
        ModelError: there is text that these tokens cannot write.
    """

    def __init__(self, tokens: Mapping[int, bytes], ends: Collection[int]) -> None:
        written: dict[bytes, int] = {}
        for token, content in tokens.items():
            if content and min(content) >= 0x20:
                written.setdefault(content, token)
        missing = [byte for byte in _NEEDED if bytes([byte]) not in written]
        if missing or not ends:
            raise ModelError(
                f"this tokenizer cannot write every text ({len(missing)} bytes without a token, {len(ends)} ends "
                "of a turn); use a model of the Gemma family"
            )
        self.trie = Trie(written)
        self.content = {token: content for content, token in written.items()}
        """The bytes of each token that may be written, by its id."""
        self.ends = np.array(sorted(ends), np.int64)


def token_bytes(tokenizer: Mapping[str, Any]) -> dict[int, bytes]:
    """The bytes of each token of a `tokenizer.json`, special ones left out, whole tokens before single bytes.

    Knows the two usual ways: "▁" for a space with "<0x0A>" for bytes, as Gemma has it, and the printable
    stand-ins of GPT-2 for bytes (https://github.com/openai/gpt-2/blob/master/src/encoder.py).
    """
    by_byte = "ByteLevel" in json.dumps([tokenizer.get("decoder"), tokenizer.get("pre_tokenizer")])
    added = {entry["id"]: entry for entry in tokenizer.get("added_tokens") or ()}
    whole, single = dict[int, bytes](), dict[int, bytes]()
    for text, token in tokenizer["model"]["vocab"].items():
        if token in added:
            continue
        if by_byte:
            whole[token] = bytes(_STAND_INS[c] for c in text)
        elif len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            single[token] = bytes([int(text[3:5], 16)])
        else:
            whole[token] = text.replace("▁", " ").encode()
    plain = {token: e["content"].replace("▁", " ").encode() for token, e in added.items() if not e["special"]}
    return {**whole, **plain, **single}


def _stand_ins(bytes_shown: Iterable[int]) -> dict[str, int]:
    """GPT-2's printable characters for bytes: themselves where they can be seen, else those from 256 on."""
    shown = set(bytes_shown)
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


_STAND_INS: Final = _stand_ins([*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)])
