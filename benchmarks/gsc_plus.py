"""Clario's `lexicon` extractor beside fenominal on GSC+: 228 abstracts of PubMed with HPO ids.

Measured: micro precision, recall and F1 of the set of HPO ids of each document, against all gold ids and
against those under Phenotypic abnormality (HP:0000118), predictions restricted likewise. GSC+ tells no
assertions, so that the ids of all assertions count; the second line of each tool leaves out what it takes
for denied, past, hypothetical or somebody else's (Clario), or for excluded (fenominal). Intervals are 95 %
percentile bootstrap intervals over documents, with a fixed seed; p is of a paired randomisation test.

Against: fenominal (https://pypi.org/project/fenominal/), exact matching of labels and synonyms, with the
same release of HPO, in a virtual environment of its own that this script makes. GSC+ is of clinical
register, not what patients write: it shows whether the floor is no worse than its peers.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import common
import obographs
from clario.entities import Assertion, Failure
from clario.evaluation import bootstrap, metrics
from clario.ontology import release as releases
from clario.ontology.sources import read_obo
from clario.pipeline import Clario, Diary

LEXICON, FENOMINAL = "lexicon", "fenominal"
RESAMPLES, SHUFFLES = 1_000, 9_999
Ids = frozenset[str]
Restrict = Callable[[Collection[str]], Collection[str]]


@dataclass(frozen=True, slots=True)
class Abstract:
    """A document of GSC+ with its gold ids."""

    id: str
    text: str
    gold: Ids


def abstracts(path: Path = common.GSC_PLUS, limit: int | None = None) -> list[Abstract]:
    """The documents of a file of {"id", "text", "hpo_ids"} lines, or the first `limit` of them."""
    lines = path.read_text("utf-8").splitlines()[:limit]
    return [Abstract(row["id"], row["text"], frozenset(row["hpo_ids"])) for row in map(json.loads, lines)]


# Systems: for each document a set of ids


def lexicon(documents: Sequence[Abstract]) -> dict[str, list[Ids]]:
    """The ids that the lexicon extractor finds: of all assertions, and of those that are present."""
    clario = Clario("lexicon", release=common.RELEASE)
    every, present = list[Ids](), list[Ids]()
    for found in clario.extract_many(Diary(d.id, d.text) for d in documents):
        if isinstance(found, Failure):
            raise common.BenchmarkError(f"{found.id}: {found.error}")
        with_ids = [(e.hpo_id, e.assertion) for e in found.entities if e.hpo_id]
        every.append(frozenset(hpo_id for hpo_id, _ in with_ids))
        present.append(frozenset(hpo_id for hpo_id, assertion in with_ids if assertion is Assertion.PRESENT))
    return {LEXICON: every, f"{LEXICON}, present": present}


def fenominal(documents: Sequence[Abstract], python: str) -> dict[str, list[Ids]]:
    """The ids that fenominal finds: all, and those that it does not take for excluded."""
    with fenominal_ontology() as ontology:
        given = {"ontology": str(ontology), "texts": [d.text for d in documents]}
        answers = common.fresh("fenominal", given, python)
    every = [frozenset(hit["termId"] for hit in hits) for hits in answers]
    stated = [frozenset(hit["termId"] for hit in hits if not hit["excluded"]) for hits in answers]
    return {FENOMINAL: every, f"{FENOMINAL}, not excluded": stated}


@contextmanager
def fenominal_ontology() -> Iterator[Path]:
    """HPO in the form that fenominal reads, in a temporary file."""
    with TemporaryDirectory(prefix="clario-bench-") as folder:
        path = Path(folder) / "hp.json"
        path.write_text(json.dumps(obographs.convert(read_obo(common.HPO))), "utf-8")
        yield path


# Scores


def evaluate(documents: Sequence[Abstract], systems: Mapping[str, Sequence[Ids]]) -> list[dict[str, Any]]:
    """Each system's scores against each kind of gold: all ids, and the phenotypic ones alone."""
    index = releases.load(common.RELEASE)
    kinds: dict[str, Restrict] = {
        "all": lambda ids: ids,
        "phenotypic": lambda ids: {i for i in ids if index.is_phenotypic(i)},
    }
    draws = bootstrap.draws(len(documents), RESAMPLES, common.SEED)
    return [
        {"gold": kind, "system": name, **score(counts(documents, found, restrict), draws)}
        for kind, restrict in kinds.items()
        for name, found in systems.items()
    ]


def counts(documents: Sequence[Abstract], found: Sequence[Ids], restrict: Restrict) -> list[metrics.Counts]:
    """Of each document: ids that are right, predicted, gold."""
    pairs = zip(documents, found, strict=True)
    return [metrics.id_counts(restrict(document.gold), restrict(ids)) for document, ids in pairs]


def score(rows: Sequence[metrics.Counts], draws: Sequence[bootstrap.Draw]) -> dict[str, Any]:
    """Micro precision, recall and F1 with intervals, and the counts that they come from."""
    table = bootstrap.Table({"ids": rows})
    right, predicted, gold = table.total()["ids"]
    samples = [metrics.precision_recall(resample["ids"]) for resample in table.resampled(draws)]
    result: dict[str, Any] = {"right": int(right), "predicted": int(predicted), "gold_ids": int(gold)}
    for place, name in enumerate(("f1", "precision", "recall")):
        value = metrics.precision_recall((right, predicted, gold))[place]
        result[name] = {"value": value, "interval": bootstrap.interval(sample[place] for sample in samples)}
    return result


def compare(documents: Sequence[Abstract], systems: Mapping[str, Sequence[Ids]]) -> dict[str, Any]:
    """F1 of the lexicon less that of fenominal, all gold ids: the difference, its interval, and p."""
    rows = [counts(documents, systems[name], lambda ids: ids) for name in (LEXICON, FENOMINAL)]
    first, second = (bootstrap.Table({"f1": row}) for row in rows)
    value = metrics.precision_recall
    draws = bootstrap.draws(len(documents), RESAMPLES, common.SEED)
    pairs = zip(first.resampled(draws), second.resampled(draws), strict=True)
    sample = [bootstrap.difference(value(one["f1"]), value(other["f1"])) for one, other in pairs]
    tested = bootstrap.randomisation_test(
        first, second, {"f1": value}, bootstrap.swaps(len(documents), SHUFFLES, common.SEED)
    )
    return {
        "f1_difference": bootstrap.difference(value(first.total()["f1"]), value(second.total()["f1"])),
        "interval": bootstrap.interval(sample),
        "p": tested.get("f1"),
    }


# Report


def sections(results: Mapping[str, Any]) -> list[common.Section]:
    """The results as one table for each kind of gold."""
    return [_section(kind, results) for kind in ("all", "phenotypic")]


def _section(kind: str, results: Mapping[str, Any]) -> common.Section:
    scores = [s for s in results["scores"] if s["gold"] == kind]
    title = f"GSC+, {results['documents']} documents, {kind} gold ids ({scores[0]['gold_ids']:,})"
    rows = [
        (s["system"], *(_figure(s[name]) for name in ("precision", "recall", "f1")), f"{s['predicted']:,}")
        for s in scores
    ]
    notes = [_difference(results["comparison"])] if kind == "all" and "comparison" in results else []
    return common.Section(title, ("system", "P", "R", "F1", "predicted"), rows, notes)


def _figure(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    low, high = estimate["interval"]
    return f"{estimate['value']:.3f} ({low:.3f} to {high:.3f})"


def _difference(comparison: Mapping[str, Any]) -> str:
    low, high = comparison["interval"]
    return (
        f"F1 of {LEXICON} less that of {FENOMINAL}: {comparison['f1_difference']:+.3f} "
        f"({low:+.3f} to {high:+.3f}), p = {comparison['p']:.4f}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its report."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--documents", type=int, metavar="N", help="only the first N documents")
    options = parser.parse_args(argv)
    documents = abstracts(limit=options.documents)
    systems, versions = lexicon(documents), dict[str, str]()
    if not options.no_peers:
        with common.environments(options.environments) as peers:
            systems |= fenominal(documents, peers.python(FENOMINAL))
            versions = peers.versions
    results: dict[str, Any] = {"documents": len(documents), "scores": evaluate(documents, systems)}
    if FENOMINAL in systems:
        results["comparison"] = compare(documents, systems)
    made_with = common.provenance([common.GSC_PLUS, common.HPO], versions)
    common.show(options.json, made_with, results, sections(results))


if __name__ == "__main__":
    common.run(main)
