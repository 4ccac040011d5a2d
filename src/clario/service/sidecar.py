"""Clario's results in the reference's contract: `POST /extract`.

The contract stays as it is, so that its client needs no change; what Clario knows beyond it stands in `attrs`.
"""

from clario.entities import Assertion, Entity, EntityType, Extraction
from clario.service.messages import Answer, Attributes, SidecarEntity
from clario.service.problems import Problem

TYPES = {kind: str(kind) for kind in EntityType} | {EntityType.BEHAVIOR: "activity"}
"""The reference's client passes over types that it does not know, and `behavior` is one."""
OWN = frozenset({Assertion.PRESENT, Assertion.PAST})


def answer(extraction: Extraction, diary: str, *, own_only: bool = False) -> Answer:
    """A result as the reference has it.

    Args:
        extraction: what was found.
        diary: in what; an empty one has no entities, and rightly.
        own_only: leave out what the patient does not have; the reference's client does not read assertions.

    Raises:
        Problem: there were warnings and no entities: that is no success.
    """
    if extraction.warnings and not extraction.entities and diary.strip():
        raise Problem("unreadable_answer", "; ".join(extraction.warnings))
    kept = [one for one in extraction.entities if not own_only or one.assertion in OWN]
    return Answer(entities=[_entity(one, extraction) for one in kept], ts_event_hint=extraction.ts_event_hint)


def _entity(entity: Entity, of: Extraction) -> SidecarEntity:
    term = {"hpo_id": entity.hpo_id, "hpo_label": entity.hpo_label} if entity.hpo_id else {}
    attributes = Attributes(
        name_colloquial=entity.name_colloquial,
        **term,
        type=entity.type,
        assertion=entity.assertion,
        confidence=entity.confidence,
        start=entity.start,
        end=entity.end,
        match=entity.match.method,
        match_score=entity.match.score,
        model=of.model,
        hpo_release=of.hpo_release,
    )
    return SidecarEntity(type=TYPES[entity.type], name=entity.name_canonical.lower(), attrs=attributes)
