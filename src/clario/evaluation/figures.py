"""The figures of a report: which counts of `metrics` each one sums up, and what a system must tell for it."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from clario.entities import Assertion, EntityType
from clario.evaluation import metrics
from clario.evaluation.metrics import Annotation, Counts, Values

_F1 = ("f1", "precision", "recall")


@dataclass(frozen=True, slots=True)
class Document:
    """A diary's gold entities and one system's. `valid`: the output fits its schema, None where it has none."""

    gold: tuple[Annotation, ...]
    predicted: tuple[Annotation, ...]
    valid: bool | None = None


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the ontology knows: an id with its ancestors below the root, and the ids that a name may mean."""

    closure: Callable[[str], Collection[str]]
    meanings: Callable[[str], Collection[str]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `value` turns summed counts into the `parts`, the first of which is the headline.

    `needs` names the attributes of an annotation without which the figure says nothing of a system.
    """

    name: str
    title: str
    value: Callable[[Counts], Values] = metrics.precision_recall
    parts: tuple[str, ...] = _F1
    needs: frozenset[str] = frozenset()
    headline: bool = True


_SPAN, _TYPED = frozenset({"start"}), frozenset({"start", "type"})
_ASSERTED = frozenset({"start", "assertion"})


def _family(name: str, title: str, members: Iterable[str], needs: frozenset[str]) -> list[Figure]:
    return [Figure(f"{name}.{m}", f"{title}: {m}", needs=needs, headline=False) for m in members]


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in [
        Figure("schema", "JSON schema correctness", metrics.share, ("share",), frozenset({"valid"})),
        Figure("type", "Type accuracy", metrics.share, ("share",), _TYPED),
        Figure("name", "Name F1, synonym-aware", needs=frozenset({"name"})),
        Figure("id_exact", "HPO id F1, exact"),
        Figure("id_alternatives", "HPO id F1, with alternatives"),
        Figure("id_hierarchical", "HPO id F1, hierarchical"),
        Figure("mention_exact", "Mention F1, exact spans and types", needs=_TYPED),
        Figure("mention_overlap", "Mention F1, overlapping spans, right types", needs=_TYPED),
        Figure("mention_any_type", "Mention F1, overlapping spans, any type", needs=_SPAN),
        Figure("assertion", "Assertion macro F1, aligned mentions", metrics.macro_f1, ("f1",), _ASSERTED),
        Figure(
            "document_assertion", "Assertion macro F1, ids of a document", metrics.macro_f1, ("f1",),
            frozenset({"assertion"}),
        ),
        Figure("entities", "Entities a diary", metrics.per_diary, ("predicted", "gold", "difference")),
        Figure(
            "calibration", "Expected calibration error", metrics.calibration_error, ("error",),
            frozenset({"start", "confidence"}),
        ),
        *_family("mention_exact", "Mention F1, exact", EntityType, _TYPED),
        *_family("mention_overlap", "Mention F1, overlapping", EntityType, _TYPED),
        *_family("assertion", "Assertion F1, aligned mentions", Assertion, _ASSERTED),
        *_family("document_assertion", "Assertion F1, document", Assertion, frozenset({"assertion"})),
    ]
}  # fmt: skip


def applicable(documents: Sequence[Document]) -> list[str]:
    """The figures that say something of a system: those whose needs it, and the gold, tell at least once.

    A system that found nothing at all has told nothing wrong: every figure applies, and is 0.
    """
    sides = [[a for d in documents for a in d.gold], [a for d in documents for a in d.predicted]]
    told = [_told(side, {"confidence", "name"} if i == 0 else set()) for i, side in enumerate(sides)]
    if any(d.valid is not None for d in documents):
        told = [side | {"valid"} for side in told]
    return [name for name, figure in FIGURES.items() if all(figure.needs <= side for side in told)]


def _told(annotations: Sequence[Annotation], given: set[str]) -> set[str]:
    fields = ("type", "start", "assertion", "name", "confidence")
    return given | {f for f in fields if not annotations or any(getattr(a, f) is not None for a in annotations)}


def count(document: Document, knowledge: Knowledge) -> dict[str, Counts]:
    """The counts of one document for every figure."""
    gold, predicted = document.gold, document.predicted
    pairs = metrics.align(gold, predicted)
    gold_ids, predicted_ids = metrics.ids(gold), metrics.ids(predicted)
    aligned = {f"assertion.{a}": metrics.assertion_counts(pairs, a) for a in Assertion}
    by_id = {f"document_assertion.{a}": metrics.alternative_counts(gold, predicted, a) for a in Assertion}
    return {
        "schema": (bool(document.valid), 1),
        "type": metrics.type_counts(pairs),
        "name": metrics.name_counts(gold, predicted, knowledge.meanings),
        "id_exact": metrics.id_counts(gold_ids, predicted_ids),
        "id_alternatives": by_id[f"document_assertion.{Assertion.PRESENT}"],
        "id_hierarchical": metrics.hierarchical_counts(gold_ids, predicted_ids, knowledge.closure),
        "mention_any_type": (len(pairs), len(predicted), len(gold)),
        "assertion": tuple(number for counts in aligned.values() for number in counts),
        "document_assertion": tuple(number for counts in by_id.values() for number in counts),
        "entities": metrics.entity_counts(gold, predicted),
        "calibration": metrics.calibration_counts(predicted, pairs),
        **_mentions(gold, predicted), **aligned, **by_id,
    }  # fmt: skip


def _mentions(gold: Sequence[Annotation], predicted: Sequence[Annotation]) -> dict[str, Counts]:
    counts = {}
    for name, exact in (("mention_exact", True), ("mention_overlap", False)):
        counts[name] = metrics.mention_counts(gold, predicted, exact=exact)
        for t in EntityType:
            sides = metrics.of_type(gold, t), metrics.of_type(predicted, t)
            counts[f"{name}.{t}"] = metrics.mention_counts(*sides, exact=exact)
    return counts
