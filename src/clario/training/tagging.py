"""Train the tagger of `mini`: which words are a mention, of what type, and with what assertion.

Words get tags B, I and O by a linear-chain conditional random field (Lafferty et al. 2001) over the mean
state of their pieces. The assertion is told from the mean state of a mention's pieces; it is trained on the
gold spans and on spans with moved ends, since that is what it meets in use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from clario.training.model import Encoder, Settings, mean_of, padded
from clario.training.texts import Tokens, pieces_of, read, words_of

TYPES = ("symptom", "lab_marker", "med", "trigger", "behavior")
ASSERTIONS = ("present", "past", "absent", "other", "hypothetical")
TAGS = 1 + 2 * len(TYPES)  # O, and B and I of each type
_NEVER = -1e4
_HIDDEN = 128


@dataclass(slots=True)
class Tagged:
    """A diary: its pieces, the words' first pieces (and the end of the last), their tags, and the mentions.

    `spans` are (first word, word after the last, type, assertion).
    """

    ids: list[int]
    words: list[int]
    tags: list[int]
    spans: list[tuple[int, int, int, int]]


def tagged(path: Path, tokens: Tokens) -> list[Tagged]:
    """The diaries of a file; of mentions that overlap the longer one is kept."""
    return [_tagged(record, tokens) for record in read(path)]


def _tagged(record: dict, tokens: Tokens) -> Tagged:  # type: ignore[type-arg]
    encoding = tokens.text(record["text"])
    words = words_of(encoding)
    made = Tagged(encoding.ids, words, [0] * (len(words) - 1), [])
    entities = sorted(record["entities"], key=lambda e: (e["start"] - e["end"], e["start"]))
    for entity in entities:
        pieces = pieces_of(encoding, entity["start"], entity["end"])
        if pieces is None:
            continue
        first, last = np.searchsorted(words, pieces[0], "right") - 1, np.searchsorted(words, pieces[1])
        kind = TYPES.index(entity["type"])
        made.spans.append((int(first), int(last), kind, ASSERTIONS.index(entity["assertion"])))
        if not any(made.tags[first:last]):
            made.tags[first:last] = [1 + 2 * kind, *[2 + 2 * kind] * (last - first - 1)]
    return made


def allowed() -> Tensor:
    """Which tag may follow which [from, to]: an I only its own B or I; the last row is the start."""
    may = torch.ones(TAGS + 1, TAGS, dtype=torch.bool)
    for kind in range(len(TYPES)):
        inner = 2 + 2 * kind
        may[:, inner] = False
        may[[inner - 1, inner], inner] = True
    return may


def forbidden() -> Tensor:
    """What is added to the scores of moves between tags: much less than nothing where one may not be."""
    return torch.where(allowed(), 0.0, _NEVER)


class Tagger(nn.Module):
    """The encoder with the heads for tags and assertions."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.tag = nn.Linear(encoder.width, TAGS)
        self.moves = nn.Parameter(torch.zeros(TAGS + 1, TAGS))
        self.hidden = nn.Linear(encoder.width, _HIDDEN)
        self.assertion = nn.Linear(_HIDDEN, len(ASSERTIONS))
        self.drop = nn.Dropout(0.2)
        self.register_buffer("forbidden", forbidden(), persistent=False)

    def transitions(self) -> Tensor:
        """Scores of one tag after another [from or start, to]."""
        return self.moves + self.forbidden

    def words(self, states: Tensor, words: Tensor) -> Tensor:
        """Scores of the tags of each word; `words` [batch, words, 2] are its pieces, (0, 1) beyond the end."""
        batch, count, _ = words.shape
        text = torch.arange(batch, device=words.device)[:, None].expand(-1, count)
        spans = torch.cat([text[..., None], words], -1).view(-1, 3)
        return self.tag(self.drop(mean_of(states, spans))).view(batch, count, TAGS)  # type: ignore[no-any-return]

    def assertions(self, states: Tensor, spans: Tensor) -> Tensor:
        """Scores of the assertions of spans [n, 3] (text, first piece, after the last)."""
        hidden = functional.gelu(self.hidden(self.drop(mean_of(states, spans))))
        return self.assertion(hidden)  # type: ignore[no-any-return]

    def likelihood(self, scores: Tensor, tags: Tensor, inside: Tensor) -> Tensor:
        """The mean negative log-likelihood a word; scores [batch, words, TAGS], tags and inside [batch, words].

        The sum over all paths is a product of matrices in the semiring of logsumexp and +, taken pairwise: few
        large steps where the usual recursion takes one a word (Blelloch 1990).
        """
        moves = self.transitions()
        first = scores[:, 0] + moves[TAGS]
        took = moves[tags[:, :-1], tags[:, 1:]] + scores[:, 1:].gather(2, tags[:, 1:, None])[..., 0]
        path = first.gather(1, tags[:, :1])[:, 0] + (took * inside[:, 1:]).sum(1)
        steps = moves[:TAGS] + scores[:, 1:, None, :]  # [batch, words - 1, from, to]
        nothing = torch.where(torch.eye(TAGS, dtype=torch.bool, device=scores.device), 0.0, _NEVER)
        steps = torch.where(inside[:, 1:, None, None], steps, nothing)
        while steps.shape[1] > 1:
            if steps.shape[1] % 2:
                steps = torch.cat([steps, nothing.expand(len(steps), 1, TAGS, TAGS)], 1)
            left, right = steps[:, 0::2], steps[:, 1::2]
            steps = (left[..., :, :, None] + right[..., None, :, :]).logsumexp(-2)
        total = (first[:, :, None] + steps[:, 0]).logsumexp((1, 2)) if steps.shape[1] else first.logsumexp(1)
        return (total - path).sum() / inside.sum()


class Lessons:
    """Makes the loss of a step from the states of its diaries."""

    def __init__(self, diaries: Sequence[Tagged], settings: Settings, device: torch.device) -> None:
        self.diaries, self._settings, self._device = diaries, settings, device
        self._random = np.random.default_rng(settings.seed)
        seen = np.bincount([s[3] for d in diaries for s in d.spans], minlength=len(ASSERTIONS))
        weights = np.sqrt(seen.max() / np.maximum(seen, 1))
        self._weights = torch.tensor(weights, dtype=torch.float32, device=device)

    def loss(self, tagger: Tagger, states: Tensor, rows: Sequence[int]) -> Tensor:
        """The loss of the diaries `rows`, whose states [batch, pieces, width] are given."""
        diaries = [self.diaries[row] for row in rows]
        words, tags, inside = arrays(diaries, self._device)
        spans, assertions = self._spans(diaries)
        loss = tagger.likelihood(tagger.words(states, words), tags, inside)
        if not len(spans):
            return loss
        told = tagger.assertions(states, spans)
        return loss + self._settings.assertion * functional.cross_entropy(told, assertions, weight=self._weights)

    def _spans(self, diaries: Sequence[Tagged]) -> tuple[Tensor, Tensor]:
        """The spans as (text, first piece, after the last), some with moved ends, and their assertions."""
        spans, assertions = [], []
        for text, diary in enumerate(diaries):
            for first, last, _, assertion in diary.spans:
                if self._random.random() < self._settings.moved:
                    first = int(np.clip(first + self._random.integers(-2, 3), 0, last - 1))
                    last = int(np.clip(last + self._random.integers(-2, 3), first + 1, len(diary.tags)))
                spans.append((text, diary.words[first], diary.words[last]))
                assertions.append(assertion)
        return torch.tensor(spans, device=self._device), torch.tensor(assertions, device=self._device)


def arrays(diaries: Sequence[Tagged], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Words [batch, words, 2] (first piece, after the last), tags and inside [batch, words]."""
    longest = max(len(d.tags) for d in diaries)
    words = np.tile(np.array([0, 1]), (len(diaries), longest, 1))
    tags, inside = np.zeros((len(diaries), longest), np.int64), np.zeros((len(diaries), longest), bool)
    for row, diary in enumerate(diaries):
        count = len(diary.tags)
        words[row, :count] = np.stack([diary.words[:-1], diary.words[1:]], 1)
        tags[row, :count], inside[row, :count] = diary.tags, True
    made = [torch.from_numpy(array).to(device) for array in (words, tags, inside)]
    return made[0], made[1], made[2]


def decode(scores: NDArray[np.float32], moves: NDArray[np.float32]) -> list[int]:
    """The best tags of words; scores [words, TAGS] (Viterbi 1967)."""
    best, back = scores[0] + moves[TAGS], []
    for row in scores[1:]:
        paths = best[:, None] + moves[:TAGS]
        back.append(paths.argmax(0))
        best = paths.max(0) + row
    tags = [int(best.argmax())]
    for places in reversed(back):
        tags.append(int(places[tags[-1]]))
    return tags[::-1]


@torch.no_grad()
def figures(tagger: Tagger, diaries: Sequence[Tagged], device: torch.device) -> str:
    """The share of words with the right tag, and of gold spans with the right assertion: to watch a run by.

    What counts is measured by `clario evaluate` on the served model.
    """
    tagger.eval()
    moves = tagger.transitions().float().cpu().numpy()
    right = words_in_all = told_right = told_in_all = 0
    for first in range(0, len(diaries), 32):
        some = diaries[first : first + 32]
        words, _, _ = arrays(some, device)
        states = tagger.encoder(padded([d.ids for d in some], device))
        scores = tagger.words(states, words).cpu().numpy()
        for row, diary in zip(scores, some, strict=True):
            tags = decode(row[: len(diary.tags)], moves)
            right += sum(a == b for a, b in zip(tags, diary.tags, strict=True))
            words_in_all += len(tags)
        spans = [(n, d.words[s[0]], d.words[s[1]]) for n, d in enumerate(some) for s in d.spans]
        told = tagger.assertions(states, torch.tensor(spans, device=device)).argmax(1).tolist()
        told_right += sum(a == s[3] for a, s in zip(told, (s for d in some for s in d.spans), strict=True))
        told_in_all += len(told)
    return f"tags {right / words_in_all:.3f}, assertions {told_right / max(told_in_all, 1):.3f}"
