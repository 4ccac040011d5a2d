"""What the review page sends. A fault of it is told without repeating what was sent."""

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Annotator = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Pasted(_Given):
    """A diary that is to be reviewed; `keep` makes it an entry of the journal."""

    text: Annotated[str, Field(min_length=1)]
    recorded: dt.date | None = None
    annotator: Annotator
    keep: bool = False


class Changed(_Given):
    """A change of the version that was seen: one of `clario.journal.records`, undo, redo, finish or reopen."""

    annotator: Annotator
    version: Annotated[int, Field(ge=0)]
    change: dict[str, Any]


class Who(_Given):
    """Whose review it is."""

    annotator: Annotator


class Exported(_Given):
    """What to export: a diary, or with None all of the journal that the annotator has finished."""

    document: str | None
    annotator: Annotator
    format: Literal["corpus", "csv", "phenopacket", "fhir"]
    undecided: bool = False
    quotes: bool = False


class Compared(_Given):
    """Whose reviews to compare: over one diary, or with None over the journal."""

    first: Annotator
    second: Annotator
    document: str | None = None


class Asked(_Given):
    """A name, words or an id to look for in HPO."""

    query: Annotated[str, Field(min_length=1, max_length=300)]
