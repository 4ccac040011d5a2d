"""The nearest terms of a release to a vector: for what patients say in words that no name has.

Each term has the vectors of its names, of its phrases in the lay lexicon, and of what patients said for it in
the training diaries. A term's score is the mean of the best of its vectors and of their mean, and a little
more for terms that patients often tell of: the best alone draws everything to terms with many phrases, the mean
alone blurs them. The vectors belong to one compiled release, by the checksum of its index.
"""

import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clario.errors import ModelError
from clario.paths import write_atomically

if TYPE_CHECKING:
    from clario.ontology.encoder import Encoder, Floats
    from clario.ontology.index import Index

FILE = "terms.npz"
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
        vectors: unit vectors [n, dimensions], sorted by term.
        terms: the row in `ids` of each vector [n], rising; every row has at least one.
        tellings: how often patients told of each term of `ids` [terms].
    """

    def __init__(self, ids: list[str], vectors: "Floats", terms: Any, tellings: Any, index_sha256: str) -> None:
        import numpy as np

        scales = np.maximum(np.abs(vectors).max(1), 1e-8).astype(np.float32) / 127
        values = np.round(vectors / scales[:, None]).astype(np.int8)
        self.ids, self._values, self._scales = ids, values, scales
        self._terms, self._tellings, self.index_sha256 = terms, tellings, index_sha256
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
        }
        with write_atomically(path) as file:
            np.savez(file, **arrays)


def load(path: Path) -> TermVectors:
    """Read the vectors of a file.

    Raises:
        ModelError: it is missing or broken.
    """
    import numpy as np

    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            ids = [f"HP:{number:07d}" for number in file["ids"].tolist()]
            terms, tellings = file["terms"].astype(np.int64), file["tellings"].astype(np.float32)
            vectors = file["vectors"] * file["scales"][:, None]
            return TermVectors(ids, vectors, terms, tellings, str(file["index_sha256"]))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: no vectors of terms ({type(error).__name__})") from None


def build(
    index: "Index",
    index_sha256: str,
    encoder: "Encoder",
    said: Said,
    phrases: Iterable[tuple[str, str]] | None = None,
    terms: Collection[str] | None = None,
) -> TermVectors:
    """Make the vectors of a release: its names, its lay phrases, and what patients said.

    Args:
        said: vectors of the training diaries' mentions; retired ids go to their successors.
        phrases: (HPO id, phrase) to take in place of the release's lay lexicon.
        terms: the ids to take, by default all under Phenotypic abnormality.
    """
    import numpy as np

    ids = [i for i in index.ids if index.is_phenotypic(i) and (terms is None or i in terms)]
    rows = {hpo_id: row for row, hpo_id in enumerate(ids)}
    lay = [(name.hpo_id, name.text) for name in index.lay] if phrases is None else list(phrases)
    texts = [(rows[name.hpo_id], name.text) for name in index.names if name.hpo_id in rows]
    texts += [(rows[hpo_id], phrase) for hpo_id, phrase in lay if hpo_id in rows]
    kept = [(place, rows[live]) for place, live in enumerate(_live(index, said.ids)) if live in rows]
    vectors = encoded(encoder, [text for _, text in texts])
    vectors = np.concatenate([vectors, said.vectors[[place for place, _ in kept]]])
    of = np.array([row for row, _ in texts] + [row for _, row in kept], np.int64)
    tellings = np.bincount([row for _, row in kept], minlength=len(ids))
    order = np.argsort(of, kind="stable")
    return TermVectors(ids, vectors[order], of[order], tellings, index_sha256)


def _live(index: "Index", ids: Sequence[str]) -> list[str | None]:
    return [index.retired.get(hpo_id, hpo_id) for hpo_id in ids]


def encoded(encoder: "Encoder", texts: Sequence[str]) -> "Floats":
    """The unit vectors of many phrases [texts, dimensions], read side by side."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from clario.ontology.encoder import workers

    parts = [list(texts[first : first + 256]) for first in range(0, len(texts), 256)]
    with ThreadPoolExecutor(workers()) as pool:
        return np.concatenate(list(pool.map(encoder.phrases, parts)))
