"""The vanilla baseline: what an untuned chat model returns, read as it stands and read with good will.

As given, an output counts only if it is the requested JSON, nothing else. Normalised, prose and code fences
around the JSON are skipped and the usual shapes are mapped to the requested one. Both are reported, so that
neither the model's facts nor its manners are hidden.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from clario.entities import Assertion, EntityType
from clario.evaluation.metrics import Annotation
from clario.extraction.grounding import locate
from clario.extraction.parse import (
    FENCE,
    NAME_KEYS,
    QUOTE_KEYS,
    TYPES,
    RequestedEntity,
    RequestedOutput,
    first_text,
    known,
    strictly,
    told_assertion,
)
from clario.ontology.resolver import Resolver

# The ad-hoc shape's keys. `body_parts` is left out on purpose: a body part is no entity of ours.
_TYPE_OF_KEY = {
    "symptoms": EntityType.SYMPTOM, "triggers": EntityType.TRIGGER, "medications": EntityType.MED,
    "medicines": EntityType.MED, "meds": EntityType.MED, "lab_values": EntityType.LAB_MARKER,
    "lab_markers": EntityType.LAB_MARKER, "labs": EntityType.LAB_MARKER, "behaviors": EntityType.BEHAVIOR,
    "behaviours": EntityType.BEHAVIOR,
}  # fmt: skip
_ANSWER_KEYS = frozenset({"entities", "body_parts", *_TYPE_OF_KEY})


def as_given(raw: str) -> RequestedOutput | None:
    """The output if it is the requested JSON and nothing else, else None."""
    return strictly(raw)


def normalised(raw: str) -> RequestedOutput | None:
    """The output brought to the requested shape, or None where no whole JSON value is found in it.

    Mapped are a list of entities, {"entities": ...} with other names of its keys, and the ad-hoc
    {"symptoms", "triggers", "body_parts", "medications", "lab_values"} whose values are strings, objects
    with name and value, lists of these, or an object of name: value. What an item leaves out gets the ad-hoc
    shape's meaning: the type of its list, and present. Items without a name, or with a type or an assertion
    that is none of ours, are left out; cut JSON is not repaired.
    """
    value = _find(raw)
    if value is None:
        return None
    entities = (entity for key_type, item in _items(value) if (entity := _entity(item, key_type)))
    return RequestedOutput(entities=tuple(entities))


def annotations(output: RequestedOutput | None, text: str, resolver: Resolver) -> tuple[Annotation, ...]:
    """Requested entities as annotations: quotes found in the text, names resolved to HPO ids.

    A quote that is not in the text leaves the mention without a place. Only symptoms and laboratory markers
    get ids, by canonical name, then by quote.
    """
    taken = set[tuple[int, int]]()
    return tuple(_annotation(entity, text, resolver, taken) for entity in (output.entities if output else ()))


def _annotation(entity: RequestedEntity, text: str, resolver: Resolver, taken: set[tuple[int, int]]) -> Annotation:
    start, end = locate(entity.name_colloquial, text, taken) or (None, None)
    if start is not None and end is not None:
        taken.add((start, end))
    hpo_id = None
    if entity.type in (EntityType.SYMPTOM, EntityType.LAB_MARKER):
        hpo_id = resolver.resolve(entity.name_canonical, entity.name_colloquial).hpo_id
    return Annotation(
        entity.type,
        start,
        end,
        entity.assertion,
        hpo_id,
        frozenset(),
        entity.name_colloquial,
        entity.name_canonical,
    )


def _find(raw: str) -> Any:
    """The whole output as JSON, else the first object in it that has the shape of an answer, else None."""
    fenced = FENCE.match(raw)
    try:
        whole = json.loads(fenced[1] if fenced else raw)
    except (ValueError, RecursionError):
        return next(filter(_is_answer, _objects(raw)), None)
    return whole if isinstance(whole, list) or _is_answer(whole) else None


def _is_answer(value: Any) -> bool:
    return isinstance(value, dict) and any(name.lower() in _ANSWER_KEYS for name in value)


def _objects(raw: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    for brace in re.finditer("{", raw):
        try:
            yield decoder.raw_decode(raw, brace.start())[0]
        except (ValueError, RecursionError):
            continue


def _items(value: Any) -> Iterator[tuple[EntityType | None, Any]]:
    """Every item of the output with the type that its list gives it."""
    if isinstance(value, list):
        yield from ((None, item) for item in value)
    else:
        lowered = {name.lower(): members for name, members in value.items()}
        yield from ((None, item) for item in _members(lowered.get("entities")))
        for name, entity_type in _TYPE_OF_KEY.items():
            yield from ((entity_type, item) for item in _members(lowered.get(name)))


def _members(value: Any) -> list[Any]:
    match value:
        case None:
            return []
        case list():
            return value
        case dict() if not first_text(value, QUOTE_KEYS + NAME_KEYS):
            return list(value)  # {"ferritin": 9}: the names are the keys
        case _:
            return [value]


def _entity(item: Any, key_type: EntityType | None) -> RequestedEntity | None:
    fields: Mapping[str, Any] = item if isinstance(item, dict) else {"name": item}
    quote = first_text(fields, QUOTE_KEYS)
    entity_type = key_type or known(TYPES, fields.get("type"))
    told, assertion = told_assertion(fields)
    assertion = assertion if told else Assertion.PRESENT
    if not quote or entity_type is None or assertion is None:
        return None
    name = first_text(fields, NAME_KEYS) or quote
    return RequestedEntity(name_colloquial=quote, name_canonical=name, type=entity_type, assertion=assertion)
