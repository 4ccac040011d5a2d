"""Does a diary name the disorder behind it? A rule on the disorder's name as Orphanet and OMIM write it."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from clario.ontology.index import Index
from clario.ontology.normalize import key, normal_word, tokens

_SHORTEST: Final = 4  # letters of a word that names a disorder by itself
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")

# Words that a disorder's name shares with many others.
_GENERAL: Final = frozenset(
    """syndrome syndromic disease disorder disorders deficiency type types form familial hereditary congenital
    isolated idiopathic autosomal dominant recessive linked with without due to of the and or in by associated
    related primary secondary chronic acute adult onset infantile juvenile neonatal childhood early late
    nonsyndromic rare severe mild moderate complex progressive sporadic acquired inherited unspecified variant
    classic classical atypical typical partial complete group subtype chromosome chromosomal deletion
    duplication microdeletion microduplication monosomy trisomy mutation gene susceptibility""".split()
)


class Naming:
    """Finds names of disorders in texts. What the ontology has as a phenotype may be said: it is no name here."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def named(self, text: str, disorder: str) -> str | None:
        """The stretch of the text that names the disorder, or None.

        Naming is the whole name; the name, or what stands before its comma, without general words ("syndrome",
        "type 2"), unless that is a phenotype; or a proper name in it, such as Ehlers. A word that the ontology
        uses, too (Down, Charge), must be written with a capital letter.
        """
        found = tokens(text)
        words = [token.word for token in found]
        for form, capital in self._forms(disorder):
            for start in range(len(words) - len(form) + 1):
                stretch = text[found[start].start : found[start + len(form) - 1].end]
                if words[start : start + len(form)] == form and (not capital or stretch[0].isupper()):
                    return stretch
        return None

    def _forms(self, disorder: str) -> Iterator[tuple[list[str], bool]]:
        """The words of each way to name it, and whether it must begin with a capital letter."""
        yield [token.word for token in tokens(disorder)], False
        for part in dict.fromkeys((disorder, disorder.partition(",")[0])):
            core = _core([token.word for token in tokens(part)])
            alone = len(core) == 1
            if not core or (alone and len(core[0]) < _SHORTEST) or self._index.names.find(key(" ".join(core))):
                continue
            yield core, alone and core[0] in self._index.words
        yield from (([word], False) for word in self._proper(disorder))

    def _proper(self, disorder: str) -> Iterator[str]:
        """Words that only this disorder is called by: its first word and the capitalised ones, unless general."""
        shouted = disorder.isupper()
        for position, match in enumerate(_WORD.finditer(disorder)):
            word = normal_word(match[0])
            if position and (shouted or not match[0][0].isupper()):
                continue
            if len(word) >= _SHORTEST and word not in _GENERAL and word not in self._index.words:
                yield word


def _core(name: Sequence[str]) -> list[str]:
    """A name without the general words and numbers before and after it."""
    specific = [n for n, word in enumerate(name) if word not in _GENERAL and not word.isdigit()]
    return list(name[specific[0] : specific[-1] + 1]) if specific else []
