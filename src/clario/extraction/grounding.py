"""A model's quotes -> places in the text. What Clario returns is always a slice of the text, never the model's.

To the letter, else whatever the white space, the case, and the kind of quotation marks and dashes; whole words
before words without their ending; at last the nearest stretch, if it is near enough. What is not there is dropped.
"""

import re
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from clario.entities import Mention
from clario.extraction.base import Mentions
from clario.extraction.parse import Answer, Proposed, parse

CONFIDENCE: Final = 0.5
"""Of a model that does not tell how sure it is: nothing is known, so neither high nor low."""
NEAR: Final = 90.0
"""Likeness in percent (1 - insertions and deletions / length of both) from which a stretch is the one meant."""
_SHORTEST: Final = 6  # code points of a quote that is looked for by likeness: "pain" is near to too much

# "<" and its stand-in: see `prompt.messages`.
_SPELLINGS: Final = {
    mark: f"[{re.escape(marks)}]" for marks in ("'’‘ʼ`´", '"“”„«»', "-‐‑‒–—", "<‹") for mark in marks
} | {"…": r"(?:…|\.\.\.)"}
# Thai, Lao, Burmese, Khmer, kana, Chinese characters: words without spaces between them.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_ENDS: Final = "\"'“”„«»’‘`.,;:!?…()[] \t\r\n"
_WORD: Final = re.compile(r"\w+(?:['’]\w+)*")
_ONE_MARK: Final = str.maketrans("’‘ʼ`´“”„«»‐‑‒–—‹\n\t", "'''''\"\"\"\"\"-----<  ")


class Place(NamedTuple):
    """Code points `start` to `end` of a text, and how like the quote they are: 1 is the same words."""

    start: int
    end: int
    likeness: float


def read(raw: str, text: str, confidence: float = CONFIDENCE) -> Mentions:
    """A model's output as mentions of a text, with the warnings of reading and of grounding.

    Raises:
        ModelError: nothing in the output can be read.
    """
    return ground(parse(raw), text, confidence)


def ground(answer: Answer, text: str, confidence: float = CONFIDENCE) -> Mentions:
    """The proposed entities that stand in the text, in its order, each once.

    Args:
        confidence: of a mention whose quote stands there as given; a nearest one's is less by its likeness.
    """
    warnings, taken = list(answer.warnings), set[tuple[int, int]]()
    found = dict[tuple[object, ...], Mention]()
    for number, entity in enumerate(answer.entities, 1):
        place = find(entity.name_colloquial, text, taken)
        if place is None:
            warnings.append(f"entity {number} was left out: its quote is not in the text")
            continue
        if place.likeness < 1:
            warnings.append(f"entity {number} is not quoted to the letter; the nearest words stand for it")
        taken.add((place.start, place.end))
        mention = _mention(entity, text, place, confidence)
        found.setdefault((mention.start, mention.end, mention.type, mention.name_canonical), mention)
    return Mentions(sorted(found.values(), key=lambda m: (m.start, m.end)), warnings)


def _mention(entity: Proposed, text: str, place: Place, confidence: float) -> Mention:
    quote = text[place.start : place.end]
    repeats = entity.name_canonical == entity.name_colloquial
    return Mention(
        type=entity.type,
        name_colloquial=quote,
        start=place.start,
        end=place.end,
        name_canonical=quote if repeats else entity.name_canonical,
        assertion=entity.assertion,
        confidence=round(confidence * place.likeness, 4),
    )


def find(quote: str, text: str, taken: Collection[tuple[int, int]] = ()) -> Place | None:
    """Where a quote stands in a text, or None; see the module for what counts.

    Args:
        taken: places of earlier quotes. Of several places the first that is not taken, else the first.
    """
    place = locate(quote, text, taken) or locate(quote.strip(_ENDS), text, taken)
    return Place(*place, 1.0) if place else _nearest(quote.strip(_ENDS), text)


def locate(quote: str, text: str, taken: Collection[tuple[int, int]] = ()) -> tuple[int, int] | None:
    """Offsets of a quote, as `find`, without the nearest ones."""
    quote = quote.strip()
    if not quote or len(quote) > 2 * len(text):
        return None
    loose = r"\s+".join("".join(_SPELLINGS.get(c, re.escape(c)) for c in word) for word in quote.split())
    wordings = ((re.escape(quote), re.NOFLAG), (loose, re.IGNORECASE))
    first = None
    for before, after in _borders(quote):
        for pattern, flags in wordings:
            for match in re.finditer(f"{before}{pattern}{after}", text, flags):
                if match.span() not in taken:
                    return match.span()
                first = first or match.span()
    return first


def _borders(quote: str) -> Iterator[tuple[str, str]]:
    """What must stand around a quote: no letter; else an ending at most ("vomit" of "vomiting", never "rash" of
    "crash"); else anything, in scripts without spaces.
    """
    before, after = (r"(?<!\w)" if _is_word(quote[0]) else ""), (r"(?!\w)" if _is_word(quote[-1]) else "")
    yield before, after
    if after:
        yield before, r"(?=\w{1,3}(?!\w))"
    if _UNSPACED.search(quote):
        yield "", ""


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _nearest(quote: str, text: str) -> Place | None:
    """The stretch of whole words that is most like a quote, if it is near enough."""
    from rapidfuzz import fuzz

    wanted, there = _plain(quote), _plain(text)
    if len(wanted) < _SHORTEST or len(wanted) > 2 * len(there):
        return None
    around = fuzz.partial_ratio_alignment(wanted, there, score_cutoff=NEAR - 10)
    if around is None:
        return None
    stretches = _stretches(text, around.dest_start, around.dest_end, len(wanted.split()))
    scored = ((fuzz.ratio(wanted, there[a:b], score_cutoff=NEAR), a, b) for a, b in stretches)
    score, start, end = max(scored, key=lambda row: (row[0], -row[1], -row[2]), default=(0.0, 0, 0))
    return Place(start, end, score / 100) if score else None


def _stretches(text: str, start: int, end: int, words: int) -> Iterator[tuple[int, int]]:
    """Stretches of whole words that begin and end near a window, up to two words off on each side."""
    spans = [match.span() for match in _WORD.finditer(text)]
    inside = [n for n, (a, b) in enumerate(spans) if a < end and b > start]
    if not inside:
        return
    around = range(max(0, inside[0] - 2), min(len(spans), inside[-1] + 3))
    for first in (n for n in around if n <= inside[0] + 2):
        for last in (n for n in around if n >= max(first, inside[-1] - 2)):
            if last - first < words + 3:
                yield spans[first][0], spans[last][1]


def _plain(text: str) -> str:
    """A text in small letters, with one kind of marks, code point for code point."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text.translate(_ONE_MARK))
