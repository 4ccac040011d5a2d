"""What a journal holds and gives: entries, jobs, changes, and the view of an entry that people have corrected."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from clario.entities import Assertion, Entity, EntityType, Extraction, HpoId
from clario.errors import InputError

ME = "me"
"""The annotator where none is named."""


class UnknownEntryError(InputError, LookupError):
    """The journal has no entry of that id."""


class ConflictError(InputError):
    """Somebody else, or another window, changed it in between. Nothing was written: read it anew, and decide."""


class State(StrEnum):
    """Where an entry stands in the queue."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One diary; `recorded` is the day it was written, `created` when it came into the journal."""

    id: str
    text: str
    recorded: dt.date | None
    created: dt.datetime
    state: State
    entities: int
    """How many the last extraction found; corrections do not count."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """An entry that is to be read, leased to one worker: only who knows the token may say how it went."""

    entry: str
    text: str
    recorded: dt.date | None
    tries: int
    """This one included."""
    token: str


class Status(StrEnum):
    """What people said of an entity."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    CHANGED = "changed"
    ADDED = "added"
    REJECTED = "rejected"


class _Record(BaseModel):
    # It may hold a patient's words; an error must not show them.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Item(_Record):
    """One entity of the effective view.

    `proposed` is what the model had found when a person first touched it, None for one that was added.
    """

    key: str
    status: Status
    entity: Entity
    proposed: Entity | None = None
    alt_ids: tuple[HpoId, ...] = Field((), description="Terms that could equally have been chosen")


class View(_Record):
    """An entry as one annotator sees it: what the model proposes, with that annotator's corrections applied.

    `version` counts that annotator's changes of this entry; a change is made to the version that was seen.
    `model` is None before the first extraction; `hpo_release` is then the one in use.
    """

    id: str
    annotator: str
    version: int
    items: tuple[Item, ...]
    finished: bool
    can_undo: bool
    can_redo: bool
    model: str | None
    hpo_release: str
    ts_event_hint: str | None
    warnings: tuple[str, ...] = ()

    @property
    def entities(self) -> tuple[Entity, ...]:
        """What is left: all that was not rejected, in the order of the text."""
        return tuple(item.entity for item in self.items if item.status is not Status.REJECTED)

    def extraction(self) -> Extraction:
        """The view as a result, as `clario extract` writes them; `model` says who corrected it."""
        corrected = any(item.status is not Status.PROPOSED for item in self.items)
        parts = [self.model] if self.model else []
        parts += [f"corrected by {self.annotator}"] if corrected or not parts else []
        return Extraction(
            id=self.id, entities=self.entities, model=", ".join(parts), hpo_release=self.hpo_release,
            ts_event_hint=self.ts_event_hint, warnings=self.warnings,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an entry's history. `before` and `after` are None where the item was not decided about."""

    version: int
    annotator: str
    action: str
    item: str
    before: Item | None
    after: Item | None
    made: dt.datetime


class Accept(_Record):
    """It is right as it stands."""

    action: Literal["accept"] = "accept"
    item: str


class Reject(_Record):
    """It is no entity."""

    action: Literal["reject"] = "reject"
    item: str


class ChangeTerm(_Record):
    """It is another term; None: no term fits."""

    action: Literal["term"] = "term"
    item: str
    hpo_id: HpoId | None
    alt_ids: tuple[HpoId, ...] = ()


class ChangeAssertion(_Record):
    """It is there, past, absent, somebody else's or hypothetical."""

    action: Literal["assertion"] = "assertion"
    item: str
    assertion: Assertion


class ChangeType(_Record):
    """It is of another type; one without terms loses its term."""

    action: Literal["type"] = "type"
    item: str
    type: EntityType


class ChangeSpan(_Record):
    """Other words of the text express it; code points, `end` exclusive."""

    action: Literal["span"] = "span"
    item: str
    start: int
    end: int


class Add(_Record):
    """It was missed."""

    action: Literal["add"] = "add"
    type: EntityType
    start: int
    end: int
    hpo_id: HpoId | None = None
    name_canonical: str | None = None
    assertion: Assertion = Assertion.PRESENT
    alt_ids: tuple[HpoId, ...] = ()


OfItem = Accept | Reject | ChangeTerm | ChangeAssertion | ChangeType | ChangeSpan
Change = OfItem | Add
_CHANGE = TypeAdapter[Change](Annotated[Change, Field(discriminator="action")])


def change_of(given: Change | Mapping[str, Any]) -> Change:
    """A change out of a JSON object, such as {"action": "assertion", "item": "m7", "assertion": "absent"}.

    Raises:
        InputError: no such change; the message names the field.
    """
    if not isinstance(given, Mapping):
        return given
    try:
        return _CHANGE.validate_python(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "action"
    raise InputError(f"no such change: {place} is missing or has no such value")
