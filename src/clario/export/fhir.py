"""FHIR R4 Bundles of Observations: https://hl7.org/fhir/R4/observation.html

The HPO term is the Observation's `code` and LOINC's Present or Absent its value, as HL7's Phenomics Exchange guide
has it (https://build.fhir.org/ig/HL7/phenomics-exchange-ig/StructureDefinition-PhenotypicFeature.html).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from clario.entities import Assertion, Entity
from clario.export.records import NOTE, Record, Tally, made_by, why_not

if TYPE_CHECKING:
    from fhir.resources.R4B.bundle import Bundle

HPO = "http://human-phenotype-ontology.org"
LOINC = "http://loinc.org"
PRESENT = {"system": LOINC, "code": "LA9633-4", "display": "Present"}
ABSENT = {"system": LOINC, "code": "LA9634-2", "display": "Absent"}
_VALUES = {
    Assertion.PRESENT: {"coding": [PRESENT], "text": "present"},
    # Without a code for "was, and is over": the words and the period say it.
    Assertion.PAST: {"coding": [PRESENT], "text": "present in the past, told as over"},
    Assertion.ABSENT: {"coding": [ABSENT], "text": "denied"},
}


def bundle(
    records: Sequence[Record], *, created: datetime, quotes: bool = False, tally: Tally | None = None
) -> "Bundle":
    """A Bundle, of type collection, of one diary or of all the diaries of one patient: a Patient and Observations.

    Each mention is an Observation of status preliminary, with the day it is told of. What is somebody else's or
    hypothetical never becomes one; nor do medicines, triggers and behaviours, and what has no HPO term, except for
    symptoms where `quotes` lets their own words name them. `tally` counts what is left out by its reason.

    Args:
        records: at least one, all of one patient.
        created: when the bundle is made.
        quotes: whether the Observations' notes hold the patient's words.
    """
    from fhir.resources.R4B.bundle import Bundle

    tally = Tally() if tally is None else tally
    subject = records[0].subject
    patient = _urn("patient", subject)
    entries = [_entry(patient, {"resourceType": "Patient", "identifier": [{"value": subject}]})]
    for place, record in enumerate(records):
        for number, entity in enumerate(record.extraction.entities):
            if reason := why_not(entity, need_term=not quotes):
                tally.left_out[reason] += 1
                continue
            observation = _observation(entity, record, patient, created, quotes)
            key = _urn("observation", subject, str(place), record.extraction.id, str(number))
            entries.append(_entry(key, observation))
            tally.written[f"observations, {entity.assertion}"] += 1
    stamp = created.astimezone(UTC).isoformat(timespec="seconds")
    made: Bundle = Bundle.model_validate(
        {"resourceType": "Bundle", "type": "collection", "timestamp": stamp, "entry": entries}
    )
    return made


def as_json(bundle: "Bundle", indent: int | None = None) -> str:
    """A Bundle as FHIR's JSON."""
    text: str = bundle.model_dump_json(exclude_none=True, indent=indent)
    return text


def _urn(*parts: str) -> str:
    """The same name for the same thing in each export of it."""
    return uuid5(NAMESPACE_URL, "clario:" + ":".join(f"{len(part)}.{part}" for part in parts)).urn


def _entry(name: str, resource: dict[str, Any]) -> dict[str, Any]:
    return {"fullUrl": name, "resource": resource}


def _observation(entity: Entity, record: Record, patient: str, created: datetime, quotes: bool) -> dict[str, Any]:
    notes = [NOTE, *([f'Told as: "{entity.name_colloquial}"'] if quotes else [])]
    return {
        "resourceType": "Observation",
        "status": "preliminary",
        "identifier": [{"value": f"{record.extraction.id}#{entity.start}-{entity.end}"}],
        "code": _code(entity, record.extraction.hpo_release),
        "subject": {"reference": patient},
        **_effective(entity, record, created),
        "valueCodeableConcept": _VALUES[entity.assertion],
        "note": [{"text": text} for text in notes],
        "method": {"text": made_by(record)},
        "component": [_confidence(entity)],
    }


def _code(entity: Entity, release: str) -> dict[str, Any]:
    if entity.hpo_id is None:
        return {"text": entity.name_canonical}
    label = entity.hpo_label or entity.hpo_id
    coding = {"system": HPO, "version": release, "code": entity.hpo_id, "display": label}
    return {"coding": [coding], "text": label}


def _confidence(entity: Entity) -> dict[str, Any]:
    quantity = {"value": round(entity.confidence, 4), "system": "http://unitsofmeasure.org", "code": "1"}
    return {"code": {"text": "confidence of the program, 0 to 1"}, "valueQuantity": quantity}


def _effective(entity: Entity, record: Record, created: datetime) -> dict[str, Any]:
    """The day that the diary tells of, else that it was written; of what is over, the day by which it was."""
    recorded = record.about.recorded
    if entity.assertion is Assertion.PAST:
        return {"effectivePeriod": {"end": (recorded or created.date()).isoformat()}}
    told = record.event_day or (recorded.isoformat() if recorded else None)
    return {"effectiveDateTime": told} if told else {}
