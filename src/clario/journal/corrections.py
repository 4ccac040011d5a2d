"""What people decided, and how it stands when the text is extracted anew. Pure functions, no database.

A decision keeps the whole entity, not a pointer into an extraction. So what was accepted or changed stays even if
a later model does not find it, and a later proposal for the same words does not stand beside it a second time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from clario.entities import Entity, EntityType, Match, MatchMethod
from clario.errors import InputError
from clario.journal.records import (
    Accept,
    Add,
    ChangeAssertion,
    ChangeSpan,
    ChangeTerm,
    ChangeType,
    Item,
    OfItem,
    Reject,
    Status,
    Step,
)
from clario.ontology.index import Index

UNDO, REDO = "undo", "redo"
_WITH_TERMS = frozenset({EntityType.SYMPTOM, EntityType.LAB_MARKER})
_SAME = 0.5  # of the shorter span that two entities share if they are about the same words


@dataclass(slots=True)
class Decisions:
    """Where a history has led: the items that people touched, and what can be taken back or done again."""

    items: dict[str, Item] = field(default_factory=dict)
    version: int = 0
    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)

    def take(self, step: Step) -> None:
        """One more step. An undo takes the last change back; a new change ends what could be done again."""
        self.version = step.version
        if step.action == UNDO:
            self.undone.append(self.done.pop())
        else:
            self.done.append(step)
            self.undone = self.undone[:-1] if step.action == REDO else []
        if step.after is None:
            self.items.pop(step.item, None)
        else:
            self.items[step.item] = step.after


def decisions(history: Iterable[Step]) -> Decisions:
    """Where a history has led, step by step from its beginning."""
    state = Decisions()
    for step in history:
        state.take(step)
    return state


def view(decided: Mapping[str, Item], proposals: Mapping[str, Entity]) -> tuple[Item, ...]:
    """What people decided, and beside it the proposals that no decision is about; in the order of the text.

    Args:
        proposals: the entities of the last extraction by their keys.
    """
    settled = _settled(list(decided.values()), proposals)
    items = [
        Item(key=key, status=Status.PROPOSED, entity=entity, alt_ids=())
        for key, entity in proposals.items()
        if key not in settled
    ]
    return tuple(sorted([*decided.values(), *items], key=lambda item: (item.entity.start, item.entity.end)))


def _settled(decided: Sequence[Item], proposals: Mapping[str, Entity]) -> set[str]:
    """The keys of the proposals that a decision is about: one each, the nearest first."""
    nearness = [
        (near, n, key)
        for n, item in enumerate(decided)
        for key, entity in proposals.items()
        if (near := _nearness(item, entity)) > 0
    ]
    taken, settled = set[int](), set[str]()
    for _, n, key in sorted(nearness, key=lambda row: (-row[0], row[1])):
        if n not in taken and key not in settled:
            taken.add(n)
            settled.add(key)
    return settled


def _nearness(item: Item, entity: Entity) -> float:
    """How surely a proposal is what an item is about: 0 is not at all."""
    if item.proposed is None:
        # A second term for the same words is something else than the first.
        same = entity.hpo_id == item.entity.hpo_id
        return _shared(item.entity, entity) if same else 0.0
    shared = max(_shared(item.proposed, entity), _shared(item.entity, entity))
    return shared and shared + (item.proposed.hpo_id == entity.hpo_id) + (item.proposed == entity)


def _shared(one: Entity, other: Entity) -> float:
    """The share of the shorter span that two entities of a type have in common; 0 if that is too little."""
    if one.type is not other.type:
        return 0.0
    common = min(one.end, other.end) - max(one.start, other.start)
    share = common / min(one.end - one.start, other.end - other.start)
    return share if share >= _SAME else 0.0


def added(change: Add, key: str, text: str, index: Index) -> Item:
    """The item of something that was missed.

    Raises:
        InputError: no such stretch of the text, or a term where none belongs.
        UnknownTermError: no such term.
    """
    _check_span(change.start, change.end, text)
    quote = text[change.start : change.end]
    plain = Entity(
        type=change.type, name_colloquial=quote, start=change.start, end=change.end,
        name_canonical=change.name_canonical or quote, hpo_id=None, hpo_label=None,
        assertion=change.assertion, confidence=1.0, match=_match(None),
    )  # fmt: skip
    entity = _with_term(plain, change.hpo_id, index)
    return Item(key=key, status=Status.ADDED, entity=entity, alt_ids=_live(change.alt_ids, index))


def changed(change: OfItem, item: Item, text: str, index: Index) -> Item:
    """An item after a change. What a person decided is sure: its confidence becomes 1.

    Raises:
        InputError: no such stretch of the text, or a term where none belongs.
        UnknownTermError: no such term.
    """
    proposed = item.entity if item.status is Status.PROPOSED else item.proposed
    status, entity, alt_ids = _decided(change, item), item.entity, item.alt_ids
    match change:
        case ChangeTerm():
            entity, alt_ids = _with_term(entity, change.hpo_id, index), _live(change.alt_ids, index)
        case ChangeAssertion():
            entity = entity.model_copy(update={"assertion": change.assertion})
        case ChangeType():
            entity = _with_type(entity, change.type)
        case ChangeSpan():
            _check_span(change.start, change.end, text)
            span = {"start": change.start, "end": change.end, "name_colloquial": text[change.start : change.end]}
            entity = entity.model_copy(update=span)
        case Accept() | Reject():
            pass
    if status is not Status.REJECTED:
        entity = entity.model_copy(update={"confidence": 1.0})
    return Item(key=item.key, status=status, entity=entity, proposed=proposed, alt_ids=alt_ids)


def _decided(change: OfItem, item: Item) -> Status:
    if isinstance(change, Reject):
        return Status.REJECTED
    if item.status is Status.ADDED or (item.proposed is None and item.status is Status.REJECTED):
        return Status.ADDED
    return Status.ACCEPTED if isinstance(change, Accept) and item.status is not Status.CHANGED else Status.CHANGED


def _check_span(start: int, end: int, text: str) -> None:
    if not 0 <= start < end <= len(text) or not text[start:end].strip():
        raise InputError(f"no words stand at {start} to {end} of a text of {len(text)} characters")


def _with_term(entity: Entity, hpo_id: str | None, index: Index) -> Entity:
    if hpo_id is None:
        none = {"hpo_id": None, "hpo_label": None, "match": _match(None)}
        name = entity.name_colloquial if entity.hpo_id else entity.name_canonical
        return entity.model_copy(update={**none, "name_canonical": name})
    if entity.type not in _WITH_TERMS:
        raise InputError(f"{entity.type.value} has no HPO term; make it a symptom or a lab_marker first")
    live = index.live(hpo_id)
    label = index.label(live)
    named = {"hpo_id": live, "hpo_label": label, "name_canonical": label, "match": _match(label)}
    return entity.model_copy(update=named)


def _with_type(entity: Entity, type: EntityType) -> Entity:
    retyped = entity.model_copy(update={"type": type})
    return retyped if type in _WITH_TERMS or not entity.hpo_id else retyped.model_copy(
        update={"hpo_id": None, "hpo_label": None, "match": _match(None), "name_canonical": entity.name_colloquial}
    )  # fmt: skip


def _live(alt_ids: Iterable[str], index: Index) -> tuple[str, ...]:
    return tuple(index.live(hpo_id) for hpo_id in alt_ids)


def _match(label: str | None) -> Match:
    """A person chose the term by its label."""
    if label is None:
        return Match(method=MatchMethod.NONE, name=None, score=0, candidates=())
    return Match(method=MatchMethod.EXACT, name=label, score=1, candidates=())
