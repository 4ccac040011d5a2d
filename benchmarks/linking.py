"""What patients say -> HPO term, over all terms of the release, for an encoder that never saw what is asked.

Two settings, fixed by a seed (see `clario.training.data.hold_out`), over the project's lay lexicon:
    phrase    one phrase of each term, while the other phrases of the term were learnt and are in the vectors
    term      all phrases of 15 % of the terms, which have nothing but their names in HPO; the mentions of those
              terms in the training diaries were left out, too
Printed: top-1, top-5 and top-20, the share of phrases whose term is among the best; with 95 % intervals (Wilson).

Usage: python benchmarks/linking.py FOLDER [--json], FOLDER being written by `clario train mini --hold-out`.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clario.errors import ClarioError
from clario.ontology import dense
from clario.ontology import release as releases
from clario.ontology.encoder import Encoder
from clario.ontology.sources import read_lexicon
from clario.training.data import PHRASE, TERM, Phrase, hold_out

LEXICON = Path(__file__).resolve().parent.parent / "data" / "lexicon" / "lay_phrases.jsonl"
DEPTHS = (1, 5, 20)


def ranks(folder: Path, asked: Sequence[Phrase]) -> list[int]:
    """The place of the right term for each phrase, the best being 0; the deepest depth where it is beyond."""
    vectors, encoder = dense.load(folder / dense.FILE), Encoder(folder)
    found = []
    for first in range(0, len(asked), 256):
        some = asked[first : first + 256]
        nearest = vectors.nearest(dense.encoded(encoder, [p.phrase for p in some]), DEPTHS[-1])
        for phrase, near in zip(some, nearest, strict=True):
            ids = [one.hpo_id for one in near]
            found.append(ids.index(phrase.hpo_id) if phrase.hpo_id in ids else DEPTHS[-1])
    return found


def interval(right: int, all_: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    z, p = 1.96, right / all_
    middle, half = p + z * z / (2 * all_), z * math.sqrt(p * (1 - p) / all_ + z * z / (4 * all_ * all_))
    return (middle - half) / (1 + z * z / all_), (middle + half) / (1 + z * z / all_)


def measure(folder: Path, lexicon: Path = LEXICON) -> dict[str, dict[str, Any]]:
    """The figures of both settings."""
    if not Encoder(folder).manifest["training"].get("hold_out"):
        raise SystemExit(f"{folder} was trained on what is asked here; train with --hold-out")
    index = releases.load()
    phrases = hold_out(read_lexicon(lexicon).phrases, (name.text for name in index.names))
    figures = {}
    for part in (PHRASE, TERM):
        asked = [p for p in phrases if p.part == part]
        found = ranks(folder, asked)
        figures[part] = {"phrases": len(asked)} | {
            f"top-{depth}": (round(right / len(asked), 4), *(round(x, 4) for x in interval(right, len(asked))))
            for depth in DEPTHS
            if (right := sum(rank < depth for rank in found)) >= 0
        }
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    try:
        figures = measure(given.folder)
    except ClarioError as error:
        sys.exit(f"error: {error}")
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    for part, row in figures.items():
        print(part, *(f"{name} {value}" for name, value in row.items()), sep="  ")


if __name__ == "__main__":
    main()
