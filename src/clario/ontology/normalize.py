"""One normalisation of names, shared by the index, the resolver and the lexicon extractor.

Two names with the same key mean the same: they differ in case, punctuation, hyphens, apostrophes,
accents, British or American spelling, inflection, order of words, or function words only. Words that
change the meaning (no, not, left, right, hypo-, hyper-) are never dropped or merged.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import Stemmer

# A change of what keys look like makes compiled releases of older versions unusable: count it up.
KEY_VERSION = 1

# Soft hyphens and zero-width marks stand inside words that were copied from pages.
_INVISIBLE = "\u00ad\u200b\u200c\u200d\ufeff"
_WORD = re.compile(rf"[^\W_]+(?:['’ʼ{_INVISIBLE}]+[^\W_]+)*")
_POSSESSIVE = re.compile(r"['’ʼ]s$", re.IGNORECASE)
_APOSTROPHE = re.compile(rf"['’ʼ{_INVISIBLE}]")
# A line break inside a sentence: the line is long, and the next one goes on in lower case.
_WRAP = re.compile(r"(?<=[^\n]{59}[\w,])\n(?=[a-z])")

FUNCTION_WORDS = frozenset(
    """a an the this that these those some any of in on at to with for from by and or as into onto upon during
    my your his her hers its our their me you him them it i we they he she us mine who which
    is am are was were be been being has have had having do does did doing get gets got getting gotten
    ive im id ill youre hes shes its theyre weve theyve thats
    really so just quite both own also there when while""".split()
)

# Spelling, word by word: British to American. Applied to both sides, so a rule only must not merge two
# different words. Patterns from the uk_spelling synonyms of HPO; see tests/test_normalize.py.
_SPELLING = [
    (re.compile(r"oeu"), "eu"),
    (re.compile(r"oe(?!s?$)"), "e"),
    (re.compile(r"ae(?!s?$)"), "e"),
    (re.compile(r"(?<=[a-z]{2})our(?=$|s$|ed$|ing$|less$|ful$|al$|abl|it|ation|ous$)"), "or"),
    (re.compile(r"(?<=[a-z]{3})is(?=(?:e|ed|es|er|ing|ation|ations)$)"), "iz"),
    (re.compile(r"lys(?=(?:e|ed|es|ing)$)"), "lyz"),
    (re.compile(r"^leuco"), "leuko"),
    (re.compile(r"sulph"), "sulf"),
    (re.compile(r"(?<=t)re(?=s?$)"), "er"),
    (re.compile(r"(?<=fib)re(?=s?$)"), "er"),
]

_SPELLING_OF_WORDS = {
    "grey": "gray",
    "disc": "disk",
    "discs": "disks",
    "connexion": "connection",
    "mould": "mold",
    "moulds": "molds",
    "manoeuvre": "maneuver",
    "programme": "program",
    "tyre": "tire",
    "plough": "plow",
}

# Inflections that a stemmer does not see (stem -> stem).
_IRREGULAR = {
    "swollen": "swell",
    "swelt": "swell",
    "teeth": "tooth",
    "feet": "foot",
    "children": "child",
    "women": "woman",
    "itchi": "itch",
    "achi": "ach",
    "tired": "tire",
    "seiz": "seizur",
    "shaki": "shake",
    "bled": "bleed",
    "fallen": "fall",
    "fell": "fall",
    "broken": "break",
    "broke": "break",
    "lost": "lose",
    "loss": "lose",
    "felt": "feel",
    "vertebra": "vertebra",
    "threw": "throw",
    "thrown": "throw",
    "woke": "wake",
    "woken": "wake",
    "slept": "sleep",
    "forgot": "forget",
    "forgotten": "forget",
    "bitten": "bite",
    "stung": "sting",
    "shook": "shake",
    "worn": "wear",
}

# Adjectives and verbs in which the commonest complaints are told, where the ontology has the noun.
_COMPLAINTS = frozenset(
    """anxious bloated blind clumsy confused constipated deaf depressed dizzy drowsy fainted forgetful headachy
    hoarse itchy lethargic numb obese pale shaky sleepy sneezy wheezy""".split()
)

_stemmer = Stemmer.Stemmer("english", 0)


class Token(NamedTuple):
    """A word of a text: as normalised (case, accents, spelling), and where it stands (code points)."""

    word: str
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """The words of a text, in order, with true offsets. Function words are kept."""
    return [Token(normal_word(m[0]), m.start(), m.end()) for m in _WORD.finditer(text)]


@lru_cache(maxsize=65_536)
def normal_word(word: str) -> str:
    """A word in lower case, without accents and apostrophes, in American spelling, not stemmed."""
    word = _POSSESSIVE.sub("", word)
    word = unicodedata.normalize("NFKD", word).casefold()
    word = "".join(c for c in _APOSTROPHE.sub("", word) if not unicodedata.combining(c))
    if word in _SPELLING_OF_WORDS:
        return _SPELLING_OF_WORDS[word]
    if len(word) > 4:
        for pattern, american in _SPELLING:
            word = pattern.sub(american, word)
    return word


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The stem of a normalised word: Porter2 (Snowball), and a few irregular forms."""
    if word.endswith("ness") and len(word) > 6:
        word = word.removesuffix("ness")
    stemmed: str = _stemmer.stemWord(word)
    return _IRREGULAR.get(stemmed, stemmed)


def unwrap(text: str) -> str:
    """A text with the line breaks inside its sentences turned into spaces; offsets stay true."""
    return _WRAP.sub(" ", text)


def inflects(base: str, word: str) -> bool:
    """Whether a normalised word is another, or an inflection of it ("coughing" of "cough").

    Not what it derives from: "mouth" is no inflection of "mouthing", though both have one stem.
    """
    longer = len(base) > 3 and len(word) >= len(base) and word.startswith(base[:-1])
    return word == base or longer or word in _COMPLAINTS


def meaning(words: Iterable[str]) -> list[str]:
    """The words that carry meaning, in order; all words where none does."""
    words = [word for word in words if word]
    kept = [word for word in words[:-1] if word not in FUNCTION_WORDS]
    # "i" at the end is a numeral (VUR I), elsewhere the writer.
    kept += [word for word in words[-1:] if word not in FUNCTION_WORDS or (word == "i" and kept)]
    return kept or words


def content(words: Iterable[str]) -> list[str]:
    """The stems of the words that carry meaning, in order."""
    return [stem(word) for word in meaning(words)]


def ordered_stems(name: str) -> list[str]:
    """The content stems of a name, in the order that they stand in."""
    return content(token.word for token in tokens(name))


def key_of(stems: Sequence[str]) -> str:
    """The key of a sequence of stems: sorted, unless order tells apart (left to right, right to left)."""
    if "left" in stems and "right" in stems:
        return " ".join(stems)
    return " ".join(sorted(stems))


def key(name: str) -> str:
    """The key of a name; names with equal keys mean the same. Empty for a name without a word."""
    return key_of(ordered_stems(name))
