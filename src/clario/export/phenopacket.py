"""GA4GH Phenopackets, version 2: https://phenopacket-schema.readthedocs.io/en/latest/ (ISO 4454:2022)."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from clario.entities import Assertion, Entity
from clario.export.records import NOTE, LeftOut, Record, Tally, made_by, release, why_not

if TYPE_CHECKING:
    from phenopackets import Phenopacket

SCHEMA_VERSION = "2.0"
# Named in the schema's own documentation for what patients tell.
EVIDENCE = {"id": "ECO:0006154", "label": "self-reported patient statement evidence"}
UNKNOWN_START = "0001-01-01T00:00:00Z"
"""The least time that a protobuf Timestamp can hold: an interval from here says "not after its end"."""

_Told = tuple[Entity, Record]


def packet(
    records: Sequence[Record], *, created: datetime, quotes: bool = False, tally: Tally | None = None
) -> "Phenopacket":
    """One Phenopacket of one diary, or of all the diaries of one patient.

    Each HPO term is one feature, with every mention of it as evidence. One that is present anywhere is observed;
    one only told as over has a `resolution`; one only denied is `excluded`. A denial of what is told elsewhere is
    left out. So is what is somebody else's or hypothetical, which never becomes a feature of the patient; what has
    no HPO term; and medicines, triggers and behaviours, for which Clario has no codes, as the standard wants them.
    `tally` counts them all by their reasons.

    Args:
        records: at least one, all of one patient.
        created: when the packet is made.
        quotes: whether the evidence holds the patient's words.

    Raises:
        InputError: the records are of several HPO releases.
    """
    from google.protobuf.json_format import ParseDict
    from phenopackets import Phenopacket

    tally = Tally() if tally is None else tally
    content = {
        "id": records[0].subject,
        "subject": _subject(records),
        "phenotypicFeatures": _features(records, created, quotes, tally),
        "metaData": _metadata(records, created),
    }
    made: Phenopacket = ParseDict(content, Phenopacket())
    return made


def as_json(packet: "Phenopacket", indent: int | None = None) -> str:
    """A Phenopacket in the JSON of protobuf, which is its exchange format."""
    from google.protobuf.json_format import MessageToJson

    text: str = MessageToJson(packet, indent=indent, ensure_ascii=False)
    return text


def _subject(records: Sequence[Record]) -> dict[str, Any]:
    subject: dict[str, Any] = {"id": records[0].subject}
    if days := [record.about.recorded for record in records if record.about.recorded]:
        subject["timeAtLastEncounter"] = {"timestamp": f"{max(days).isoformat()}T00:00:00Z"}
    return subject


def _features(records: Sequence[Record], created: datetime, quotes: bool, tally: Tally) -> list[dict[str, Any]]:
    terms: dict[str, list[_Told]] = {}
    for record in records:
        for entity in record.extraction.entities:
            reason = why_not(entity)
            if reason:
                tally.left_out[reason] += 1
            else:
                terms.setdefault(str(entity.hpo_id), []).append((entity, record))
    return [_feature(told, created, quotes, tally) for told in terms.values()]


def _feature(told: list[_Told], created: datetime, quotes: bool, tally: Tally) -> dict[str, Any]:
    observed = [(e, r) for e, r in told if e.assertion is not Assertion.ABSENT]
    evidence = observed or told
    tally.left_out[LeftOut.DENIED] += len(told) - len(evidence)
    first = evidence[0][0]
    feature: dict[str, Any] = {
        "type": {"id": first.hpo_id, "label": first.hpo_label or ""},
        **_course(observed, created),
        "evidence": [_evidence(entity, record, quotes) for entity, record in evidence],
    }
    if not observed:
        feature["excluded"] = True
    tally.written["observed features" if observed else "excluded features"] += 1
    return feature


def _course(observed: list[_Told], created: datetime) -> dict[str, Any]:
    """That it had begun, or was over, by the day the first diary that says so was written; no more is known.

    The day that a diary tells of is not taken: it may be that of another event than this one.
    """
    written = [record.about.recorded for _, record in observed if record.about.recorded]
    if any(entity.assertion is Assertion.PRESENT for entity, _ in observed):
        return {"onset": _until(min(written))} if written else {}
    return {"resolution": _until(min(written, default=created.date()))} if observed else {}


def _until(day: date) -> dict[str, Any]:
    return {"interval": {"start": UNKNOWN_START, "end": f"{day.isoformat()}T23:59:59Z"}}


def _evidence(entity: Entity, record: Record, quotes: bool) -> dict[str, Any]:
    told = f"{entity.assertion}, confidence {entity.confidence:.2f}"
    if record.event_day:
        told += f", diary tells of {record.event_day}"
    if quotes:
        told += f': "{entity.name_colloquial}"'
    return {"evidenceCode": EVIDENCE, "reference": {"id": record.extraction.id, "description": told}}


def _metadata(records: Sequence[Record], created: datetime) -> dict[str, Any]:
    by, at = made_by(records[0]), created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "created": at,
        "createdBy": by,
        "phenopacketSchemaVersion": SCHEMA_VERSION,
        "resources": [
            _resource("hp", "human phenotype ontology", release(records)),
            # One code, taken from the schema's documentation; no release was looked up.
            _resource("eco", "Evidence and Conclusion Ontology", "not pinned"),
        ],
        "updates": [{"timestamp": at, "updatedBy": by, "comment": NOTE}],
    }


def _resource(id: str, name: str, version: str) -> dict[str, str]:
    base = "http://purl.obolibrary.org/obo"
    return {
        "id": id,
        "name": name,
        "url": f"{base}/{id}.owl",
        "version": version,
        "namespacePrefix": id.upper(),
        "iriPrefix": f"{base}/{id.upper()}_",
    }
