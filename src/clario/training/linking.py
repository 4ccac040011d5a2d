"""Train the linker of `mini`: vectors of what patients say that lie near those of the right HPO term.

Queries are phrases of the lay lexicon, synonyms, definitions and the mentions of the diaries and of the lexicon's
sentences, alone and in their text. Each is to lie nearer to a name, and to another phrase, of its term than to
everything else: the other names and phrases of the batch, and the nearest vector of every other term of the
release, taken from a bank that is renewed now and then. So every step sees all hard negatives: siblings and
parents among them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from clario.training.model import DIMENSIONS, Linker, Settings, half, mean_of, padded
from clario.training.texts import Tokens, pieces_of, read

TEMPERATURE = 0.05
NAME, DEFINITION, LAY, MENTION = range(4)
_NEVER = -1e4
Array = NDArray[np.int64]
Record = dict[str, Any]


@dataclass(slots=True)
class Mention:
    """A mention in a text: where (pieces), its term, the terms that would do as well, and its text alone."""

    text: int
    first: int
    last: int
    term: int
    also: list[int]
    alone: int


@dataclass(slots=True)
class Material:
    """Phrases as word pieces, each with its term (row of `ids`) and kind; diaries, sentences, their mentions."""

    ids: list[str]
    texts: list[list[int]] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    diaries: list[list[int]] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    sentences: list[list[int]] = field(default_factory=list)
    said: list[Mention] = field(default_factory=list)  # one of each sentence

    def add(self, texts: Sequence[list[int]], terms: Sequence[int], kind: int) -> int:
        """Add texts of a kind; gives the row of the last."""
        self.texts.extend(texts)
        self.terms.extend(terms)
        self.kinds.extend([kind] * len(texts))
        return len(self.texts) - 1


def material(folder: Path, tokens: Tokens, hold_out: bool, most: int | None = None) -> Material:
    """What a prepared folder has to learn from; with `hold_out` without what a benchmark holds out.

    `most`: how many terms to take at most, and how many diaries in proportion; for a trial on a processor.
    """
    records = _some(read(folder / "terms.jsonl"), read(folder / "train.jsonl"), most)
    made = Material([record["id"] for record in records])
    rows = {hpo_id: row for row, hpo_id in enumerate(made.ids)}
    phrases = [p for p in read(folder / "phrases.jsonl") if p["hpo_id"] in rows]
    unseen = {rows[p["hpo_id"]] for p in phrases if p["part"] == "term"} if hold_out else set()
    known = [p for p in phrases if not hold_out or p["part"] == "known"]
    names = [(name, row) for row, r in enumerate(records) for name in dict.fromkeys([r["label"], *r["synonyms"]])]
    defined = [(f"{r['label']}: {r['definition']}", row) for row, r in enumerate(records) if r["definition"]]
    made.add(tokens.phrases([name for name, _ in names]), [row for _, row in names], NAME)
    made.add(tokens.phrases([text for text, _ in defined], 40), [row for _, row in defined], DEFINITION)
    made.add(tokens.phrases([p["phrase"] for p in known]), [rows[p["hpo_id"]] for p in known], LAY)
    add_diaries(made, folder / "train.jsonl", tokens, unseen)
    add_sentences(made, folder / "sentences.jsonl", tokens, unseen)
    return made


def _some(terms: list[Record], diaries: list[Record], most: int | None) -> list[Record]:
    """The terms that diaries tell of first, up to `most`."""
    told = {entity["hpo_id"] for diary in diaries for entity in diary["entities"]}
    return terms if most is None else sorted(terms, key=lambda term: term["id"] not in told)[:most]


def add_diaries(made: Material, path: Path, tokens: Tokens, unseen: Collection[int] = ()) -> None:
    """Add the diaries of a file and their mentions, but for those of the terms `unseen`."""
    rows = {hpo_id: row for row, hpo_id in enumerate(made.ids)}
    for record in read(path):
        encoding = tokens.text(record["text"])
        made.diaries.append(encoding.ids)
        for entity in record["entities"]:
            term = rows.get(entity["hpo_id"] or "")
            span = pieces_of(encoding, entity["start"], entity["end"])
            if term is None or term in unseen or span is None:
                continue
            also = [rows[other] for other in entity["alt_ids"] if other in rows]
            alone = made.add(tokens.phrases([entity["name_colloquial"]]), [term], MENTION)
            made.mentions.append(Mention(len(made.diaries) - 1, *span, term, also, alone))


def add_sentences(made: Material, path: Path, tokens: Tokens, unseen: Collection[int] = ()) -> None:
    """Add the sentences of a file, each with its one mention, but for those of the terms `unseen`."""
    rows = {hpo_id: row for row, hpo_id in enumerate(made.ids)}
    for record in read(path):
        term, encoding = rows.get(record["hpo_id"]), tokens.text(record["text"])
        span = pieces_of(encoding, record["start"], record["end"])
        if term is None or term in unseen or span is None:
            continue
        made.sentences.append(encoding.ids)
        alone = made.add(tokens.phrases([record["text"][record["start"] : record["end"]]]), [term], MENTION)
        made.said.append(Mention(len(made.sentences) - 1, *span, term, [], alone))


class Choice:
    """One text at random of each of many terms, from those of some kinds."""

    def __init__(self, made: Material, kinds: Sequence[int]) -> None:
        rows = [row for row, kind in enumerate(made.kinds) if kind in kinds]
        rows.sort(key=lambda row: (made.terms[row], row))
        self._rows = np.array(rows, np.int64)
        self._counts = np.bincount([made.terms[row] for row in rows], minlength=len(made.ids))
        self._first = np.cumsum(self._counts) - self._counts

    def of(self, terms: Array, but: Array, random: np.random.Generator) -> Array:
        """A row for each term, not the one in `but`; -1 where there is no other."""
        counts = self._counts[terms]
        places = (random.random(len(terms)) * counts).astype(np.int64)
        found = self._at(terms, places, counts)
        return self._at(terms, np.where(found == but, places + 1, places), counts, but)

    def _at(self, terms: Array, places: Array, counts: Array, but: Array | None = None) -> Array:
        within = self._first[terms] + places % np.maximum(counts, 1)
        found = self._rows[np.minimum(within, len(self._rows) - 1)]
        found = np.where(counts > 0, found, -1)
        return found if but is None else np.where(found == but, -1, found)


class Sampler:
    """Draws the queries and keys of a step."""

    def __init__(self, made: Material, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        kinds = np.array(made.kinds)
        self._of_kind = [np.flatnonzero(kinds == kind) for kind in range(4)]
        self.names = Choice(made, (NAME, DEFINITION))
        self.said = Choice(made, (LAY, MENTION))
        self._of_diary: list[list[Mention]] = [[] for _ in made.diaries]
        for mention in made.mentions:
            self._of_diary[mention.text].append(mention)
        self._said = made.said
        self._waiting: dict[str, list[int]] = {}

    def _draw(self, name: str, pool: Sequence[int] | Array, count: int) -> list[int]:
        """Without repeating any before all were drawn."""
        if not len(pool):
            return []
        waiting = self._waiting.setdefault(name, [])
        while len(waiting) < count:
            waiting.extend(self.random.permutation(pool).tolist())
        self._waiting[name] = waiting[count:]
        return waiting[:count]

    def mentions(self, diaries: Sequence[int]) -> list[tuple[int, Mention]]:
        """The mentions of the diaries of a batch, with the diary's place in it."""
        return [(place, m) for place, d in enumerate(diaries) for m in self._of_diary[d]]

    def sentences(self, count: int) -> list[Mention]:
        """The mentions of so many sentences."""
        return [self._said[row] for row in self._draw("sentences", range(len(self._said)), count)]

    def texts(self, kind: int, count: int) -> list[int]:
        """Rows of texts of a kind."""
        return self._draw(f"kind {kind}", self._of_kind[kind], count)


class Table:
    """All texts on the device, as one array, so that a batch is an index."""

    def __init__(self, texts: Sequence[list[int]], device: torch.device) -> None:
        self.device = device
        self._ids = padded(texts, device)
        self.lengths = np.array([len(text) for text in texts])

    def take(self, rows: Array) -> Tensor:
        """The ids of some texts, as wide as the longest of them."""
        longest = int(self.lengths[rows].max())
        return self._ids[torch.from_numpy(rows).to(self.device, non_blocking=True), :longest]


def vectors_of(linker: Linker, table: Table, rows: Array, cuts: Sequence[int] = ()) -> Tensor:
    """Unit vectors of texts, alone [n, DIMENSIONS]; `cuts` are lengths at which they are read apart."""
    groups = np.searchsorted(np.array(cuts), table.lengths[rows])
    order, found = np.argsort(groups, kind="stable"), []
    for group in range(len(cuts) + 1):
        chosen = rows[order[groups[order] == group]]
        if len(chosen):
            found.append(linker.phrases(table.take(chosen)))
    back = np.empty(len(rows), np.int64)
    back[order] = np.arange(len(rows))
    return torch.cat(found)[torch.from_numpy(back).to(table.device)]


@torch.no_grad()
def encode(linker: Linker, table: Table, size: int = 8192) -> Tensor:
    """Unit vectors of all texts of a table, read in batches of like length."""
    order = np.argsort(table.lengths, kind="stable")
    vectors = torch.empty(len(order), linker.project.out_features, device=table.device)
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        with half(table.device):
            vectors[torch.from_numpy(rows).to(table.device)] = linker.phrases(table.take(rows)).float()
    return vectors


class Teacher:
    """Makes the loss of a step: the texts on the device, the sampler, and the bank of all vectors."""

    def __init__(self, made: Material, settings: Settings, device: torch.device) -> None:
        self.made, self.settings, self.device = made, settings, device
        self.table, self.sampler = Table(made.texts, device), Sampler(made, settings.seed)
        self._sentences = Table(made.sentences, device) if made.sentences else None
        self._terms = np.array(made.terms, np.int64)
        self.terms = torch.tensor(made.terms, device=device)
        self.bank = torch.empty(0, device=device)

    def renew(self, linker: Linker) -> None:
        """Read all texts again."""
        linker.eval()
        self.bank = encode(linker, self.table, 8192 if self.device.type == "cuda" else 256)
        linker.train()

    def loss(self, linker: Linker, states: Tensor, diaries: Sequence[int]) -> Tensor:
        """The loss of a step; `states` [batch, pieces, width] are those of the diaries of the batch."""
        settings, sampler = self.settings, self.sampler
        mentions = sampler.mentions(diaries)
        counts = (settings.names, settings.definitions, settings.lay, settings.alone)
        rows = np.array([row for kind, count in enumerate(counts) for row in sampler.texts(kind, count)], np.int64)
        said = sampler.sentences(settings.sentences)
        alone = np.array([m.alone for m in [*(m for _, m in mentions), *said]], np.int64)
        asked = np.concatenate([alone, rows])
        terms = self._terms[asked]
        names = sampler.names.of(terms, asked, sampler.random)
        names = np.where(names < 0, asked, names)  # a term with one name and nothing else
        other = sampler.said.of(terms, asked, sampler.random)
        having = np.flatnonzero(other >= 0)
        keys = np.concatenate([names, other[having]])
        with half(self.device):
            found = vectors_of(linker, self.table, np.concatenate([rows, keys]), (14,))
        asking = [self._vectors(linker, states, mentions), self._told(linker, said), found[: len(rows)]]
        queries = torch.cat(asking)
        allowed = self._allowed(terms, [m.also for _, m in mentions])
        return self._contrast(queries, found[len(rows) :], self.terms[self._on(keys)], allowed, self._on(having))

    def _vectors(self, linker: Linker, states: Tensor, mentions: Sequence[tuple[int, Mention]]) -> Tensor:
        """Vectors of mentions, each with the place of its text in the batch `states`."""
        spans = np.array([(place, m.first, m.last) for place, m in mentions], np.int64).reshape(-1, 3)
        return linker.unit(mean_of(states, self._on(spans)))

    def _told(self, linker: Linker, said: Sequence[Mention]) -> Tensor:
        if self._sentences is None or not said:
            return torch.zeros(0, DIMENSIONS, device=self.device)
        with half(self.device):
            states = linker.encoder(self._sentences.take(np.array([m.text for m in said], np.int64)))
        return self._vectors(linker, states, list(enumerate(said)))

    def _on(self, rows: Array) -> Tensor:
        return torch.from_numpy(rows).to(self.device)

    def _allowed(self, terms: Array, also: Sequence[list[int]]) -> Tensor:
        """Which terms are no mistake for which query [queries, terms]."""
        pairs = [(n, int(term)) for n, term in enumerate(terms)]
        pairs += [(n, other) for n, others in enumerate(also) for other in others]
        allowed = torch.zeros(len(terms), len(self.made.ids), dtype=torch.bool, device=self.device)
        allowed[tuple(torch.tensor(pairs, device=self.device).T)] = True
        return allowed

    def _contrast(self, queries: Tensor, keys: Tensor, terms: Tensor, allowed: Tensor, having: Tensor) -> Tensor:
        """InfoNCE of each query against a name of its term, and another phrase of it where there is one.

        `keys` [names of all queries, then phrases of the queries in `having`], `terms` are theirs.
        """
        near = (queries @ keys.T / TEMPERATURE).float()
        far = (queries @ self.bank.T / TEMPERATURE).float()
        negative = near.masked_fill(allowed[:, terms], _NEVER).logsumexp(1)
        far = far.masked_fill(allowed[:, self.terms], _NEVER).logsumexp(1)
        against = torch.logaddexp(negative, far)
        loss = functional.softplus(against - near.diagonal()).mean()
        if not len(having):
            return loss
        right = near[having, len(queries) + torch.arange(len(having), device=self.device)]
        return loss + functional.softplus(against[having] - right).mean()
