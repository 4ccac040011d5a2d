"""Metrics on cases worked by hand; the arithmetic stands beside each expected value."""

import math
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clario.entities import Assertion, EntityType
from clario.evaluation import bootstrap, metrics
from clario.evaluation.bootstrap import Table
from clario.evaluation.figures import FIGURES, Document, Knowledge, applicable, count
from clario.evaluation.metrics import Annotation

A, B, C, D = (f"HP:000000{n}" for n in range(1, 5))
MED, SYMPTOM, TRIGGER = EntityType.MED, EntityType.SYMPTOM, EntityType.TRIGGER
PRESENT, PAST, ABSENT = Assertion.PRESENT, Assertion.PAST, Assertion.ABSENT


def mention(start: int, end: int, entity_type: EntityType = SYMPTOM, **told: Any) -> Annotation:
    return Annotation(entity_type, start, end, told.pop("assertion", PRESENT), **told)


def symptom(hpo_id: str | None, *alternatives: str, assertion: Assertion | None = PRESENT) -> Annotation:
    return Annotation(SYMPTOM, assertion=assertion, hpo_id=hpo_id, alt_ids=frozenset(alternatives))


class TestAlignment:
    def test_the_larger_intersection_over_union_is_paired_first(self) -> None:
        # gold 0-10 against 0-10: 10/10; gold 5-10 against 0-10: 5/10. The only prediction goes to the first.
        long, short, found = mention(0, 10), mention(5, 10), mention(0, 10)
        assert metrics.align([short, long], [found]) == [(long, found)]

    def test_it_is_greedy_and_one_to_one(self) -> None:
        # gold 0-4, 4-12; predicted 2-12, 0-3. IoU: (0-4, 2-12) 2/12, (0-4, 0-3) 3/4, (4-12, 2-12) 8/10.
        gold, predicted = [mention(0, 4), mention(4, 12)], [mention(2, 12), mention(0, 3)]
        assert metrics.align(gold, predicted) == [(gold[1], predicted[0]), (gold[0], predicted[1])]

    def test_ties_pair_like_types_then_like_assertions(self) -> None:
        gold = [mention(0, 5, MED), mention(0, 5, TRIGGER), mention(0, 5, TRIGGER, assertion=PAST)]
        predicted = [mention(0, 5, TRIGGER, assertion=PAST), mention(0, 5, MED), mention(0, 5, TRIGGER)]
        assert all(g == p for g, p in metrics.align(gold, predicted))

    def test_spans_that_touch_do_not_overlap_and_no_span_never_does(self) -> None:
        assert metrics.align([mention(0, 5)], [mention(5, 9), Annotation(SYMPTOM)]) == []


class TestMatching:
    def test_it_finds_the_largest_where_greed_fails(self) -> None:
        # 0 may have x or y, 1 only x: giving x to 0 leaves 1 with nothing.
        assert metrics.maximum_matching([[0, 1], [0]]) == {0: 1, 1: 0}

    @given(st.lists(st.sets(st.integers(0, 3)), max_size=4))
    def test_it_is_as_large_as_the_best_of_all_assignments(self, edges: list[set[int]]) -> None:
        padded = [*range(4), *[None] * len(edges)]
        best = max(
            sum(right in some for right, some in zip(assignment, edges, strict=False))
            for assignment in permutations(padded, len(edges))
        )
        matched = metrics.maximum_matching(edges)
        assert len(matched) == best
        assert all(right in edges[left] for right, left in matched.items())


class TestMentions:
    gold = (mention(0, 5), mention(10, 20), mention(30, 35, MED))
    predicted = (mention(0, 5), mention(12, 20), mention(30, 35, TRIGGER), mention(40, 45))

    def test_exact_needs_the_same_span_and_type(self) -> None:
        # Only 0-5. P = 1/4, R = 1/3, F1 = 2 * 1 / (4 + 3).
        counts = metrics.mention_counts(self.gold, self.predicted, exact=True)
        assert counts == (1, 4, 3)
        assert metrics.precision_recall(counts) == (2 / 7, 1 / 4, 1 / 3)

    def test_overlap_needs_a_shared_character_and_the_same_type(self) -> None:
        # 0-5 and 10-20 with 12-20; the medicine was called a trigger.
        assert metrics.mention_counts(self.gold, self.predicted, exact=False) == (2, 4, 3)

    def test_exact_counts_a_doubled_prediction_once(self) -> None:
        assert metrics.mention_counts([mention(0, 5)], [mention(0, 5)] * 2, exact=True) == (1, 2, 1)

    def test_type_accuracy_is_over_aligned_mentions(self) -> None:
        # Three pairs, the medicine's type is wrong: 2/3. The mention at 40 is aligned with nothing.
        pairs = metrics.align(self.gold, self.predicted)
        assert metrics.share(metrics.type_counts(pairs)) == (2 / 3,)

    def test_entities_of_a_diary(self) -> None:
        # Two diaries: 4 against 3, 0 against 2. Means 2 and 2.5, difference (1 + 2) / 2.
        rows = [metrics.entity_counts(self.gold, self.predicted), metrics.entity_counts(self.gold[:2], [])]
        assert metrics.per_diary(tuple(map(sum, zip(*rows, strict=True)))) == (2.0, 2.5, 1.5)


class TestAssertions:
    pairs = (
        (symptom(A), symptom(A)),
        (symptom(A), symptom(A, assertion=PAST)),
        (symptom(A, assertion=ABSENT), symptom(A)),
        (symptom(A, assertion=ABSENT), symptom(A, assertion=None)),
    )

    def test_a_class_over_aligned_mentions(self) -> None:
        assert metrics.assertion_counts(self.pairs, PRESENT) == (1, 2, 2)
        assert metrics.assertion_counts(self.pairs, PAST) == (0, 1, 0)
        assert metrics.assertion_counts(self.pairs, ABSENT) == (0, 0, 2)  # what is not told is not absent

    def test_macro_leaves_out_classes_that_occur_nowhere(self) -> None:
        # present 2 * 1 / (2 + 2) = 0.5; past 0 / 1 = 0; absent 0 / 2 = 0; other and hypothetical: nowhere.
        counts = [number for a in Assertion for number in metrics.assertion_counts(self.pairs, a)]
        assert metrics.macro_f1(tuple(counts)) == (0.5 / 3,)


class TestIds:
    def test_present_symptoms_and_laboratory_markers_only(self) -> None:
        entities = [
            symptom(A), symptom(A), symptom(B, assertion=ABSENT), symptom(None),
            Annotation(EntityType.LAB_MARKER, hpo_id=C, assertion=PRESENT),
            Annotation(EntityType.BEHAVIOR, hpo_id=D, assertion=PRESENT),
        ]  # fmt: skip
        assert metrics.ids(entities) == {A, C}
        assert metrics.ids(entities, ABSENT) == {B}

    def test_what_a_tool_does_not_tell_is_a_present_symptom(self) -> None:
        assert metrics.ids([Annotation(hpo_id=A)]) == {A}

    def test_exact(self) -> None:
        # {A, B} against {B, C, D}: one right. F1 = 2 / (3 + 2), P = 1/3, R = 1/2.
        assert metrics.precision_recall(metrics.id_counts({A, B}, {B, C, D})) == (2 / 5, 1 / 3, 1 / 2)

    def test_alternatives_are_matched_one_to_one_as_many_as_possible(self) -> None:
        # A (or B) and B are gold. Predicted B and C: greedily B could go to A's entity; B's own takes it, and
        # C is wrong: one right of two predicted and two gold. With A and B predicted both are right.
        gold = [symptom(A, B), symptom(B)]
        assert metrics.alternative_counts(gold, [symptom(B), symptom(C)]) == (1, 2, 2)
        assert metrics.alternative_counts(gold, [symptom(A), symptom(B)]) == (2, 2, 2)
        assert metrics.alternative_counts([symptom(A, B)], [symptom(A), symptom(B)]) == (1, 2, 1)

    def test_entities_of_one_id_are_one(self) -> None:
        assert metrics.alternative_counts([symptom(A, B), symptom(A, C)], [symptom(C)]) == (1, 1, 1)

    def test_gold_without_an_id_is_optional(self) -> None:
        gold = [symptom(None, A), symptom(B)]
        assert metrics.alternative_counts(gold, [symptom(B)]) == (1, 1, 1)
        assert metrics.alternative_counts(gold, [symptom(A), symptom(B)]) == (1, 1, 1)
        assert metrics.alternative_counts(gold, [symptom(A), symptom(C)]) == (0, 1, 1)
        # The optional one never takes a prediction from one that needs it: A serves B's entity.
        assert metrics.alternative_counts([symptom(None, A), symptom(B, A)], [symptom(A)]) == (1, 1, 1)

    def test_alternatives_of_another_assertion(self) -> None:
        gold, predicted = [symptom(A, B, assertion=ABSENT)], [symptom(B, assertion=ABSENT)]
        assert metrics.alternative_counts(gold, predicted, ABSENT) == (1, 1, 1)
        assert metrics.alternative_counts(gold, predicted) == (0, 0, 0)

    annotations = st.lists(
        st.builds(symptom, st.sampled_from([A, B, C, D]), st.sampled_from([A, B, C, D])), max_size=6
    )

    @given(annotations, annotations)
    def test_alternatives_never_score_below_exact(self, gold: list[Annotation], found: list[Annotation]) -> None:
        exact = metrics.id_counts(metrics.ids(gold), metrics.ids(found))
        right, *sizes = metrics.alternative_counts(gold, found)
        assert right >= exact[0]
        assert sizes == list(exact[1:])

    def test_hierarchical(self) -> None:
        # Below the root: A <- B <- C, and A <- D. Gold C closes to {A, B, C}, predicted D to {A, D}.
        # Shared {A}: hP = 1/2, hR = 1/3, hF = 2 / (2 + 3).
        closure = {A: {A}, B: {A, B}, C: {A, B, C}, D: {A, D}}.__getitem__
        counts = metrics.hierarchical_counts({C}, {D}, closure)
        assert metrics.precision_recall(counts) == (2 / 5, 1 / 2, 1 / 3)
        # An ancestor predicted beside its descendant changes nothing: {B, C} closes to {A, B, C} too.
        assert metrics.hierarchical_counts({C}, {B, C}, closure) == (3, 3, 3)


MEANINGS = {"dry mouth": {A}, "xerostomia": {A}, "thirst": {B}, "cold": {C, D}}


class TestNames:
    def count(self, gold: list[Annotation], *names: str) -> metrics.Counts:
        return metrics.name_counts(
            gold, [Annotation(SYMPTOM, name=n) for n in names], lambda name: MEANINGS.get(name, set())
        )

    def test_a_synonym_and_an_alternative_count(self) -> None:
        # Two names of two entities: the synonym is right, "thirst" is right as the alternative of C.
        assert self.count([symptom(A), symptom(C, B)], "dry mouth", "thirst") == (2, 2, 2)

    def test_one_of_the_meanings_of_an_ambiguous_name_is_enough(self) -> None:
        assert self.count([symptom(D)], "cold") == (1, 1, 1)

    def test_each_entity_is_named_once(self) -> None:
        assert self.count([symptom(A)], "dry mouth", "xerostomia", "unheard of") == (1, 3, 1)

    def test_an_entity_without_an_id_accepts_its_words_and_no_other_entity_does(self) -> None:
        without = Annotation(SYMPTOM, quote="Brain zaps", assertion=PRESENT)
        assert self.count([without], "brain zap") == (1, 1, 1)
        assert self.count([Annotation(SYMPTOM, quote="desert in there", hpo_id=A)], "desert in there") == (0, 1, 1)

    def test_medicines_are_left_out(self) -> None:
        assert self.count([Annotation(MED, quote="aspirin")], "aspirin") == (0, 1, 0)


class TestCalibration:
    def test_expected_error(self) -> None:
        # Bin 0.9-1: confidences 0.95 and 1.0, one right: |1/2 - 0.975| = 0.475, two of four entities.
        # Bin 0.5-0.6: 0.5 and 0.55, both right: |1 - 0.525| = 0.475, two of four. Together 0.475.
        gold = [mention(0, 1, hpo_id=A), mention(2, 3, MED), mention(4, 5, hpo_id=B, alt_ids=frozenset({C}))]
        predicted = [
            mention(0, 1, hpo_id=A, confidence=0.5),
            mention(2, 3, MED, confidence=0.55),
            mention(4, 5, hpo_id=C, confidence=0.95),
            mention(8, 9, hpo_id=A, confidence=1.0),
        ]
        counts = metrics.calibration_counts(predicted, metrics.align(gold, predicted))
        assert counts[15:18] == (2, 1.05, 2)
        assert counts[27:30] == (2, 1.95, 1)
        assert metrics.calibration_error(counts) == pytest.approx((0.475,))

    @pytest.mark.parametrize(
        ("gold", "predicted", "right"),
        [
            (mention(0, 1, hpo_id=A), mention(0, 1, hpo_id=B), 0),
            (mention(0, 1, hpo_id=A), mention(0, 1), 0),
            (mention(0, 1), mention(0, 1), 1),
            (mention(0, 1), mention(0, 1, hpo_id=A), 0),
            (mention(0, 1, MED), mention(0, 1, TRIGGER), 0),
            (mention(0, 1, hpo_id=A), mention(0, 1, hpo_id=A, assertion=ABSENT), 1),
        ],
    )
    def test_what_is_right(self, gold: Annotation, predicted: Annotation, right: int) -> None:
        sure = Annotation(predicted.type, 0, 1, predicted.assertion, predicted.hpo_id, confidence=0.0)
        assert metrics.calibration_counts([sure], [(gold, sure)])[:3] == (1, 0.0, right)


def test_nothing_to_divide_by_gives_no_value() -> None:
    assert metrics.precision_recall((0, 0, 0)) == (None, None, None)
    assert metrics.precision_recall((0, 0, 4)) == (0.0, None, 0.0)
    assert metrics.macro_f1((0,) * 15) == (None,)
    assert metrics.calibration_error((0,) * 30) == (None,)


class TestFigures:
    knowledge = Knowledge(lambda hpo_id: {hpo_id}, lambda name: set())

    def test_every_figure_is_counted_and_has_its_parts(self) -> None:
        entity = mention(0, 5, hpo_id=A, confidence=0.5, name="x", quote="x" * 5)
        counts = count(Document((entity,), (entity,), True), self.knowledge)
        assert set(counts) == set(FIGURES)
        assert all(len(f.value(counts[n])) == len(f.parts) for n, f in FIGURES.items())
        assert FIGURES["mention_overlap.symptom"].value(counts["mention_overlap.symptom"]) == (1.0, 1.0, 1.0)

    def test_a_tool_that_gives_ids_only_has_the_figures_of_ids_only(self) -> None:
        document = Document((mention(0, 5, hpo_id=A),), (Annotation(hpo_id=A),))
        assert applicable([document]) == ["id_exact", "id_alternatives", "id_hierarchical", "entities"]

    def test_a_system_that_finds_nothing_is_not_excused(self) -> None:
        names = applicable([Document((mention(0, 5, hpo_id=A),), (), True)])
        assert {"schema", "mention_exact", "assertion", "name"} <= set(names)


class TestBootstrap:
    def test_sums_are_exact(self) -> None:
        table = Table({"a": [(1, 2, 3), (10, 20, 30)], "b": [(0.5,), (0.25,)]})
        assert table.total() == {"a": (11, 22, 33), "b": (0.75,)}
        assert list(table.resampled([[0, 0], [1, 1]])) == [
            {"a": (2, 4, 6), "b": (1.0,)}, {"a": (20, 40, 60), "b": (0.5,)},
        ]  # fmt: skip

    def test_swapping_documents(self) -> None:
        first, second = Table({"a": [(1, 5), (2, 5)]}), Table({"a": [(30, 7), (40, 0)]})
        swapped = list(first.swapped(second, [bytes([0, 0]), bytes([1, 0]), bytes([1, 1])]))
        assert [(one["a"], other["a"]) for one, other in swapped] == [
            ((3, 10), (70, 7)), ((32, 12), (41, 5)), ((70, 7), (3, 10)),
        ]  # fmt: skip

    def test_the_interval_cuts_the_tails(self) -> None:
        # Of 0 ... 100 the 2.5th and 97.5th percentiles are 2.5 and 97.5; values that are missing do not count.
        assert bootstrap.interval([*map(float, range(101)), None]) == pytest.approx((2.5, 97.5))
        assert bootstrap.interval([None]) is None

    def test_the_interval_of_a_share_is_near_the_normal_one(self) -> None:
        # 400 documents, half right: standard error sqrt(0.25 / 400) = 0.025, 1.96 of it: 0.451 to 0.549.
        table = Table({"x": [(n % 2, 1) for n in range(400)]})
        sample = [metrics.share(sums["x"])[0] for sums in table.resampled(bootstrap.draws(400, 1_000))]
        assert bootstrap.interval(sample) == pytest.approx((0.451, 0.549), abs=0.006)

    def test_the_draws_are_the_same_each_time(self) -> None:
        assert bootstrap.draws(50, 3) == bootstrap.draws(50, 3)
        assert bootstrap.swaps(50, 3) == bootstrap.swaps(50, 3)

    def test_equal_systems_do_not_differ(self) -> None:
        table = Table({"x": [(n % 2, 1) for n in range(30)]})
        p = bootstrap.randomisation_test(table, table, {"x": metrics.share}, bootstrap.swaps(30, 200))
        assert p == {"x": 1.0}

    def test_p_is_the_share_of_swaps_as_extreme(self) -> None:
        # Three documents, all better: of the 8 swaps, "none" and "all" differ as much. p = (2 + 1) / (8 + 1).
        better, worse = Table({"x": [(1, 1)] * 3}), Table({"x": [(0, 1)] * 3})
        all_swaps = [bytes(n >> bit & 1 for bit in range(3)) for n in range(8)]
        p = bootstrap.randomisation_test(better, worse, {"x": metrics.share}, all_swaps)
        assert p == {"x": pytest.approx(3 / 9)}

    def test_p_agrees_with_the_sign_test(self) -> None:
        # Of 20 documents that differ 15 favour one side. The sign test: 2 * sum(C(20, k), k >= 15) / 2 ** 20.
        exact = 2 * sum(math.comb(20, k) for k in range(15, 21)) / 2**20
        one = Table({"x": [(int(n < 15), 1) for n in range(20)]})
        other = Table({"x": [(int(n >= 15), 1) for n in range(20)]})
        p = bootstrap.randomisation_test(one, other, {"x": metrics.share}, bootstrap.swaps(20, 4_000))
        assert p["x"] == pytest.approx(exact, abs=0.01)  # 0.0414

    def test_a_figure_without_a_value_has_no_p(self) -> None:
        none, some = Table({"x": [(0, 0)]}), Table({"x": [(1, 1)]})
        assert bootstrap.randomisation_test(none, some, {"x": metrics.share}, [b"\0"]) == {}
