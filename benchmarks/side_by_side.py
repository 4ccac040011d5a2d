"""Systems side by side on the corpus, from what they told of its diaries: a Markdown table of each part.

The folder holds PART.NUMBER-SYSTEM.jsonl.gz, one Extraction a line, as `clario extract --format jsonl` writes
them; PART is validation or test. Figures are those of `clario evaluate`, with its bootstrap intervals where they
are asked for. Against: the gold annotations; nothing is installed and nothing is timed.
"""

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import common
from clario.evaluation import report, run
from clario.evaluation.run import Evaluation, Source

CORPUS = common.ROOT / "data" / "corpus"
PARTS = ("validation", "test")
FIGURES = (
    "schema", "type", "name", "id_exact", "id_alternatives", "mention_overlap", "assertion", "entities",
    "calibration",
)  # fmt: skip
WITH_INTERVAL = "id_exact"
HEAD = (
    "system", "schema", "type accuracy", "name F1", "HPO id F1", "with alternatives", "mentions", "assertions",
    "entities a diary", "calibration error",
)  # fmt: skip


def evaluated(folder: Path, part: str) -> Iterator[tuple[str, Evaluation]]:
    """Each system of a part, in the order of the numbers in their names, with its figures."""
    for path in sorted(folder.glob(f"{part}.*.jsonl.gz")):
        with TemporaryDirectory() as there:
            plain = Path(there) / path.name.removesuffix(".gz")
            plain.write_bytes(gzip.decompress(path.read_bytes()))
            name = plain.stem.partition(".")[2].partition("-")[2]
            yield name, run.evaluate(CORPUS / f"{part}.jsonl", Source(file=plain))


def row(name: str, evaluation: Evaluation) -> str:
    """A line of the table."""
    scored = evaluation.scored[-1]
    cells = [report.cell(scored, figure) for figure in FIGURES]
    short = [c if f == WITH_INTERVAL else c.partition(" [")[0] for c, f in zip(cells, FIGURES, strict=True)]
    return f"| {' | '.join([name.replace('_', ' '), *short])} |"


def table(folder: Path, part: str) -> str:
    """The table of a part; empty where the folder has nothing of it."""
    rows = list(evaluated(folder, part))
    if not rows:
        return ""
    documents, gold = rows[0][1].documents, rows[0][1].entities
    title = f"## {part.capitalize()}: {documents} diaries, {gold / documents:.2f} entities each\n"
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|", *(row(*one) for one in rows)]
    return "\n".join([title, *lines]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print("\n".join(filter(None, (table(parser.parse_args().folder, part) for part in PARTS))))


if __name__ == "__main__":
    main()
