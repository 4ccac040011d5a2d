"""What fenominal finds in diaries, as predictions for `clario evaluate --predictions`.

Made with the same release of HPO, in a virtual environment of its own. Hits that fenominal takes for
excluded are written with the assertion absent.
"""

import json
from pathlib import Path
from typing import Any

import common
import gsc_plus
from clario.corpus.dataset import GoldDiary, load
from clario.paths import write_atomically


def predictions(diaries: list[GoldDiary], hits: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One record of `clario evaluate` a diary."""
    return [
        {"id": d.id, "model": "fenominal", "entities": [_entity(hit, d.text) for hit in found]}
        for d, found in zip(diaries, hits, strict=True)
    ]


def _entity(hit: dict[str, Any], text: str) -> dict[str, Any]:
    # fenominal counts bytes of UTF-8, Clario code points.
    span = hit["span"]
    start, end = (len(text.encode()[: span[side]].decode("utf-8", "ignore")) for side in ("start", "end"))
    return {
        "type": "symptom",
        "name_colloquial": text[start:end],
        "name_canonical": hit["label"],
        "start": start,
        "end": end,
        "hpo_id": hit["termId"],
        "assertion": "absent" if hit["excluded"] else "present",
    }


def main() -> None:
    """Write the predictions of one file of diaries."""
    options = common.parser(__doc__)
    options.add_argument("diaries", type=Path, help="diaries, JSON Lines")
    options.add_argument("--output", type=Path, required=True, help="predictions, JSON Lines")
    given = options.parse_args()
    diaries = load(given.diaries)
    with common.environments(given.environments) as peers, gsc_plus.fenominal_ontology() as ontology:
        task = {"ontology": str(ontology), "texts": [diary.text for diary in diaries]}
        hits = common.fresh("fenominal", task, peers.python("fenominal"))
    with write_atomically(given.output) as file:
        file.writelines(json.dumps(record).encode() + b"\n" for record in predictions(diaries, hits))


if __name__ == "__main__":
    common.run(main)
