"""What a model wrote -> the entities that it proposes: read strictly, else with good will and warnings.

Good will passes over thoughts, prose and code fences, takes usual other words for keys, types and assertions, and
keeps the complete entities of an answer that was cut. It never guesses: an unknown type or assertion costs the
entity, and an answer of which nothing can be read is an error, not an empty result.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clario.entities import Assertion, EntityType
from clario.errors import ModelError
from clario.extraction.prompt import END, END_WITH_SYSTEM, MOST_ENTITIES

LONGEST: Final = 100_000
"""Code points of an answer that are looked at; the longest of the corpus has about 3,000."""

TYPES: Final[Mapping[str, EntityType]] = {
    **{t.value: t for t in EntityType},
    "sign": EntityType.SYMPTOM, "finding": EntityType.SYMPTOM, "medication": EntityType.MED,
    "medicine": EntityType.MED, "drug": EntityType.MED, "treatment": EntityType.MED, "lab": EntityType.LAB_MARKER,
    "lab_value": EntityType.LAB_MARKER, "lab_test": EntityType.LAB_MARKER, "behaviour": EntityType.BEHAVIOR,
}  # fmt: skip
"""Types by their usual names."""
ASSERTIONS: Final[Mapping[str, Assertion]] = {
    **{a.value: a for a in Assertion},
    "current": Assertion.PRESENT, "negated": Assertion.ABSENT, "denied": Assertion.ABSENT,
    "negative": Assertion.ABSENT, "historical": Assertion.PAST, "resolved": Assertion.PAST,
    "family": Assertion.OTHER, "family_history": Assertion.OTHER, "possible": Assertion.HYPOTHETICAL,
    "suspected": Assertion.HYPOTHETICAL,
}  # fmt: skip
"""Assertions by their usual names."""
QUOTE_KEYS: Final = ("name_colloquial", "quote", "text", "mention", "name", "value")
NAME_KEYS: Final = ("name_canonical", "canonical", "term", "name")
FENCE: Final = re.compile(r"^\s*```\w*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)

_TURN_ENDS: Final = re.compile("|".join(map(re.escape, (END, END_WITH_SYSTEM))))
_BRACKET: Final = re.compile(r"[\[{]")
_TRIES: Final = 2_000  # brackets from which a JSON value is tried
_STRING_OR_COMMA: Final = re.compile(r'("(?:[^"\\]|\\.)*+")|,(?=\s*+[\]}])', re.DOTALL)
_UNFIT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_LONGEST_NAME: Final = 300
_ADVICE: Final = "try again, or a model that can write JSON"

Text = Annotated[str, Field(min_length=1)]
Known = TypeVar("Known")


class _Requested(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RequestedEntity(_Requested):
    """One entity as the prompt asks for it."""

    name_colloquial: Text
    name_canonical: Text
    type: EntityType
    assertion: Assertion


class RequestedOutput(_Requested):
    """The schema that the prompt asks for: {"entities": [{four keys}]}."""

    entities: tuple[RequestedEntity, ...]


class Proposed(NamedTuple):
    """An entity that a model proposes. `assertion` is None where it told none: the context decides then."""

    name_colloquial: str
    name_canonical: str
    type: EntityType
    assertion: Assertion | None


class Answer(NamedTuple):
    """What was read, what was amiss (without a word of the text), and whether the answer was whole."""

    entities: list[Proposed]
    warnings: list[str]
    whole: bool


def strictly(raw: str) -> RequestedOutput | None:
    """The output if it is the requested JSON and nothing else, else None."""
    try:
        return RequestedOutput.model_validate_json(raw)
    except ValidationError:
        return None


def parse(raw: str) -> Answer:
    """The entities of a model's output, at most `MOST_ENTITIES`.

    Raises:
        ModelError: nothing in it can be read as the answer that was asked for.
    """
    told = _TURN_ENDS.split(raw.rpartition("</think>")[2], 1)[0].strip()
    exact = strictly(told)
    if exact is not None:
        found = [Proposed(e.name_colloquial, _name(e.name_canonical, e.name_colloquial), e.type, e.assertion)
                 for e in exact.entities]  # fmt: skip
        return _limited(Answer(found, [], True))
    return _limited(_with_good_will(told[:LONGEST]))


def _limited(answer: Answer) -> Answer:
    if len(answer.entities) <= MOST_ENTITIES:
        return answer
    warning = f"the model named {len(answer.entities)} entities; only the first {MOST_ENTITIES} are kept"
    return Answer(answer.entities[:MOST_ENTITIES], [*answer.warnings, warning], False)


def _with_good_will(told: str) -> Answer:
    items, whole = _items(told)
    warnings = ["the model's answer was not quite the JSON asked for"]
    if not whole:
        warnings = [f"the model's answer is cut off or broken; {len(items)} whole entities in it are kept"]
    read = [_entity(item, number, warnings) for number, item in enumerate(items, 1)]
    entities = [entity for entity in read if entity]
    if items and not entities:
        raise ModelError(f"none of the {len(items)} entities in the model's answer can be read; {_ADVICE}")
    return Answer(entities, warnings, whole)


def _items(told: str) -> tuple[list[Any], bool]:
    """The items of the first answer in a text, and whether it was whole."""
    fenced = FENCE.match(told)
    told = _STRING_OR_COMMA.sub(lambda match: match[1] or "", fenced[1] if fenced else told)
    if told.strip() == "[]":
        return [], True
    loose = []
    for value in _values(told):
        members = _members(value)
        if members is not None:
            return members, True
        if isinstance(value, dict) and first_text(value, QUOTE_KEYS):
            loose.append(value)
    if not loose:
        raise ModelError(f"the model's answer is not the JSON that was asked for; {_ADVICE}")
    return loose, False


def _members(value: Any) -> list[Any] | None:
    """The entities of a whole answer: {"entities": [...]}, in any case of the key, or a list of objects."""
    if isinstance(value, list):
        return value if value and all(isinstance(item, dict) for item in value) else None
    found = next((members for key, members in value.items() if key.lower() == "entities"), None)
    return [found] if isinstance(found, dict) else found if isinstance(found, list) else None


def _values(told: str) -> Iterator[Any]:
    """The JSON objects and lists in a text, outermost ones; what is broken is entered."""
    decoder, place = json.JSONDecoder(strict=False), 0
    for _ in range(_TRIES):
        bracket = _BRACKET.search(told, place)
        if not bracket:
            return
        try:
            value, place = decoder.raw_decode(told, bracket.start())
            yield value
        except (ValueError, RecursionError):
            place = bracket.end()


def _entity(item: Any, number: int, warnings: list[str]) -> Proposed | None:
    """An item read with good will; None, and a warning, where that is not enough."""
    fields = {key.lower(): value for key, value in item.items()} if isinstance(item, dict) else {}
    quote = first_text(fields, QUOTE_KEYS)
    kind, (told, assertion) = known(TYPES, fields.get("type")), told_assertion(fields)
    missing = "quote" if not quote else "type" if kind is None else "assertion" if told and not assertion else None
    if missing or quote is None or kind is None:
        warnings.append(f"entity {number} was left out: its {missing} is missing or unknown")
        return None
    if not told:
        warnings.append(f"entity {number} came without an assertion; the context decided")
    return Proposed(quote, _name(first_text(fields, NAME_KEYS), quote), kind, assertion)


def _name(name: str | None, quote: str) -> str:
    name = " ".join(_UNFIT.sub("", name or "").split())
    return name if name and len(name) <= _LONGEST_NAME else quote


def first_text(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of some keys that holds a text or a number, as text."""
    values = (fields.get(name) for name in names)
    texts = (str(v).strip() for v in values if isinstance(v, str | int | float) and not isinstance(v, bool))
    return next(filter(None, texts), None)


def told_assertion(fields: Mapping[str, Any]) -> tuple[bool, Assertion | None]:
    """Whether an item tells an assertion at all, and which; None where it is none of ours."""
    if fields.get("negated") is True:
        return True, Assertion.ABSENT
    told = fields.get("assertion")
    return told is not None, known(ASSERTIONS, told)


def known(names: Mapping[str, Known], value: Any) -> Known | None:
    """What a value means, in any case and with spaces for underscores."""
    return names.get("_".join(value.lower().replace("-", " ").split())) if isinstance(value, str) else None
