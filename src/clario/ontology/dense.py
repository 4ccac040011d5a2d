"""The nearest terms of a release to a vector: for what patients say in words that no name has.

Each term has the vectors of its names, of its phrases in the lay lexicon, and of what patients said for it in
the training diaries. A term's score is the mean of the best of its vectors and of their mean, and a little
more for terms that patients often tell of: the best alone draws everything to terms with many phrases, the mean
alone blurs them. The vectors belong to one compiled release, by the checksum of its index, and to one encoder.

A file of vectors marks each with a hash of its text, and with 0 what patients said, whose text is not kept. So
the vectors of another release are made from it without the diaries, and what has the same text is not encoded
again.
"""

import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clario.errors import ModelError
from clario.paths import Progress, write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clario.ontology.encoder import Encoder, Floats
    from clario.ontology.index import Index

FILE = "terms.npz"
_MARKS = "marks"
SHORTLIST = 128
FREQUENCY = 0.015  # times log(1 + tellings) is added to the score; chosen on validation


class Near(NamedTuple):
    """A term and its score: a cosine, and a little more for frequent terms."""

    hpo_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Said:
    """Vectors of what patients said [n, dimensions] and the id that each was for."""

    vectors: "Floats"
    ids: list[str]


class TermVectors:
    """The vectors of one release's terms. Thread-safe: it only reads.

    Args:
        vectors: unit vectors [n, dimensions], sorted by term; int8 where `scales` [n] are given.
        terms: the row in `ids` of each vector [n], rising; every row has at least one.
        tellings: how often patients told of each term of `ids` [terms].
        marks: `_mark` of the text of each vector [n], 0 for what patients said; None where that is not known.
        encoder_sha256: the encoder that made them; empty where that is not known.
    """

    def __init__(
        self,
        ids: list[str],
        vectors: Any,
        terms: Any,
        tellings: Any,
        index_sha256: str,
        marks: Any = None,
        encoder_sha256: str = "",
        scales: Any = None,
    ) -> None:
        import numpy as np

        values, scales = _whole(vectors) if scales is None else (vectors, scales)
        self.ids, self._values, self._scales = ids, values, scales
        self._terms, self._tellings, self._marks = terms, tellings, marks
        self.index_sha256, self.encoder_sha256 = index_sha256, encoder_sha256
        self._first = np.searchsorted(terms, np.arange(len(ids) + 1))
        means = np.add.reduceat(values * scales[:, None], self._first[:-1], axis=0)
        self._means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        self._more = (FREQUENCY * np.log1p(tellings)).astype(np.float32)

    def nearest(self, queries: "Floats", count: int = 5) -> list[list[Near]]:
        """The best terms of each query [n, dimensions], best first.

        The best vector of a term is only looked for among the `SHORTLIST` terms whose mean, with what frequency
        adds, is best; on validation that never changed an answer.
        """
        if not len(queries):
            return []
        common = 0.5 * (queries @ self._means.T) + self._more
        return [
            self._best(query, row, min(count, len(self.ids))) for query, row in zip(queries, common, strict=True)
        ]

    def _best(self, query: "Floats", common: "Floats", count: int) -> list[Near]:
        import numpy as np

        size = min(max(SHORTLIST, count), len(self.ids))
        places = np.sort(np.argpartition(-common, size - 1)[:size])
        counts = self._first[places + 1] - self._first[places]
        begin = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) + np.repeat(self._first[places] - begin, counts)
        similar = (self._values[rows].astype(np.float32) @ query) * self._scales[rows]
        scores = common[places] + 0.5 * np.maximum.reduceat(similar, begin)
        order = np.lexsort((places, -scores))[:count]
        return [Near(self.ids[places[n]], float(scores[n])) for n in order]

    @property
    def said(self) -> Said | None:
        """What patients said, of the vectors; None where it is not marked."""
        import numpy as np

        if self._marks is None:
            return None
        rows = np.flatnonzero(self._marks == 0)
        return Said(self._at(rows), [self.ids[row] for row in self._terms[rows]])

    def of_texts(self, texts: Sequence[str]) -> "tuple[Floats, NDArray[np.bool_]]":
        """The vectors of texts [texts, dimensions] that are among these, and which are [texts]."""
        import numpy as np

        if self._marks is None:
            return np.zeros((len(texts), self._values.shape[1]), np.float32), np.zeros(len(texts), bool)
        asked = np.array([_mark(text) for text in texts], np.uint64)
        order = np.argsort(self._marks)
        places = np.minimum(np.searchsorted(self._marks, asked, sorter=order), len(order) - 1)
        rows = order[places]
        return self._at(rows), self._marks[rows] == asked

    def _at(self, rows: Any) -> "Floats":
        vectors: Floats = self._values[rows] * self._scales[rows, None]
        return vectors

    def save(self, path: Path) -> None:
        """Write the vectors.

        Raises:
            OutputError: the file cannot be written.
        """
        import numpy as np

        arrays = {
            "ids": np.array([int(hpo_id[3:]) for hpo_id in self.ids], np.int32),
            "vectors": self._values,
            "scales": self._scales,
            "terms": self._terms.astype(np.uint16),
            "tellings": self._tellings.astype(np.uint16),
            "index_sha256": np.array(self.index_sha256),
            "encoder_sha256": np.array(self.encoder_sha256),
        }
        if self._marks is not None:
            arrays[_MARKS] = self._marks
        with write_atomically(path) as file:
            np.savez(file, **arrays)


def _whole(vectors: "Floats") -> tuple[Any, Any]:
    """Vectors as int8 [n, dimensions] with a scale each [n]."""
    import numpy as np

    scales = np.maximum(np.abs(vectors).max(1), 1e-8).astype(np.float32) / 127
    return np.round(vectors / scales[:, None]).astype(np.int8), scales


def load(path: Path) -> TermVectors:
    """Read the vectors of a file.

    Raises:
        ModelError: it is missing or broken.
    """
    import numpy as np

    with _opened(path) as file:
        ids = [f"HP:{number:07d}" for number in file["ids"].tolist()]
        terms, tellings = file["terms"].astype(np.int64), file["tellings"].astype(np.float32)
        index, encoder = _owners(file)
        return TermVectors(
            ids, file["vectors"], terms, tellings, index, file.get(_MARKS), encoder, scales=file["scales"]
        )


def owners(path: Path) -> tuple[str, str]:
    """The checksums of the index and of the encoder (empty where not known) that a file's vectors belong to.

    Raises:
        ModelError: it is missing or broken.
    """
    with _opened(path) as file:
        return _owners(file)


def can_rebuild(folder: Path) -> bool:
    """Whether there are vectors in a model's folder that keep what patients said apart, as `rebuild` needs it.

    Raises:
        ModelError: the file is broken.
    """
    if not (folder / FILE).exists():
        return False
    with _opened(folder / FILE) as file:
        return _MARKS in file


def _owners(file: Any) -> tuple[str, str]:
    encoder = str(file["encoder_sha256"]) if "encoder_sha256" in file else ""
    return str(file["index_sha256"]), encoder


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import numpy as np

    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            yield file
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(
            f"{path}: no vectors of terms ({type(error).__name__}); reinstall clario, or build the release again"
        ) from None


def build(
    index: "Index",
    index_sha256: str,
    encoder: "Encoder",
    said: Said,
    phrases: Iterable[tuple[str, str]] | None = None,
    terms: Collection[str] | None = None,
    known: TermVectors | None = None,
    progress: Progress | None = None,
) -> TermVectors:
    """Make the vectors of a release: its names, its lay phrases, and what patients said.

    Args:
        said: vectors of the training diaries' mentions; retired ids go to their successors.
        phrases: (HPO id, phrase) to take in place of the release's lay lexicon.
        terms: the ids to take, by default all under Phenotypic abnormality.
        known: vectors of this encoder; a text that has one there is not encoded again.
        progress: called as texts are encoded: how many so far, and how many in all.
    """
    import numpy as np

    ids = [i for i in index.ids if index.is_phenotypic(i) and (terms is None or i in terms)]
    rows = {hpo_id: row for row, hpo_id in enumerate(ids)}
    lay = [(name.hpo_id, name.text) for name in index.lay] if phrases is None else list(phrases)
    texts = [(rows[name.hpo_id], name.text) for name in index.names if name.hpo_id in rows]
    texts += [(rows[hpo_id], phrase) for hpo_id, phrase in lay if hpo_id in rows]
    kept = [(place, rows[live]) for place, live in enumerate(_live(index, said.ids)) if live in rows]
    vectors = _of_texts([text for _, text in texts], encoder, known, progress)
    vectors = np.concatenate([vectors, said.vectors[[place for place, _ in kept]]])
    marks = np.array([*(_mark(text) for _, text in texts), *(0 for _ in kept)], np.uint64)
    of = np.array([row for row, _ in texts] + [row for _, row in kept], np.int64)
    tellings = np.bincount([row for _, row in kept], minlength=len(ids))
    order = np.argsort(of, kind="stable")
    return TermVectors(ids, vectors[order], of[order], tellings, index_sha256, marks[order], encoder.sha256)


def rebuild(index: "Index", encoder: "Encoder", progress: Progress | None = None) -> TermVectors:
    """The vectors of another release: its names, its lay phrases, and what patients said as the model keeps it.

    Raises:
        ModelError: the model's own vectors are missing, broken, or do not keep apart what patients said.
    """
    own = load(encoder.folder / FILE)
    said = own.said
    if said is None:
        raise ModelError(
            f"the vectors in {encoder.folder} do not keep apart what patients said, so that none can be made for "
            "another release; use a newer model, or build without vectors (--no-vectors)"
        )
    known = own if own.encoder_sha256 == encoder.sha256 else None
    return build(index, index.sha256, encoder, said, known=known, progress=progress)


def _of_texts(
    texts: Sequence[str], encoder: "Encoder", known: TermVectors | None, progress: Progress | None
) -> "Floats":
    import numpy as np

    if known is None:
        return encoded(encoder, texts, progress)
    vectors, found = known.of_texts(texts)
    lacking = np.flatnonzero(~found)
    vectors[lacking] = encoded(encoder, [texts[place] for place in lacking.tolist()], progress)
    return vectors


def _mark(text: str) -> int:
    """Eight bytes that stand for a text; never 0."""
    import hashlib  # takes milliseconds, which a look-up by name need not wait for

    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def _live(index: "Index", ids: Sequence[str]) -> list[str | None]:
    return [index.retired.get(hpo_id, hpo_id) for hpo_id in ids]


def encoded(encoder: "Encoder", texts: Sequence[str], progress: Progress | None = None) -> "Floats":
    """The unit vectors of many phrases [texts, dimensions], read side by side."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from clario.ontology.encoder import workers

    parts = [list(texts[first : first + 256]) for first in range(0, len(texts), 256)]
    found = [encoder.phrases([])]
    with ThreadPoolExecutor(workers()) as pool:
        for vectors in pool.map(encoder.phrases, parts):
            found.append(vectors)
            if progress:
                progress(min(256 * (len(found) - 1), len(texts)), len(texts))
    return np.concatenate(found)
