"""Exports of a whole corpus file, gold and as a model reads it, read back by the standards' own libraries.

    python benchmarks/exports.py [--corpus data/corpus/test.jsonl] [--model mini]

Each Phenopacket goes through protobuf, binary and JSON, and each Bundle through fhir.resources; both must come
back equal, without a missing part that the standard requires. It prints how many did, as JSON, and ends with 1 if
any did not.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clario.entities import Entity, Extraction, Failure, Match, MatchMethod
from clario.export import fhir, phenopacket
from clario.export.records import Record, Tally
from clario.ontology import release
from clario.pipeline import Clario, Diary

ROOT = Path(__file__).parent.parent
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def gold(diaries: Iterable[dict[str, Any]], hpo_release: str) -> Iterator[Record]:
    """The annotations of diaries as Extractions that are sure of everything."""
    for diary in diaries:
        entities = tuple(_entity(annotation) for annotation in diary["entities"])
        yield Record(
            Extraction(
                id=diary["id"], entities=entities, model="gold", hpo_release=hpo_release, ts_event_hint=None
            )
        )


def _entity(annotation: dict[str, Any]) -> Entity:
    known = {key: value for key, value in annotation.items() if key != "alt_ids"}
    name = annotation["hpo_label"] or annotation["name_colloquial"]
    method = MatchMethod.EXACT if annotation["hpo_id"] else MatchMethod.NONE
    match = Match(
        method=method, name=annotation["hpo_label"], score=1.0 if annotation["hpo_id"] else 0.0, candidates=()
    )
    return Entity.model_validate({**known, "name_canonical": name, "confidence": 1.0, "match": match})


def predicted(diaries: Iterable[dict[str, Any]], model: str) -> Iterator[Record]:
    """What a model reads in diaries."""
    for result in Clario(model).extract_many(Diary(diary["id"], diary["text"]) for diary in diaries):
        if isinstance(result, Failure):
            raise SystemExit(result.error)
        yield Record(result)


def packet_survives(record: Record, quotes: bool, tally: Tally) -> bool:
    """Whether a Phenopacket comes back equal from protobuf and from JSON, and has what the schema requires."""
    from google.protobuf.json_format import Parse
    from phenopackets import Phenopacket

    made = phenopacket.packet([record], created=CREATED, quotes=quotes, tally=tally)
    binary = Phenopacket.FromString(made.SerializeToString())
    text = Parse(phenopacket.as_json(made), Phenopacket())
    return bool(binary == made == text) and not missing(made)


def missing(packet: Any) -> list[str]:
    """What the schema's documentation requires and protobuf, which requires nothing, lets pass."""
    data = packet.meta_data
    required = {
        "id": packet.id,
        "created": data.HasField("created"),
        "created_by": data.created_by,
        "schema version": data.phenopacket_schema_version,
    }
    prefixes = {resource.namespace_prefix for resource in data.resources if resource.version and resource.url}
    for feature in packet.phenotypic_features:
        required[f"type of {feature.type.id}"] = feature.type.id and feature.type.label
        codes = [feature.type, *(evidence.evidence_code for evidence in feature.evidence)]
        required |= {f"resource of {code.id}": code.id.split(":")[0] in prefixes for code in codes}
    return [name for name, there in required.items() if not there]


def bundle_survives(record: Record, quotes: bool, tally: Tally) -> bool:
    """Whether a Bundle comes back equal from JSON through the models of fhir.resources."""
    from fhir.resources.R4B.bundle import Bundle

    text = fhir.as_json(fhir.bundle([record], created=CREATED, quotes=quotes, tally=tally))
    return bool(fhir.as_json(Bundle.model_validate_json(text)) == text)


def check(records: list[Record]) -> dict[str, Any]:
    """How many exports of each kind survive, with and without quotes, and what they hold."""
    kinds: dict[str, Callable[[Record, bool, Tally], bool]] = {
        "phenopacket": packet_survives,
        "fhir": bundle_survives,
    }
    report: dict[str, Any] = {}
    for kind, survives in kinds.items():
        for quotes in (False, True):
            tally = Tally()
            passed = sum(survives(record, quotes, tally) for record in records)
            report[f"{kind}, quotes" if quotes else kind] = {
                "documents": len(records),
                "valid": passed,
                "written": dict(tally.written),
                "left_out": {str(reason): count for reason, count in tally.left_out.items() if count},
            }
    return report


def contradictions(records: list[Record]) -> int:
    """How many packets exclude a term that is more general than one they observe."""
    index, found = release.load(), Counter[bool]()
    for record in records:
        features = phenopacket.packet([record], created=CREATED).phenotypic_features
        excluded = {feature.type.id for feature in features if feature.excluded}
        above = [index.ancestors(feature.type.id) for feature in features if not feature.excluded]
        found[bool(excluded.intersection(*[set().union(*above)]))] += 1
    return found[True]


def main(arguments: list[str] | None = None) -> int:
    """Check, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=ROOT / "data" / "corpus" / "test.jsonl")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--documents", type=int, help="only the first ones")
    options = parser.parse_args(arguments)
    lines = options.corpus.read_text("utf-8").splitlines()[: options.documents]
    diaries = [json.loads(line) for line in lines]
    systems = {
        "gold": list(gold(diaries, release.active().release)),
        options.model: list(predicted(diaries, options.model)),
    }
    report = {
        name: {**check(records), "packets that exclude an ancestor of what they observe": contradictions(records)}
        for name, records in systems.items()
    }
    print(json.dumps(report, indent=1))
    counts = [found for kinds in report.values() for found in kinds.values() if isinstance(found, dict)]
    return int(any(found["valid"] != found["documents"] for found in counts))


if __name__ == "__main__":
    sys.exit(main())
