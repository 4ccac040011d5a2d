"""The small encoder that ships with Clario, served: texts to the states of their word pieces, and to vectors.

A folder holds what `clario train mini` writes:
    mini.json       what it was made from and with, and the settings of its use
    tokenizer.json, words.npz     word pieces and their embedding, int8 with a scale a row
    lower.onnx      the layers that both uses share (may be missing)
    linker.onnx, tagger.onnx      the layers of each use
    heads.npz       the small maps on top
    terms.npz       vectors of the terms of a release, see `clario.ontology.dense`
Every text is read alone, so that it never depends on its neighbours in a batch.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from clario.errors import ModelError
from clario.paths import sha256_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int64]

WINDOW = 384  # word pieces that are read at once, [CLS] and [SEP] included
OVERLAP = 96  # pieces that two windows share
MANIFEST = "mini.json"
LINKER, TAGGER = "linker", "tagger"
FOLDER = Path(__file__).parents[1] / "extraction" / "data" / "mini"
"""The model that ships with Clario, for the extractor `mini`, with whose data it lies, and for the resolver."""
_OF_VECTORS = ("tokenizer.json", "words.npz", "lower.onnx", "linker.onnx", "heads.npz")


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as word pieces, without [CLS] and [SEP].

    `starts` and `ends` are each piece's code points; `words` the first piece of each word, and the piece after
    the last.
    """

    ids: "Integers"
    starts: "Integers"
    ends: "Integers"
    words: "Integers"


class Encoder:
    """Reads texts; loaded when first used; safe to share between threads.

    Raises:
        ModelError: onnxruntime or tokenizers is not installed, or a file is missing or broken.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sessions: dict[str, Any] = {}
        self._lock = RLock()

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The record of `mini.json`."""
        try:
            record: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"no model in {self.folder} ({type(error).__name__}); reinstall clario") from None
        return record

    @cached_property
    def sha256(self) -> str:
        """The checksum of all that makes a vector: vectors of two encoders cannot be compared."""
        import hashlib

        digest = hashlib.sha256()
        for path in (self.folder / name for name in _OF_VECTORS):
            digest.update(sha256_of(path).encode() if path.exists() else b"-")
        return digest.hexdigest()

    def read(self, text: str) -> Reading:
        """Cut a text into word pieces."""
        import numpy as np

        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        of = np.array(encoding.word_ids, np.int64)
        first = np.flatnonzero(np.diff(of, prepend=-1)) if len(of) else of
        words = np.append(first, len(of))
        return Reading(np.array(encoding.ids, np.int64), offsets[:, 0], offsets[:, 1], words)

    def states(self, reading: Reading, *uses: str) -> "list[Floats]":
        """States [pieces, width] of a text for each use; of pieces in two windows, those further from an edge."""
        import numpy as np

        count, inner = len(reading.ids), WINDOW - 2
        if count <= inner:
            return [states[1:-1] for states in self._window(reading.ids, uses)]
        width = self._words["words"].shape[1]
        whole = [np.empty((count, width), np.float32) for _ in uses]
        step = inner - OVERLAP
        for first in range(0, count - OVERLAP, step):
            found = self._window(reading.ids[first : first + inner], uses)
            skip = OVERLAP // 2 if first else 0
            for states, part in zip(whole, found, strict=True):
                states[first + skip : first + inner] = part[1 + skip : -1]
        return whole

    def phrases(self, texts: "list[str]") -> "Floats":
        """Unit vectors [texts, dimensions] of phrases, each read alone; zeros where there is no word."""
        import numpy as np

        vectors = np.zeros((len(texts), self.heads["project.bias"].shape[0]), np.float32)
        for row, text in enumerate(texts):
            reading = self.read(text)
            if len(reading.ids):
                vectors[row] = self.vector(reading.ids)[0]
        return vectors

    def vector(self, ids: "Integers") -> "Floats":
        """The unit vector [1, dimensions] of the pieces of one phrase, read alone; the first `WINDOW` of them."""
        states = self._window(ids[: WINDOW - 2], (LINKER,))[0]
        return self.unit(states[1:-1].mean(0, keepdims=True))

    def mentions(self, states: "Floats", reading: Reading, pieces: Sequence[tuple[int, int]]) -> "Floats":
        """Unit vectors [mentions, dimensions], of mentions in their text and alone: both tell more than either.

        Args:
            states: of the linker for the whole text.
            pieces: first word piece of each mention, and the piece after its last.
        """
        import numpy as np

        means = np.stack([states[first:last].mean(0) for first, last in pieces])
        alone = np.concatenate([self.vector(reading.ids[first:last]) for first, last in pieces])
        both = self.unit(means) + alone
        unit: Floats = both / np.linalg.norm(both, axis=1, keepdims=True)
        return unit

    def unit(self, means: "Floats") -> "Floats":
        """Mean states [n, width], projected and scaled to length one [n, dimensions]."""
        import numpy as np

        projected = means @ self.heads["project.weight"].T + self.heads["project.bias"]
        unit: Floats = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-9)
        return unit

    @cached_property
    def heads(self) -> "dict[str, Floats]":
        """The small maps on top of the states, by name."""
        return self._arrays("heads.npz")

    def _window(self, ids: "Integers", uses: tuple[str, ...]) -> "list[Floats]":
        import numpy as np

        cls, sep = self._ends
        table = self._words
        rows = np.concatenate([[cls], ids, [sep]])
        states = table["words"][rows] * table["scales"][rows, None]
        lower = self._session("lower")
        if lower is not None:
            states = lower.run(None, {"words": states})[0]
        return [self._required(use).run(None, {"words": states})[0] for use in uses]

    def _required(self, name: str) -> Any:
        session = self._session(name)
        if session is None:
            raise ModelError(f"{self.folder / name}.onnx is missing; reinstall clario")
        return session

    def _session(self, name: str) -> Any:
        if name not in self._sessions:
            with self._lock:
                if name not in self._sessions:
                    path = self.folder / f"{name}.onnx"
                    self._sessions[name] = _open(path) if path.exists() else None
        return self._sessions[name]

    @cached_property
    def _ends(self) -> tuple[int, int]:
        return self._tokenizer.token_to_id("[CLS]"), self._tokenizer.token_to_id("[SEP]")

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ModelError(f"the model needs the package tokenizers: {error}") from None
        with self._lock:
            return Tokenizer.from_str(self._bytes("tokenizer.json").decode("utf-8"))

    @cached_property
    def _words(self) -> "dict[str, Any]":
        return self._arrays("words.npz")

    def _arrays(self, name: str) -> "dict[str, Any]":
        import io

        import numpy as np

        try:
            with np.load(io.BytesIO(self._bytes(name)), allow_pickle=False) as file:
                return {key: _widened(file[key]) for key in file.files}
        except ValueError as error:
            raise ModelError(f"{self.folder / name} is broken: {error}") from None

    def _bytes(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise ModelError(f"{self.folder / name} cannot be read: {error.strerror}; reinstall clario") from None


def _widened(array: Any) -> Any:
    import numpy as np

    return array.astype(np.float32) if array.dtype == np.float16 else array


def _open(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"the model needs the package onnxruntime: {error}") from None
    options = onnxruntime.SessionOptions()
    # Texts are read side by side in threads; within one, a second thread would gain little.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def workers() -> int:
    """How many texts are read side by side: the processors that this process may use, at most eight."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(8, usable or 1))
