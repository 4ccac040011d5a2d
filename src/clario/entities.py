"""The public contract: what `clario extract` returns, as Pydantic models with a published JSON Schema.

`clario schema` prints the schema of `Extraction`; `tests/golden/extraction.schema.json` guards it.
The words are defined in docs/DESIGN.md and docs/ANNOTATION.md.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

HpoId = Annotated[str, Field(pattern=r"^HP:\d{7}$", examples=["HP:0000217"])]
Confidence = Annotated[float, Field(ge=0, le=1)]


class EntityType(StrEnum):
    """What kind of thing a mention is."""

    SYMPTOM = "symptom"
    LAB_MARKER = "lab_marker"
    MED = "med"
    TRIGGER = "trigger"
    BEHAVIOR = "behavior"


class Assertion(StrEnum):
    """Whether the patient has it: now, once, not, somebody else has it, or it is only feared or asked about."""

    PRESENT = "present"
    PAST = "past"
    ABSENT = "absent"
    OTHER = "other"
    HYPOTHETICAL = "hypothetical"


class MatchMethod(StrEnum):
    """The stage of the resolver that found the HPO term; `none` where nothing fits."""

    EXACT = "exact"
    NORMALIZED = "normalized"
    FUZZY = "fuzzy"
    DENSE = "dense"
    NONE = "none"


class _Record(BaseModel):
    # The input is somebody's diary; an error must not show it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Span(_Record):
    """A verbatim stretch of a text; `start` and `end` count code points, `end` exclusive."""

    type: EntityType
    name_colloquial: str = Field(min_length=1, description="Verbatim: text[start:end] == name_colloquial")
    start: int = Field(ge=0, description="First code point of the quote in the text")
    end: int = Field(gt=0, description="Code point after the last of the quote")

    @model_validator(mode="after")
    def _offsets_fit(self) -> Self:
        if self.end - self.start != len(self.name_colloquial):
            raise ValueError("end - start must be the length of name_colloquial")
        return self


class Mention(_Span):
    """What an extractor returns. `assertion` is None where the extractor does not tell: the context decides."""

    name_canonical: str = Field(min_length=1, description="The name that the extractor proposes")
    assertion: Assertion | None = None
    confidence: Confidence


class Match(_Record):
    """How the HPO term was found; it explains the id."""

    method: MatchMethod
    name: str | None = Field(description="The name in the ontology or the lay lexicon that matched")
    score: Confidence = Field(description="1 is a label, word for word; ties and weaker names score less")
    candidates: tuple[HpoId, ...] = Field((), description="Next best ids, best first; ties stand here")


class Entity(_Span):
    """A mention after resolution: with HPO id and label where one was found, and how it was found."""

    name_canonical: str
    hpo_id: HpoId | None
    hpo_label: str | None
    assertion: Assertion
    confidence: Confidence
    match: Match


class Extraction(_Record):
    """Everything found in one text, and what it was found with."""

    id: str = Field(description="The caller's identifier of the text, else its position")
    entities: tuple[Entity, ...]
    model: str = Field(description="Name and version or hash of the extractor")
    hpo_release: str = Field(description="Date of the HPO release that gave the ids", examples=["2026-02-16"])
    ts_event_hint: str | None = Field(None, description="ISO 8601 date that the text speaks of, if it tells")
    warnings: tuple[str, ...] = ()


class Failure(_Record):
    """A text that could not be read. It stands in the stream where its Extraction would have stood."""

    id: str
    error: str = Field(description="What went wrong and what to do; never patient text")
