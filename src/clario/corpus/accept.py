"""Is a teacher's answer a diary of the corpus? Parsed, every quote aligned, every name resolved; else refused."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ValidationError

from clario.corpus.check import FEWEST_WORDS, MOST_WORDS, WITH_TERMS
from clario.corpus.dataset import GoldEntity
from clario.corpus.duplicates import Texts
from clario.corpus.naming import Naming
from clario.corpus.profiles import Profile
from clario.entities import Assertion, EntityType
from clario.ontology.index import PHENOTYPIC_ABNORMALITY, Index
from clario.ontology.normalize import key, ordered_stems, tokens
from clario.ontology.resolver import Resolution, Resolver

NEAR: Final = 0.8  # similarity to an accepted text from which on a text is refused
FEWEST_ENTITIES: Final = 2
MOST_COPIED: Final = 1 / 3  # share of the symptoms that may be told in the ontology's own words
# What passes these is no diary of 160 words, nor a name: it is not looked at any closer.
_LONGEST_ANSWER, _LONGEST_TEXT, _LONGEST_NAME, _MOST_ENTITIES = 100_000, 2_000, 150, 60
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_FENCED = re.compile(r"\A[^{}]*?```(?:json)?\s*(\{.*\})\s*```[^{}]*\Z", re.DOTALL | re.IGNORECASE)
_SPELLINGS = {mark: f"[{marks}]" for marks in ("'’‘ʼ`´", '"“”„«»', "-‐‑‒–—") for mark in marks} | {
    "…": r"(?:…|\.\.\.)"
}


class Refused(Exception):  # noqa: N818 - a verdict, not an error
    """Why an answer is refused: the `reason` is without a word of the diary, the `advice` is for the teacher."""

    def __init__(self, reason: str, advice: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice or reason


def _word(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class AnsweredEntity(BaseModel):
    """An entity as a teacher writes it. Further fields are ignored: an id of the model's own is worth nothing."""

    quote: str
    type: Annotated[EntityType, BeforeValidator(_word)]
    assertion: Annotated[Assertion, BeforeValidator(_word)]
    name: str | None = None


class Answer(BaseModel):
    """What a teacher is asked for."""

    text: str
    entities: list[AnsweredEntity]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A diary that passed, with its entities in the order of the text."""

    text: str
    entities: tuple[GoldEntity, ...]


def parse(content: str) -> Answer:
    """The answer in what a model wrote, perhaps after its thoughts or in a Markdown fence.

    Raises:
        Refused: no JSON object, or not of the shape asked for.
    """
    content = content.rpartition("</think>")[2]
    if len(content) > _LONGEST_ANSWER:
        raise Refused(f"the answer has more than {_LONGEST_ANSWER:,} characters")
    fenced = _FENCED.match(content)
    try:
        return Answer.model_validate(json.loads(fenced[1] if fenced else content))
    except ValidationError as error:
        # Not `str(error)`: it would show the diary.
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        raise Refused(f"not of the shape asked for: {place}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise Refused("the answer is not one whole JSON object") from None


def align(quote: str, text: str, taken: Iterable[tuple[int, int]] = ()) -> tuple[int, int] | None:
    """Where a quote stands in a text (code points), or None.

    To the letter, else whatever the white space, the case, and the kind of quotation marks and dashes; whole
    words only. Of several places the first that is not `taken`, else the first.
    """
    quote = quote.strip()
    if not quote or len(quote) > 2 * len(text):
        return None
    loose = r"\s+".join("".join(_SPELLINGS.get(c, re.escape(c)) for c in word) for word in quote.split())
    before = r"(?<!\w)" if _is_word(quote[0]) else ""
    after = r"(?!\w)" if _is_word(quote[-1]) else ""
    taken = set(taken)
    for pattern, flags in ((re.escape(quote), re.NOFLAG), (loose, re.IGNORECASE)):
        places = [m.span() for m in re.finditer(f"{before}{pattern}{after}", text, flags)]
        if places:
            return next((place for place in places if place not in taken), places[0])
    return None


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


class Checker:
    """Checks answers against one release and against the texts accepted before.

    Args:
        resolver: gives the ids; a symptom that it cannot resolve is refused.
        accepted: texts that no further one may nearly repeat.
    """

    def __init__(self, resolver: Resolver, accepted: Iterable[str] = ()) -> None:
        self._resolver = resolver
        self._index: Index = resolver.index
        self._naming = Naming(resolver.index)
        self._accepted = Texts()
        for text in accepted:
            self._accepted.add(text)

    def accept(self, answer: Answer, profile: Profile, *, blank: bool) -> Accepted:
        """The diary of an answer, which counts as accepted from then on.

        Args:
            blank: an entry without a symptom was asked for.

        Raises:
            Refused: with the first thing that is wrong.
        """
        text = answer.text.strip()
        self._check_text(text, profile)
        found = self._entities(answer.entities, text, profile)
        if blank and any(entity.type is EntityType.SYMPTOM for entity in found):
            raise Refused("a symptom is told where none was asked for")
        if not blank:
            self._check_told(found, profile)
        if self._accepted.similar(text, NEAR):
            raise Refused("nearly the same text was written before", "it is nearly the same as an earlier diary")
        self._accepted.add(text)
        return Accepted(text, tuple(found))

    def _check_text(self, text: str, profile: Profile) -> None:
        number = len(tokens(text))
        if not FEWEST_WORDS <= number <= MOST_WORDS or len(text) > _LONGEST_TEXT:
            raise Refused(f"the text has {number} words; {FEWEST_WORDS} to {MOST_WORDS} are wanted")
        if _UNFIT.search(text):
            raise Refused("the text has control characters or halves of characters")
        if named := self._naming.named(text, profile.name):
            raise Refused("the text names the disorder", f"the diary names the disorder ({named!r})")

    def _check_told(self, found: Sequence[GoldEntity], profile: Profile) -> None:
        if len(found) < FEWEST_ENTITIES:
            raise Refused(f"fewer than {FEWEST_ENTITIES} entities")
        wanted = {phenotype.hpo_id for phenotype in profile.phenotypes}
        if not any(wanted & {entity.hpo_id, *entity.alt_ids} for entity in found):
            raise Refused("none of the phenotypes asked for is among the entities")
        told = [e for e in found if e.hpo_id and e.assertion is not Assertion.ABSENT]
        copied = [entity.name_colloquial for entity in told if self._is_copied(entity)]
        if len(copied) > max(1, MOST_COPIED * len(told)):
            raise Refused(
                f"{len(copied)} of {len(told)} quotes are names or synonyms of the ontology",
                f"these are medical or listed names, tell them in other words: {', '.join(copied)}",
            )

    def _is_copied(self, entity: GoldEntity) -> bool:
        """Whether a quote holds the label or an exact synonym of its term."""
        term = self._index.term(entity.hpo_id or "")
        quoted = f" {' '.join(ordered_stems(entity.name_colloquial))} "
        names = [term.label, *(s.text for s in term.synonyms if s.scope == "EXACT")]
        return any(f" {' '.join(ordered_stems(name))} " in quoted for name in names)

    def _entities(self, answered: Sequence[AnsweredEntity], text: str, profile: Profile) -> list[GoldEntity]:
        if len(answered) > _MOST_ENTITIES:
            raise Refused(f"more than {_MOST_ENTITIES} entities")
        found: dict[tuple[int, int, str, str | None], GoldEntity] = {}
        for number, entity in enumerate(answered, 1):
            made = self._entity(entity, number, text, profile, [(e.start, e.end) for e in found.values()])
            place = (made.start, made.end, made.type, made.hpo_id)
            if found.setdefault(place, made).assertion is not made.assertion:
                raise Refused(
                    f"entity {number} contradicts an earlier one",
                    f"{made.name_colloquial!r} has two assertions",
                )
        return sorted(found.values(), key=lambda e: (e.start, e.end))

    def _entity(
        self, entity: AnsweredEntity, number: int, text: str, profile: Profile, taken: list[tuple[int, int]]
    ) -> GoldEntity:
        place = align(entity.quote, text, taken)
        if place is None:
            raise Refused(
                f"the quote of entity {number} is not in the text",
                f"this quote is not copied letter by letter from the diary: {entity.quote[:200]!r}",
            )
        hpo_id, alternatives = self._term(entity, number, profile)
        return GoldEntity(
            type=entity.type,
            name_colloquial=text[slice(*place)],
            start=place[0],
            end=place[1],
            hpo_id=hpo_id,
            hpo_label=self._index.label(hpo_id) if hpo_id else None,
            alt_ids=alternatives,
            assertion=entity.assertion,
        )

    def _term(self, entity: AnsweredEntity, number: int, profile: Profile) -> tuple[str | None, tuple[str, ...]]:
        """The term that the name of an entity means, and those that share the name."""
        name = (entity.name or "").strip()
        if entity.type not in WITH_TERMS or not (name or entity.type is EntityType.SYMPTOM):
            return None, ()
        for phenotype in profile.phenotypes:
            if key(name) == key(phenotype.label):
                return phenotype.hpo_id, ()
        found = self._resolver.resolve(name[:_LONGEST_NAME])
        if found.hpo_id in {None, PHENOTYPIC_ABNORMALITY}:
            if entity.type is EntityType.LAB_MARKER:
                return None, ()  # a test's own name, not an abnormality's
            raise Refused(f"the name of entity {number} is no HPO term", self._unknown(name))
        return found.hpo_id, _ties(found)

    def _unknown(self, name: str) -> str:
        name = name[:_LONGEST_NAME]
        near = "; ".join(candidate.label for candidate in self._resolver.search(name, 3))
        return f"no phenotype is named {name!r}" + (f"; is one of these meant: {near}?" if near else "")


def _ties(found: Resolution) -> tuple[str, ...]:
    """The terms that a name means equally well: the resolver divides the first one's score by their number."""
    best = max((candidate.score for candidate in found.candidates), default=0.0)
    return tuple(c.hpo_id for c in found.candidates if c.score == best > found.score)
