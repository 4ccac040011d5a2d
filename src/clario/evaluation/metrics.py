"""Every metric as two pure functions: counts of one document, and a value of the summed counts.

Counts add up over documents, so that a bootstrap resample or a swap of two systems' outputs is a sum, and
every value is a micro average over documents unless its name says macro. Most counts are the triple
(right, predicted, gold) that `precision_recall` reads. What is gold, and what a type, an assertion and an
alternative id mean, is defined in docs/ANNOTATION.md.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from clario.entities import Assertion, EntityType
from clario.ontology.normalize import key

CONCEPT_TYPES = frozenset({EntityType.SYMPTOM, EntityType.LAB_MARKER, None})
BINS = 10

Counts = tuple[float, ...]
Values = tuple[float | None, ...]
Pair = tuple["Annotation", "Annotation"]  # gold, predicted


@dataclass(frozen=True, slots=True)
class Annotation:
    """An entity as the metrics see it, gold or predicted. None is what a system does not tell.

    A type that is not told counts as a symptom, an assertion that is not told as present, wherever a metric
    asks for one: this lets tools that give nothing but ids take part. `quote` are the words in the text,
    `name` is the proposed canonical name.
    """

    type: EntityType | None = None
    start: int | None = None
    end: int | None = None
    assertion: Assertion | None = None
    hpo_id: str | None = None
    alt_ids: frozenset[str] = frozenset()
    quote: str | None = None
    name: str | None = None
    confidence: float | None = None

    @property
    def accepted(self) -> frozenset[str]:
        """The ids that count as right for a gold entity: its own and the alternatives."""
        return self.alt_ids | {self.hpo_id} if self.hpo_id else self.alt_ids


# Alignment


def align(gold: Sequence[Annotation], predicted: Sequence[Annotation]) -> list[Pair]:
    """Pair gold and predicted mentions whose spans share a character, one to one, whatever their types.

    Greedy, by intersection over union of the spans, largest first; on ties like types, then like assertions,
    then the earlier mention first. Greedy rather than optimal, so that a pair never gives way to two worse
    ones. The partial match of SemEval-2013 task 9 (Segura-Bedmar et al. 2013), made one to one.
    """
    scored = []
    for g, p in product(range(len(gold)), range(len(predicted))):
        overlap = _intersection_over_union(gold[g], predicted[p])
        if overlap:
            unlike = (gold[g].type != predicted[p].type, gold[g].assertion != predicted[p].assertion)
            scored.append((-overlap, unlike, g, p))
    pairs, used_gold, used_predicted = list[Pair](), set[int](), set[int]()
    for _, _, g, p in sorted(scored):
        if g not in used_gold and p not in used_predicted:
            used_gold.add(g)
            used_predicted.add(p)
            pairs.append((gold[g], predicted[p]))
    return pairs


def _intersection_over_union(a: Annotation, b: Annotation) -> float:
    if a.start is None or a.end is None or b.start is None or b.end is None:
        return 0.0
    shared = min(a.end, b.end) - max(a.start, b.start)
    return shared / (a.end - a.start + b.end - b.start - shared) if shared > 0 else 0.0


def maximum_matching(edges: Sequence[Collection[int]]) -> dict[int, int]:
    """A largest one-to-one matching of a bipartite graph, by augmenting paths (Kuhn 1955).

    Args:
        edges: for each node of the left side the nodes of the right side that it may be matched with.

    Returns:
        The matched nodes: right -> left.
    """
    matched: dict[int, int] = {}

    def augment(left: int, seen: set[int]) -> bool:
        for right in edges[left]:
            if right not in seen:
                seen.add(right)
                if right not in matched or augment(matched[right], seen):
                    matched[right] = left
                    return True
        return False

    for left in range(len(edges)):
        augment(left, set())
    return matched


# Mentions


def mention_counts(gold: Sequence[Annotation], predicted: Sequence[Annotation], *, exact: bool) -> Counts:
    """Mentions of the right type in the right place: (right, predicted, gold).

    Exact: same type and same offsets (the "strict" match of SemEval-2013 task 9, and CoNLL's). Otherwise
    the spans of a type only need to overlap, paired as `align` does within each type.
    """
    if exact:
        shared = Counter(map(_place, gold)) & Counter(map(_place, predicted))
        return shared.total(), len(predicted), len(gold)
    right = sum(len(align(of_type(gold, t), of_type(predicted, t))) for t in EntityType)
    return right, len(predicted), len(gold)


def of_type(annotations: Iterable[Annotation], wanted: EntityType) -> list[Annotation]:
    """The annotations of one type."""
    return [a for a in annotations if a.type == wanted]


def _place(annotation: Annotation) -> tuple[EntityType | None, int | None, int | None]:
    return annotation.type, annotation.start, annotation.end


def type_counts(pairs: Sequence[Pair]) -> Counts:
    """Type accuracy: of the mentions aligned by overlap, how many have the right type: (right, aligned)."""
    return sum(g.type == p.type for g, p in pairs), len(pairs)


def assertion_counts(pairs: Sequence[Pair], assertion: Assertion) -> Counts:
    """One class of assertion over the aligned mentions: (right, predicted as it, gold)."""
    right = sum(g.assertion == assertion == p.assertion for g, p in pairs)
    return right, sum(p.assertion == assertion for _, p in pairs), sum(g.assertion == assertion for g, _ in pairs)


def entity_counts(gold: Sequence[Annotation], predicted: Sequence[Annotation]) -> Counts:
    """Entities of a diary, all types and assertions: (predicted, gold, absolute difference, 1 diary)."""
    return len(predicted), len(gold), abs(len(predicted) - len(gold)), 1


# Concepts of a document


def ids(annotations: Iterable[Annotation], assertion: Assertion = Assertion.PRESENT) -> set[str]:
    """The distinct HPO ids of a document's symptoms and laboratory markers with one assertion."""
    return {a.hpo_id for a in concepts(annotations, assertion) if a.hpo_id}


def concepts(annotations: Iterable[Annotation], assertion: Assertion | None = None) -> list[Annotation]:
    """Symptoms and laboratory markers, all or those with one assertion."""
    found = [a for a in annotations if a.type in CONCEPT_TYPES]
    return [a for a in found if assertion is None or (a.assertion or Assertion.PRESENT) == assertion]


def id_counts(gold: Collection[str], predicted: Collection[str]) -> Counts:
    """HPO id F1, exact: a document's two sets of ids, compared id by id: (right, predicted, gold).

    The document-level measure of concept recognition, as used on GSC+ (Lobo et al. 2017), here with the
    document's ids as a set and summed over documents.
    """
    return len(set(gold) & set(predicted)), len(set(predicted)), len(set(gold))


def alternative_counts(
    gold: Iterable[Annotation], predicted: Iterable[Annotation], assertion: Assertion = Assertion.PRESENT
) -> Counts:
    """HPO id F1 with alternatives: (right, predicted, gold), for one assertion.

    A predicted id is right when a gold entity accepts it, by its id or an alternative; each id and each
    entity is matched once, as many as possible (`maximum_matching`), so this is never below the exact
    count. Gold entities that share an id are one. A gold entity that has alternatives but no id of its own
    is optional: it is not missed, and one prediction that it accepts is neither right nor wrong.
    """
    wanted, optional = _gold_concepts(concepts(gold, assertion))
    offered = sorted(ids(predicted, assertion))
    edges = [[place for place, hpo_id in enumerate(offered) if hpo_id in some] for some in [*wanted, *optional]]
    # An augmenting path never gives up a node of the left side, so the optional ones only take what is over.
    matched = maximum_matching(edges)
    right = sum(left < len(wanted) for left in matched.values())
    return right, len(offered) - (len(matched) - right), len(wanted)


def _gold_concepts(gold: Iterable[Annotation]) -> tuple[list[frozenset[str]], list[frozenset[str]]]:
    wanted: dict[str, frozenset[str]] = {}
    optional = []
    for annotation in gold:
        if annotation.hpo_id:
            wanted[annotation.hpo_id] = wanted.get(annotation.hpo_id, frozenset()) | annotation.accepted
        elif annotation.alt_ids:
            optional.append(annotation.alt_ids)
    return list(wanted.values()), optional


def hierarchical_counts(
    gold: Iterable[str], predicted: Iterable[str], closure: Callable[[str], Collection[str]]
) -> Counts:
    """HPO id F1, hierarchical: both sets of ids extended by all ancestors: (shared, predicted, gold).

    Hierarchical precision and recall of Kiritchenko, Matwin and Famili (BioLINK 2005): a near miss shares
    ancestors with the gold id and is credited for them. As there, the root is left out: `closure` gives an
    id with its ancestors strictly below Phenotypic abnormality (HP:0000118).
    """
    gold_closed = set().union(*map(closure, gold))
    predicted_closed = set().union(*map(closure, predicted))
    return len(gold_closed & predicted_closed), len(predicted_closed), len(gold_closed)


def name_counts(
    gold: Iterable[Annotation], predicted: Iterable[Annotation], meanings: Callable[[str], Collection[str]]
) -> Counts:
    """Name F1, synonym-aware, over symptoms and laboratory markers: (right, predicted, gold).

    A predicted name is right when one of its `meanings` (the HPO ids that it resolves to or is a name of) is
    the gold id or an alternative. Gold without an id also accepts the words of the text, up to
    normalisation. One to one within the document, as many as possible; all assertions; places are ignored.
    """
    wanted = [_accepted_meanings(g) for g in concepts(gold)]
    names = [p.name for p in concepts(predicted) if p.name]
    offered = [{*meanings(name), key(name)} for name in names]
    edges = [[place for place, some in enumerate(offered) if some & accepted] for accepted in wanted]
    return len(maximum_matching(edges)), len(names), len(wanted)


def _accepted_meanings(gold: Annotation) -> frozenset[str]:
    return gold.accepted if gold.hpo_id or not gold.quote else gold.accepted | {key(gold.quote)}


def calibration_counts(predicted: Iterable[Annotation], pairs: Sequence[Pair]) -> Counts:
    """Confidence against correctness: for each of ten equal bins (entities, sum of confidence, right).

    An entity is right when it is aligned with a gold mention of its type and, for symptoms and laboratory
    markers, carries an accepted id, or none where gold has none. The assertion does not enter.
    """
    right = {id(p) for g, p in pairs if g.type == p.type and _same_concept(g, p)}
    counts = [0.0] * (3 * BINS)
    for annotation in predicted:
        if annotation.confidence is not None:
            first = 3 * min(int(annotation.confidence * BINS), BINS - 1)
            counts[first] += 1
            counts[first + 1] += annotation.confidence
            counts[first + 2] += id(annotation) in right
    return tuple(counts)


def _same_concept(gold: Annotation, predicted: Annotation) -> bool:
    if gold.type not in CONCEPT_TYPES:
        return True
    return predicted.hpo_id in gold.accepted if predicted.hpo_id else gold.hpo_id is None


# Values of summed counts


def precision_recall(counts: Counts) -> Values:
    """(F1, precision, recall) of (right, predicted, gold); None where nothing was to be divided.

    F1 = 2 right / (predicted + gold), the harmonic mean of precision and recall (van Rijsbergen 1979).
    """
    right, predicted, gold = counts
    return ratio(2 * right, predicted + gold), ratio(right, predicted), ratio(right, gold)


def share(counts: Counts) -> Values:
    """The share (right / all) of (right, all)."""
    return (ratio(*counts),)


def macro_f1(counts: Counts) -> Values:
    """The mean F1 of the classes that occur in gold or prediction; counts are the classes' triples in a row."""
    scores = [precision_recall(triple)[0] for triple in triples(counts)]
    known = [score for score in scores if score is not None]
    return (ratio(sum(known), len(known)),)


def triples(counts: Counts) -> list[Counts]:
    """Counts that are several triples in a row, cut apart."""
    return [counts[first : first + 3] for first in range(0, len(counts), 3)]


def per_diary(counts: Counts) -> Values:
    """Means a diary of `entity_counts`: (predicted, gold, absolute difference)."""
    predicted, gold, difference, diaries = counts
    return ratio(predicted, diaries), ratio(gold, diaries), ratio(difference, diaries)


def calibration_error(counts: Counts) -> Values:
    """Expected calibration error: the mean over entities of |accuracy - confidence| of their bin.

    Naeini, Cooper and Hauskrecht (AAAI 2015); ten bins of equal width, as Guo et al. (ICML 2017). Small
    samples bias it upwards, and so are its bootstrap intervals.
    """
    bins = triples(counts)
    return (ratio(sum(abs(right - sure) for _, sure, right in bins), sum(n for n, _, _ in bins)),)


def ratio(part: float, whole: float) -> float | None:
    """`part / whole`, or None where there is no whole."""
    return part / whole if whole else None
