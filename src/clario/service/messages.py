"""The requests and answers of the sidecar, as its OpenAPI describes them."""

from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from clario.entities import Assertion, HpoId
from clario.errors import InputError
from clario.extraction.dates import parse_recorded
from clario.pipeline import LONGEST

EXAMPLE = "Mouth so dry I can't swallow toast. No fever today."


def _day(value: object) -> date | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return parse_recorded(value)
        except InputError:
            pass
    raise ValueError("no ISO 8601 date")


Day = Annotated[
    date | None,
    BeforeValidator(_day),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "examples": ["2026-11-25"]}
    ),
]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Entry(BaseModel):
    """The reference's request."""

    model_config = ConfigDict(hide_input_in_errors=True)

    diary: str = Field(max_length=LONGEST, description="What the patient wrote")
    ts_recorded: str | None = Field(
        None,
        description="When it was written, in ISO 8601, for 'yesterday' and the like; else passed over",
        examples=["2026-11-25T20:15:00+00:00"],
    )


class Attributes(BaseModel):
    """What is known of an entity of the reference's contract. All but the first two are Clario's own."""

    name_colloquial: str = Field(description="The patient's words, verbatim")
    hpo_id: HpoId | None = Field(None, description="Left out where no term fits")
    hpo_label: str | None = Field(None, description="Left out where no term fits")
    type: str = Field(description="Clario's own type: the reference's 'activity' is our 'behavior'")
    assertion: Assertion = Field(
        description="Only 'present' and 'past' are the patient's; 'absent' is denied, 'other' somebody else's"
    )
    confidence: float
    start: int = Field(description="First code point of the words in the diary")
    end: int = Field(description="Code point after the last")
    match: str = Field(description="How the term was found; see the match of /v1/extract")
    match_score: float
    model: str
    hpo_release: str


class SidecarEntity(BaseModel):
    """An entity as the reference has it."""

    type: str = Field(description="Of the reference's vocabulary", examples=["symptom"])
    name: str = Field(description="The canonical name, lower-case", examples=["xerostomia"])
    attrs: Attributes


class Answer(BaseModel):
    """The reference's answer."""

    entities: list[SidecarEntity]
    ts_event_hint: str | None = Field(description="ISO 8601 date that the diary tells of")


class OneDiary(_Asked):
    """One diary."""

    text: str = Field(max_length=LONGEST)
    id: str | None = Field(None, max_length=200, description="Comes back with the result; else its position")
    recorded: Day = Field(None, description="The day it was written")


class ManyDiaries(_Asked):
    """Many diaries; their results come as a stream."""

    diaries: list[OneDiary] = Field(min_length=1)


class Found(BaseModel):
    """A term that a name may mean."""

    hpo_id: HpoId
    label: str
    name: str = Field(description="The name of the term that fits")
    score: float


class Resolved(BaseModel):
    """The term that a name means; nulls where none fits (method 'none')."""

    hpo_id: HpoId | None
    label: str | None
    method: str = Field(examples=["exact"])
    name: str | None
    score: float
    candidates: list[Found]
    hpo_release: str


class Neighbour(BaseModel):
    """A term beside another in the hierarchy."""

    hpo_id: HpoId
    label: str


class Term(BaseModel):
    """A live term of the release in use."""

    hpo_id: HpoId = Field(description="Another than asked for, where that one was replaced")
    label: str
    definition: str
    synonyms: list[str]
    parents: list[Neighbour]
    children: list[Neighbour]
    phenotypic: bool = Field(description="Whether it stands under Phenotypic abnormality, as every answer does")
    hpo_release: str


class Health(BaseModel):
    """That the service is there, and what it answers with. The first three fields are the reference's."""

    ready: bool
    adapter: str = Field(description="The model: name and version")
    hpo_index_loaded: bool
    hpo_release: str
    version: str


class Readiness(BaseModel):
    """That the model has read a text."""

    ready: bool


def _whole(text: str) -> str:
    if not text.strip():
        raise ValueError("blank")
    return text


Phrase = Annotated[str, AfterValidator(_whole)]

ENTRY_EXAMPLES: dict[str, Any] = {
    "diary": {"value": {"diary": EXAMPLE, "ts_recorded": "2026-11-25T20:15:00+00:00"}},
}
DIARY_EXAMPLES: dict[str, Any] = {
    "one": {"value": {"id": "monday", "text": EXAMPLE, "recorded": "2026-11-25"}},
    "many": {
        "value": {"diaries": [{"id": "monday", "text": EXAMPLE}, {"id": "tuesday", "text": "My knees ache."}]}
    },
}
