"""Score one system, or two against each other, on gold diaries: figures, intervals, tests, provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from clario.errors import InputError, UnknownTermError
from clario.evaluation import bootstrap, metrics, read, systems
from clario.evaluation.bootstrap import Draw, Table
from clario.evaluation.figures import FIGURES, Knowledge, applicable, count
from clario.evaluation.metrics import Counts, Values
from clario.evaluation.read import GoldDiary
from clario.evaluation.systems import System, Watch
from clario.ontology.index import PHENOTYPIC_ABNORMALITY, Index
from clario.ontology.normalize import key
from clario.ontology.resolver import Resolver
from clario.paths import sha256_of


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its bootstrap interval; None where there was nothing to divide by."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The first system's headline less the second's, its paired bootstrap interval, and p."""

    difference: float
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Entities of like confidence: how many, their mean confidence, and the share that is right."""

    entities: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A system with its figures: {figure: {part: Estimate}}, the counts of each document, and the resamples."""

    system: System
    figures: dict[str, dict[str, Estimate]]
    counts: dict[str, list[Counts]]
    samples: dict[str, list[Values]]

    @property
    def reliability(self) -> list[Bin]:
        """The bins of confidence that hold entities; empty where the system gives no confidences."""
        if "calibration" not in self.counts:
            return []
        total = Table({"calibration": self.counts["calibration"]}).total()["calibration"]
        return [Bin(int(n), sure / n, right / n) for n, sure, right in metrics.triples(total) if n]


@dataclass(frozen=True, slots=True)
class Split:
    """The part of the gold file that was scored."""

    file: str
    sha256: str
    part: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that a report tells. `ceiling` are the second annotator and each system on the same diaries."""

    gold_file: str
    gold_sha256: str
    split: Split | None
    hpo_release: str
    documents: int
    entities: int
    scored: list[Scored]
    compared: tuple[str, str] | None
    differences: dict[str, Difference]
    ceiling: list[Scored]


@dataclass(frozen=True, slots=True)
class Source:
    """Where predictions come from: the name of an installed model, or a file."""

    model: str | None = None
    file: Path | None = None

    def systems(
        self, gold: Mapping[str, GoldDiary], diaries: Sequence[GoldDiary], index: Index, watch: Watch
    ) -> list[System]:
        """One system, or two for raw outputs (as given, normalised)."""
        if self.file is not None:
            return systems.from_file(self.file, gold, diaries, index)
        return [systems.from_model(self.model or "", diaries, watch)]


def evaluate(
    gold_path: Path,
    source: Source,
    against: Source | None = None,
    split: tuple[Path, str] | None = None,
    index: Index | None = None,
    watch: Watch = iter,
) -> Evaluation:
    """Score a system on gold diaries, and test it against another.

    Args:
        split: a split file and the part of it to score; by default all diaries are scored.
        index: the release that the ids are read with; by default the one in use.
        watch: is given the diaries that a model reads to pass on, and may show the progress.

    Raises:
        InputError: a file cannot be read, or ids do not fit together.
        ModelError: a model is unknown or cannot be loaded.
        OntologyError: the release is damaged.
    """
    if index is None:
        from clario.ontology import release

        index = release.load()
    gold = read.gold(gold_path, index)
    diaries = _chosen(gold, split, gold_path)
    knowledge = knowledge_of(index)
    groups = [s.systems(gold, diaries, index, watch) for s in (source, against) if s]
    draws = bootstrap.draws(len(diaries), bootstrap.RESAMPLES)
    scored = [[score(system, knowledge, draws) for system in group] for group in groups]
    # Of raw outputs the normalised reading, which comes last, is the one that is tested.
    tested = (scored[0][-1], scored[1][-1]) if against else None
    return Evaluation(
        gold_path.name, sha256_of(gold_path),
        Split(split[0].name, sha256_of(split[0]), split[1]) if split else None,
        index.release, len(diaries), sum(len(d.entities) for d in diaries), [s for g in scored for s in g],
        (tested[0].system.name, tested[1].system.name) if tested else None,
        compare(*tested) if tested else {}, _ceiling(diaries, [s for g in groups for s in g], knowledge),
    )  # fmt: skip


def score(system: System, knowledge: Knowledge, draws: Sequence[Draw]) -> Scored:
    """All figures that say something of a system, with percentile bootstrap intervals over documents."""
    rows = [count(document, knowledge) for document in system.documents]
    counts = {name: [row[name] for row in rows] for name in applicable(system.documents)}
    table = Table(counts)
    totals = table.total()
    samples: dict[str, list[Values]] = {name: [] for name in counts}
    for resample in table.resampled(draws):
        for name, summed in resample.items():
            samples[name].append(FIGURES[name].value(summed))
    figures = {name: _estimates(name, totals[name], samples[name]) for name in counts}
    return Scored(system, figures, counts, samples)


def _estimates(name: str, total: Counts, samples: Sequence[Values]) -> dict[str, Estimate]:
    figure = FIGURES[name]
    estimates = {}
    for place, (part, value) in enumerate(zip(figure.parts, figure.value(total), strict=True)):
        low, high = bootstrap.interval(sample[place] for sample in samples) or (None, None)
        estimates[part] = Estimate(value, low, high)
    return estimates


def compare(first: Scored, second: Scored) -> dict[str, Difference]:
    """The headline figures that both systems have: difference, paired bootstrap interval, randomisation test."""
    names = [n for n in first.counts if n in second.counts and FIGURES[n].headline]
    one, other = (Table({name: scored.counts[name] for name in names}) for scored in (first, second))
    shuffles = bootstrap.swaps(len(first.system.documents), bootstrap.SHUFFLES)
    values = {name: FIGURES[name].value for name in names}
    p = bootstrap.randomisation_test(one, other, values, shuffles)
    return {name: _difference(name, first, second, p[name]) for name in p}


def _difference(name: str, first: Scored, second: Scored, p: float) -> Difference:
    sides = [scored.figures[name][FIGURES[name].parts[0]].value or 0.0 for scored in (first, second)]
    pairs = zip(first.samples[name], second.samples[name], strict=True)
    low, high = bootstrap.interval(bootstrap.difference(a, b) for a, b in pairs) or (None, None)
    return Difference(sides[0] - sides[1], low, high, p)


def knowledge_of(index: Index) -> Knowledge:
    """The ontology as the metrics ask it, with a memory."""
    resolver = Resolver(index)
    above = index.ancestors(PHENOTYPIC_ABNORMALITY) | {PHENOTYPIC_ABNORMALITY}

    @cache
    def closure(hpo_id: str) -> frozenset[str]:
        try:
            return frozenset({hpo_id, *index.ancestors(hpo_id)}) - above
        except UnknownTermError:
            return frozenset({hpo_id})

    @cache
    def meanings(name: str) -> frozenset[str]:
        resolved = resolver.resolve(name).hpo_id
        bearers = {found.hpo_id for found in index.names.find(key(name))}
        return frozenset(bearers | {resolved} if resolved else bearers)

    return Knowledge(closure, meanings)


def _chosen(gold: Mapping[str, GoldDiary], split: tuple[Path, str] | None, gold_path: Path) -> list[GoldDiary]:
    if split is None:
        return list(gold.values())
    names = read.part(*split)
    lacking = [name for name in names if name not in gold]
    if lacking or not names:
        what = f"{len(lacking)} of its diaries are not in {gold_path}: {lacking[0]!r} ..." if names else "is empty"
        raise InputError(f"{split[0]}: the part {split[1]!r}: {what}")
    return [gold[name] for name in dict.fromkeys(names)]


def _ceiling(diaries: Sequence[GoldDiary], tested: Sequence[System], knowledge: Knowledge) -> list[Scored]:
    """The second annotator and every system, on the diaries that were annotated twice."""
    second = systems.second_annotator(diaries)
    if not second.documents:
        return []
    twice = [place for place, diary in enumerate(diaries) if diary.second is not None]
    draws = bootstrap.draws(len(twice), bootstrap.RESAMPLES)
    same = [replace(s, documents=[s.documents[place] for place in twice]) for s in tested]
    return [score(system, knowledge, draws) for system in (second, *same)]
