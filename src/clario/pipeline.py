"""From texts to Extractions: an extractor, the context, the resolver, in batches, in order.

One text that fails never loses the others: a `Failure` stands in its place.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from clario.entities import (
    Assertion,
    Entity,
    EntityType,
    Extraction,
    Failure,
    Match,
    MatchMethod,
    Mention,
)
from clario.errors import ClarioError, InputError, ModelError
from clario.extraction import base
from clario.extraction.base import Extractor, Mentions
from clario.extraction.context import assertions
from clario.extraction.dates import event_hint
from clario.ontology import release as releases
from clario.ontology.resolver import NOTHING, Resolution, Resolver

LONGEST = 1_000_000
"""The longest text that is taken as one diary, in code points."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_WITH_TERMS = frozenset({EntityType.SYMPTOM, EntityType.LAB_MARKER})


@dataclass(frozen=True, slots=True)
class Diary:
    """One text by or about one patient; `recorded` is the day it was written, for its relative dates."""

    id: str
    text: str
    recorded: date | datetime | None = None


class Clario:
    """An extractor and a release, ready to read texts.

    Args:
        extractor: the name of an installed extractor, or one made by hand; None is the default one.
        release: the HPO release that gives the ids, by its date; None is the one in use.

    Raises:
        ModelError: no such extractor.
        OntologyError: no such release.

    >>> Clario().extract("My mouth is so dry, but no fever.").entities[0].hpo_label
    'Xerostomia'
    """

    def __init__(self, extractor: str | Extractor | None = None, release: str | None = None) -> None:
        if isinstance(extractor, Extractor):
            if release is not None:
                raise ModelError("an extractor that is made already has its release; leave `release` out")
            self.resolver = extractor.resolver
            self.extractor = extractor
        else:
            self.resolver = Resolver(releases.load(release))
            self.extractor = base.create(extractor, self.resolver) if extractor else base.default(self.resolver)

    @property
    def model(self) -> str:
        """Name and version of the extractor, as results carry it."""
        return f"{self.extractor.name} {self.extractor.version}"

    def extract(self, text: str, *, id: str = "0", recorded: date | datetime | None = None) -> Extraction:
        """Read one text.

        Raises:
            InputError: not a text, or longer than `LONGEST`.
            ModelError: the extractor failed.
        """
        diary = Diary(id, text, recorded)
        _check(diary)
        found = self._mentions([text])[0]
        if isinstance(found, ModelError):
            raise found
        return self._extraction(diary, found)

    def extract_many(self, diaries: Iterable[Diary | Failure | str]) -> Iterator[Extraction | Failure]:
        """Read many texts, as a stream and in their order.

        A plain string is named by its position; a Failure (of whoever read the texts) is passed on. What is
        neither becomes a Failure. If `diaries` itself fails, what it gave before is read first.

        Raises:
            InputError: `diaries` is one string, whose letters are hardly meant to be diaries.
        """
        if isinstance(diaries, str):
            raise InputError("extract_many reads many texts; for one, call extract")
        return self._stream(diaries)

    def _stream(self, diaries: Iterable[Diary | Failure | str]) -> Iterator[Extraction | Failure]:
        items = (d if isinstance(d, Diary | Failure) else Diary(str(n), d) for n, d in enumerate(diaries))
        for batch in _batches(items, self.extractor.batch_size):
            yield from self._batch(batch)

    def _batch(self, batch: Sequence[Diary | Failure]) -> list[Extraction | Failure]:
        sound = [item if isinstance(item, Diary) and not _fault(item) else None for item in batch]
        try:
            found = iter(self._mentions([diary.text for diary in sound if diary]))
        except ModelError:
            # One of them is at fault; alone, each of the others is read all the same.
            return [self._alone(item) for item in batch]
        return [
            self._told(diary, next(found)) if diary else self._alone(item)
            for diary, item in zip(sound, batch, strict=True)
        ]

    def _told(self, diary: Diary, found: Mentions | ModelError) -> Extraction | Failure:
        if isinstance(found, ModelError):
            return Failure(id=diary.id, error=str(found))
        return self._extraction(diary, found)

    def _alone(self, diary: Diary | Failure) -> Extraction | Failure:
        if isinstance(diary, Failure):
            return diary
        try:
            return self.extract(diary.text, id=diary.id, recorded=diary.recorded)
        except ClarioError as error:
            return Failure(id=_printable(diary.id), error=str(error))

    def _mentions(self, texts: Sequence[str]) -> list[Mentions | ModelError]:
        """The mentions of each text; texts too long for the extractor are read piece by piece."""
        pieces = [pieces_of(text, self.extractor.max_chars) for text in texts]
        cut = [text[a:b] for text, cuts in zip(texts, pieces, strict=True) for a, b in cuts]
        found = iter(self._found(cut))
        return [_joined([(start, next(found)) for start, _ in cuts]) for cuts in pieces]

    def _found(self, texts: list[str]) -> Sequence[list[Mention] | ModelError]:
        """What the extractor finds, checked: an extractor may be anybody's."""
        try:
            found = self.extractor.extract(texts)
        except ClarioError:
            raise
        except Exception as error:  # noqa: BLE001  its message may hold the text
            failure = ModelError(f"{self.model} failed ({type(error).__name__})")
        else:
            if len(found) == len(texts) and all(map(_verbatim, texts, found)):
                return found
            failure = ModelError(f"{self.model} gave quotes or offsets that are not of its texts")
        raise failure

    def _extraction(self, diary: Diary, mentions: Mentions) -> Extraction:
        context = iter(_context(diary.text, mentions))
        entities = [self._entity(m, m.assertion or next(context)) for m in mentions]
        hint = event_hint(diary.text, diary.recorded) if diary.recorded else None
        warnings = [] if diary.text.strip() else ["the text is empty"]
        return Extraction(
            id=diary.id,
            entities=tuple(entities),
            model=self.model,
            hpo_release=self.resolver.release,
            ts_event_hint=hint,
            warnings=(*warnings, *mentions.warnings),
        )

    def _entity(self, mention: Mention, assertion: Assertion) -> Entity:
        found = NOTHING
        if mention.type in _WITH_TERMS:
            names = mention.name_canonical, mention.name_colloquial
            found = self.resolver.resolve(*names, dense=_named(mention))
        return Entity(
            type=mention.type,
            name_colloquial=mention.name_colloquial,
            start=mention.start,
            end=mention.end,
            name_canonical=found.label or mention.name_canonical,
            hpo_id=found.hpo_id,
            hpo_label=found.label,
            assertion=assertion,
            confidence=mention.confidence,
            match=_match(found),
        )


def pieces_of(text: str, longest: int) -> list[tuple[int, int]]:
    """Cut a text into stretches of at most `longest` code points: between lines, else sentences, else words."""
    pieces, start = [], 0
    while len(text) - start > longest:
        end = _last_cut(text, start, start + longest)
        pieces.append((start, end))
        start = end
    return [*pieces, (start, len(text))]


def _last_cut(text: str, start: int, end: int) -> int:
    for mark in ("\n", ". ", " "):
        found = text.rfind(mark, start + 1, end)
        if found > start:
            return found + len(mark)
    return end


def _context(text: str, mentions: Iterable[Mention]) -> list[Assertion]:
    return assertions(text, [(m.start, m.end) for m in mentions if m.assertion is None])


def _moved(mention: Mention, by: int) -> Mention:
    if by == 0:
        return mention
    return mention.model_copy(update={"start": mention.start + by, "end": mention.end + by})


def _named(mention: Mention) -> bool:
    """Whether the extractor gave a symptom a name of its own, which may then be looked for by its meaning.

    One that repeats the quote knows no term, and is not overruled; the name of a test tells no result.
    """
    repeats = mention.name_canonical.casefold() == mention.name_colloquial.casefold()
    return mention.type is EntityType.SYMPTOM and not repeats


def _match(found: Resolution) -> Match:
    return Match(
        method=MatchMethod(found.method),
        name=found.name,
        score=found.score,
        candidates=tuple(candidate.hpo_id for candidate in found.candidates),
    )


def _joined(pieces: Sequence[tuple[int, list[Mention] | ModelError]]) -> Mentions | ModelError:
    """The mentions of a text from those of its pieces; where a piece failed, the text did."""
    mentions, warnings = list[Mention](), dict[str, None]()
    for start, found in pieces:
        if isinstance(found, ModelError):
            return found
        mentions += [_moved(mention, start) for mention in found]
        warnings |= dict.fromkeys(found.warnings if isinstance(found, Mentions) else ())
    return Mentions(mentions, warnings)


def _verbatim(text: str, mentions: Iterable[Mention] | ModelError) -> bool:
    return isinstance(mentions, ModelError) or all(text[m.start : m.end] == m.name_colloquial for m in mentions)


def _batches(items: Iterable[Diary | Failure], size: int) -> Iterator[list[Diary | Failure]]:
    """Lists of `size` items, the last one shorter; also what was collected when `items` fails."""
    batch = list[Diary | Failure]()
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                full, batch = batch, []
                yield full
    finally:
        if batch:
            yield batch


def _fault(diary: Diary) -> str | None:
    if not isinstance(diary.text, str):
        return f"the text is not a string but {type(diary.text).__name__}"
    if not isinstance(diary.id, str) or _SURROGATE.search(diary.id):
        return "the id is not a string of Unicode"
    if diary.recorded is not None and not isinstance(diary.recorded, date):
        return f"`recorded` is not a date but {type(diary.recorded).__name__}"
    if len(diary.text) > LONGEST:
        return f"the text has {len(diary.text):,} characters; at most {LONGEST:,} are read as one diary: split it"
    if _SURROGATE.search(diary.text):
        return "the text has half of a surrogate pair: it was cut or decoded wrongly and is no Unicode text"
    return None


def _printable(identifier: object) -> str:
    return str(identifier).encode("utf-8", "backslashreplace").decode()


def _check(diary: Diary) -> None:
    fault = _fault(diary)
    if fault:
        raise InputError(fault)
