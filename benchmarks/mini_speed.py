"""How fast `mini` reads diaries, beside the lexicon and fenominal, in one run on one machine.

Measured, each tool in fresh processes of its own, which take turns so that a busy spell hits all of them:
  batch         diaries a second, given at once (target: 100)
  alone         milliseconds of one diary given alone: median and 95th percentile (target of the median: 25)
  peak          the largest resident set of the process that did all this (target: 400 MB)
  first answer  seconds from the start of a process that reads one diary to its answer (target: 1.5)

Against: the `lexicon` extractor, and fenominal (Rust; exact matching of names), with the same release of HPO, in
a virtual environment of its own that this script makes. The diaries are those of the validation part, each
filled up with the next ones to 80 words and cut there. Figures are medians over processes; they hold for the
processor and the load named. The targets are for two cores; --cores binds the processes to so many.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import common
from clario.corpus import dataset
from gsc_plus import fenominal_ontology

MINI, LEXICON, FENOMINAL = "mini", "lexicon", "fenominal"
BATCH = "batch"
WORDS = 80
VALIDATION = common.ROOT / "data" / "corpus" / "validation.jsonl"
TARGETS = {"batch_per_second": 100.0, "alone_median_ms": 25.0, "peak_bytes": 400e6, "first_answer_seconds": 1.5}
Answers = dict[str, list[dict[str, Any]]]  # by tool, what each of its processes told


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: processes of each tool, passes over the diaries, diaries in batch and alone."""

    processes: int = 3
    passes: int = 3
    batch: int = 200
    alone: int = 100
    starts: int = 5


QUICK = Size(processes=1, passes=1, batch=4, alone=2, starts=1)


def diaries(count: int, path: Path = VALIDATION) -> list[str]:
    """So many texts of `WORDS` words, each beginning with a diary of its own as long as there are enough."""
    texts = [diary.text for diary in dataset.load(path)]
    return [_filled(texts, place % len(texts)) for place in range(count)]


def _filled(texts: Sequence[str], place: int) -> str:
    words = (word for text in [*texts[place:], *texts] for word in text.split(" "))
    return " ".join(islice(words, WORDS))


def measure(size: Size, peers: common.Environments | None) -> dict[str, dict[str, float]]:
    """Each tool's figures."""
    texts = diaries(max(size.batch, size.alone))
    sets = {BATCH: texts[: size.batch], **{str(place): [text] for place, text in enumerate(texts[: size.alone])}}
    given: dict[str, dict[str, Any]] = {
        name: {"with": name, "release": common.RELEASE, "sets": sets, "passes": size.passes}
        for name in (MINI, LEXICON)
    }
    if not peers:
        return _figures(given, None, size)
    with fenominal_ontology() as ontology:
        given[FENOMINAL] = {"with": FENOMINAL, "ontology": str(ontology), "sets": sets, "passes": size.passes}
        return _figures(given, peers, size)


def _figures(
    given: Mapping[str, Mapping[str, Any]], peers: common.Environments | None, size: Size
) -> dict[str, dict[str, float]]:
    pythons = {tool: peers.python(tool) if peers and tool in common.PEERS else None for tool in given}
    answers: Answers = {tool: [] for tool in given}
    starts: dict[str, list[float]] = {tool: [] for tool in given}
    for number in range(max(size.processes, size.starts)):
        for tool, python in pythons.items():
            if number < size.starts:
                starts[tool].append(_first_answer(given[tool], python))
            if number < size.processes:
                common.note(f"{tool}, process {number + 1} of {size.processes}")
                answers[tool].append(common.fresh("read", given[tool], python))
    return {tool: _summary(answers[tool], starts[tool], size) for tool in given}


def _first_answer(given: Mapping[str, Any], python: str | None) -> float:
    """Seconds from the start of a process to the answer to its first text."""
    one = {**given, "sets": {BATCH: given["sets"][BATCH][:1]}, "passes": 0}
    begin = time.time()
    answered: float = common.fresh("read", one, python)["answered"]
    return answered - begin


def _summary(answers: Sequence[Mapping[str, Any]], starts: Sequence[float], size: Size) -> dict[str, float]:
    alone = [
        1000 * second
        for answer in answers
        for name, seconds in answer["sets"].items()
        if name != BATCH
        for second in seconds
    ]
    batch = [second for answer in answers for second in answer["sets"][BATCH]]
    return {
        "batch_per_second": size.batch / median(batch),
        "alone_median_ms": median(alone),
        "alone_p95_ms": quantiles(alone, n=20, method="inclusive")[-1] if len(alone) > 1 else alone[0],
        "peak_bytes": median(answer["peak"] for answer in answers),
        "first_answer_seconds": median(starts),
    }


def ratios(tools: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Each figure of Clario's models over that of fenominal; empty without it."""
    peer = tools.get(FENOMINAL)
    if not peer:
        return {}
    return {name: {figure: one[figure] / peer[figure] for figure in peer} for name, one in tools.items()}


def sections(results: Mapping[str, Any]) -> list[common.Section]:
    """The figures as a table, and their ratios as another."""
    size = results["size"]
    notes = [
        f"texts of {WORDS} words: {size['batch']} in batch, {size['alone']} alone; "
        f"{size['processes']} processes a tool, {size['passes']} passes in each; load average before "
        f"{results['load_before']}, after {results['load_after']}"
    ]
    head = ("", "batch, /s", "alone, ms", "p95, ms", "peak, MB", "first answer, s")
    rows = [(name, *_cells(figures)) for name, figures in results["tools"].items()]
    rows.append(("target of mini", "100", "25", "", "400", "1.5"))
    made = [common.Section("Reading diaries", head, rows, notes)]
    if results["ratios"]:
        shown = [(name, *(f"{r:.3g}" for r in row.values())) for name, row in results["ratios"].items()]
        made.append(common.Section(f"Over {FENOMINAL}", head, shown))
    return made


def _cells(figures: Mapping[str, float]) -> tuple[str, ...]:
    return (
        f"{figures['batch_per_second']:,.1f}",
        f"{figures['alone_median_ms']:.1f}",
        f"{figures['alone_p95_ms']:.1f}",
        f"{figures['peak_bytes'] / 1e6:,.0f}",
        f"{figures['first_answer_seconds']:.2f}",
    )


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _bind(cores: int | None) -> None:
    """Keep this process and its children on so many processors."""
    if cores is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise common.BenchmarkError("--cores is for Linux only")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its report."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--quick", action="store_true", help="one process and few texts: a smoke test")
    parser.add_argument("--cores", type=int, metavar="N", help="use the first N processors only (Linux)")
    options = parser.parse_args(argv)
    _bind(options.cores)
    size, versions, before = QUICK if options.quick else Size(), dict[str, str](), _load()
    if options.no_peers:
        tools = measure(size, None)
    else:
        with common.environments(options.environments) as peers:
            tools, versions = measure(size, peers), peers.versions
    results: dict[str, Any] = {
        "tools": tools, "ratios": ratios(tools), "targets": TARGETS, "load_before": before, "load_after": _load(),
        "size": {name: getattr(size, name) for name in size.__slots__}, "mini": _version(),
    }  # fmt: skip
    common.show(options.json, common.provenance([VALIDATION, common.HPO], versions), results, sections(results))


def _version() -> str:
    from clario.ontology.encoder import FOLDER, Encoder

    return str(Encoder(FOLDER).manifest["version"])


if __name__ == "__main__":
    common.run(main)
