"""One list of what the encoder read in a text and what stands there in the plain words of the ontology.

Diaries in indirect words taught the encoder: it passes over plain and clinical words, or takes them for something
else. The lexicon knows nothing but words. Where both see something in the same place, the lexicon is believed if
its words are a name of the ontology, or a medicine or test of its lists, and the encoder is not sure; else the
encoder. The limits were chosen on the validation diaries; see docs/LOG.md.
"""

from collections.abc import Callable, Iterable, Sequence

from clario.entities import EntityType, Mention

PLAIN = 0.5  # confidence from which the lexicon is believed at all; phrases nearly said are not
LISTED = 0.95  # the lexicon's confidence in medicines and tests of its lists
SURE = 0.8  # confidence from which the encoder is believed against a name word for word
GUESSED = 0.15  # confidence below which it gives way to all that the lexicon finds
_FEW = 6  # words of a mention that may be nothing but a medicine or test and how much of it


def united(read: Sequence[Mention], plain: Iterable[Mention], named: Callable[[str], bool]) -> list[Mention]:
    """The mentions of a text, in order of their offsets, no two of which overlap because of what was added.

    Args:
        read: what the encoder read.
        plain: what the lexicon found.
        named: whether a canonical name is a label or an exact synonym of the ontology.
    """
    found = [mention for mention in plain if mention.confidence >= PLAIN]
    strong = [mention for mention in found if _strong(mention, named)]
    kept = [
        own
        for own in read
        if not any(_overlap(own, other) for other in found if own.confidence < GUESSED)
        and not any(_gives_way(own, other) for other in strong)
    ]
    added = [mention for mention in found if not any(_overlap(mention, own) for own in kept)]
    return sorted([*kept, *added], key=lambda mention: (mention.start, mention.end))


def _strong(mention: Mention, named: Callable[[str], bool]) -> bool:
    if mention.type is EntityType.SYMPTOM:
        return named(mention.name_canonical)
    return mention.confidence >= LISTED


def _gives_way(own: Mention, other: Mention) -> bool:
    """Whether what the encoder read gives way to a name, a medicine or a test in the same place."""
    if not _overlap(own, other) or own.confidence >= SURE:
        return False
    if other.type is EntityType.SYMPTOM:
        return True
    return own.type is not other.type and len(own.name_colloquial.split()) <= _FEW


def _overlap(one: Mention, other: Mention) -> bool:
    return one.start < other.end and other.start < one.end
