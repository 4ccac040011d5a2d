"""The dense stage of the resolver, with the encoder that ships: what people say, deny, and where it is absent."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clario.entities import EntityType, MatchMethod, Mention
from clario.extraction.base import Extractor
from clario.ontology.dense import Near
from clario.ontology.index import PHENOTYPIC_ABNORMALITY, Index
from clario.ontology.meaning import UNSET, Setting
from clario.ontology.release import load
from clario.ontology.resolver import Resolution, Resolver
from clario.pipeline import Clario

SAID = [
    ("my heart flutters", "Palpitations"),
    ("hands go white in the cold", "Raynaud phenomenon"),
    ("no sweat at all", "Anhidrosis"),
]
NOTHING = [
    "",
    "?!",
    "\x00",
    "\ud800",
    "12",
    "no",
    "the of in",
    "xyzzy",
    "left",
    "my husband",
    "paracetamol",
    "x " * 400,
]
DENIED = [
    "no fever",
    "no burning feeling when peeing",
    "without any rash",
    "no swelling of my ankles",
    "no headaches",
]


@cache
def resolver() -> Resolver:
    return Resolver(load())


def ask(phrase: str) -> Resolution:
    return resolver().resolve(phrase, dense=True)


@pytest.mark.parametrize(("phrase", "label"), SAID)
def test_what_people_say_finds_its_term_when_asked_for(phrase: str, label: str) -> None:
    answer = ask(phrase)
    assert (answer.label, answer.method, answer.name) == (label, "dense", label)
    assert resolver().resolve(phrase).method == "none"
    scores = [answer.score, *(c.score for c in answer.candidates)]
    assert len(scores) == 6
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("phrase", NOTHING)
def test_what_means_no_term_finds_none(phrase: str) -> None:
    assert ask(phrase).method == "none"


@pytest.mark.parametrize("phrase", DENIED)
def test_what_is_denied_is_not_found(phrase: str) -> None:
    assert ask(phrase).hpo_id is None


def test_the_stages_before_it_answer_first() -> None:
    for name in ("dry mouth", "Xerostomya", "head ache", "hypxtension"):
        assert ask(name) == resolver().resolve(name)
    assert resolver().resolve("my heart flutters", "dry mouth", dense=True).label == "Xerostomia"


def test_as_many_candidates_as_asked_for() -> None:
    for count in (0, 1, 8):
        assert len(resolver().resolve("my heart flutters", candidates=count, dense=True).candidates) == count


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60), st.lists(st.sampled_from("my legs no hot cold eyes hurt".split())).map(" ".join)
    )
)
def test_any_phrase_gets_live_terms_below_phenotypic_abnormality_or_none(phrase: str) -> None:
    answer, index = ask(phrase), resolver().index
    if answer.method == "dense":
        for hpo_id in (answer.hpo_id, *(c.hpo_id for c in answer.candidates)):
            assert hpo_id
            assert index.live(hpo_id) == hpo_id != PHENOTYPIC_ABNORMALITY
            assert index.is_phenotypic(hpo_id)
        assert resolver().meaning.setting.least - 1e-4 <= answer.score <= 1
    assert ask(phrase) == answer


def test_the_root_itself_is_no_answer() -> None:
    meaning = resolver().meaning
    (near,) = meaning.vectors.nearest(meaning.encoder.phrases(["abnormality of the phenotype"]), 5)
    assert PHENOTYPIC_ABNORMALITY in {one.hpo_id for one in near}
    assert PHENOTYPIC_ABNORMALITY not in {one.hpo_id for one in meaning.nearest("abnormality of the phenotype", 5)}


def test_threads_that_come_first_together_get_the_same_answers() -> None:
    phrases = [phrase for phrase, _ in SAID] * 8
    fresh = Resolver(load())
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda phrase: fresh.resolve(phrase, dense=True), phrases)) == list(map(ask, phrases))


def test_nothing_heavy_is_loaded_before_a_phrase_reaches_the_stage() -> None:
    code = (
        "import sys; from clario.ontology import release; from clario.ontology.resolver import Resolver\n"
        "heavy = {'numpy', 'onnxruntime', 'tokenizers'}; r = Resolver(release.load())\n"
        "r.resolve('dry mouth', dense=True); r.resolve('legs of lead'); assert not heavy & set(sys.modules)\n"
        "r.resolve('my heart flutters', dense=True); assert heavy <= set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_is_absent_where_the_vectors_are_of_another_index(old: Index) -> None:
    assert resolver().has_dense
    assert not Resolver(old).has_dense
    assert Resolver(old).resolve("my heart flutters", dense=True).method == "none"


def test_likelihood_grows_with_score_and_lead_and_only_the_first_leads() -> None:
    assert UNSET.probability(0.9, 0.1) > UNSET.probability(0.9, 0.0) > UNSET.probability(0.8, 0.0)
    near = [Near("HP:0000001", 0.95), Near("HP:0000002", 0.93), Near("HP:0000003", 0.9)]
    likely = UNSET.likely(near)
    assert [one.hpo_id for one in likely] == [one.hpo_id for one in near]
    assert likely[0].score == UNSET.probability(0.95, 0.95 - 0.93)
    assert likely[1].score == UNSET.probability(0.93, 0.93 - 0.95)
    assert UNSET.likely([]) == []


def test_a_model_without_a_setting_has_the_usual_one() -> None:
    assert Setting.of({}) == Setting.of({"calibration": {"term": []}}) == UNSET
    given = {"calibration": {"dense": {"weights": [-1.0, 2.0, 3.0], "least": 0.7}}}
    assert Setting.of(given) == Setting((-1.0, 2.0, 3.0), 0.7)


class Naming(Extractor):
    """Says that the first words are a mention, of the type and with the name that it is given."""

    name, version = "naming", "1"
    kind, proposed = EntityType.SYMPTOM, ""

    def extract(self, texts: Sequence[str]) -> list[list[Mention]]:
        quote = "My heart flutters"
        mention = Mention(
            type=self.kind, name_colloquial=quote, start=0, end=len(quote),
            name_canonical=self.proposed or quote, confidence=1,
        )  # fmt: skip
        return [[mention] for _ in texts]


@pytest.mark.parametrize(
    ("kind", "proposed", "label"),
    [
        (EntityType.SYMPTOM, "fluttering of the heart muscle", "Palpitations"),
        (EntityType.SYMPTOM, "", None),  # it knows no term
        (EntityType.SYMPTOM, "MY HEART FLUTTERS", None),
        (EntityType.LAB_MARKER, "fluttering of the heart muscle", None),
        (EntityType.MED, "fluttering of the heart muscle", None),
    ],
)
def test_extractors_get_it_for_symptoms_that_they_name(kind: EntityType, proposed: str, label: str | None) -> None:
    extractor = Naming(resolver())
    extractor.kind, extractor.proposed = kind, proposed
    (entity,) = Clario(extractor).extract("My heart flutters again.").entities
    assert entity.hpo_label == label
    assert entity.match.method == (MatchMethod.DENSE if label else MatchMethod.NONE)
