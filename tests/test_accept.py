"""What passes as a diary of the corpus, and what is refused with which reason; near-duplicates."""

import json
from pathlib import Path

import jsonschema
import pytest
from chat_server import (
    DRY,
    PROFILES,
    TIRED,
    Answering,
    Teacher,
    answer,
    distill,
    entity,
    filler,
    good,
    lines,
    whole,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from clario.corpus import duplicates, prompting, teacher
from clario.corpus.accept import Answer, Checker, Refused, align, parse
from clario.corpus.naming import Naming
from clario.ontology.index import Index
from clario.ontology.resolver import Resolver

pytestmark = pytest.mark.usefixtures("quick_teaching")


REFUSED: list[tuple[str, Answering, str]] = [
    ("no json", answer("Sure! Here is a diary."), "not one whole JSON object"),
    ("cut json", answer(json.dumps(good(901))[:-40]), "not one whole JSON object"),
    ("a book", answer("{" + " " * 100_001 + "}"), "more than 100,000 characters"),
    ("a long name", answer(good(916, entities=[TIRED | {"name": "Fatique " * 9_000}])), "no phenotype is named"),
    ("a long quote", answer(good(917, entities=[TIRED | {"quote": "four " * 9_000}])), "not copied letter"),
    ("deep json", answer("[" * 100_000), "not one whole JSON object"),
    ("a list", answer("[1, 2]"), "not of the shape"),
    ("a missing field", answer({"text": "x"}), "entities: Field required"),
    ("an unknown type", answer(good(902, entities=[entity("flat", "Fatigue", type="mood")])), "entities.0.type"),
    ("a foreign quote", answer(good(903, entities=[entity("dry as dust", "Xerostomia")])), "not copied letter"),
    ("half a word", answer(good(904, entities=[entity("outh like sand", "Xerostomia")])), "not copied letter"),
    ("the disease", answer(good(905, text=" ".join(filler(905)) + " it is Sjogren's.")), "names the disorder"),
    ("too short", answer(good(906, text="mouth like sandpaper, flat out by four.")), "the text has 7 words"),
    ("too long", answer(good(907, text=" ".join(filler(907, 161)))), "the text has 161 words"),
    ("half a character", answer(good(908, text=" ".join(filler(908)) + " \ud800")), "halves of characters"),
    ("an unknown name", answer(good(909, entities=[TIRED | {"name": "Sofa proneness"}])), "no phenotype is named"),
    ("no name", answer(good(910, entities=[TIRED | {"name": ""}])), "no phenotype is named"),
    ("no entity", answer(good(911, entities=[])), "fewer than 2 entities"),
    ("the example",
     answer({"text": prompting.EXAMPLE, "entities": [TIRED | {"quote": quote} for quote in ("fits", "boy")]}),
     "nearly the same"),
    ("nothing asked for", answer(good(913, entities=[TIRED | {"name": "Nausea"}, DRY | {"name": "Vomiting"}])),
     "none of the phenotypes"),
    ("two assertions", answer(good(914, entities=[TIRED, TIRED | {"assertion": "absent"}])), "two assertions"),
    ("an empty answer", answer(""), "the answer is empty"),
    ("cut off", answer(good(915), done_reason="length"), "limit of tokens"),
    ("no json at all", whole(b"<html>Welcome</html>"), "reply is not JSON"),
    ("an error inside", whole({"error": "model runner has stopped"}), "reports an error"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_bad_answer_is_asked_for_again_with_the_reason(
    teaching: Teacher, tmp_path: Path, reply: Answering, reason: str
) -> None:
    teaching.line.append(reply)
    code, said = distill(teaching.url, tmp_path / "a.jsonl")
    assert code == 0, said
    first, second = teaching.asked(0), teaching.asked(1)
    assert second.startswith(first)
    assert reason in second.removeprefix(first)
    (diary,) = lines(tmp_path / "a.jsonl")
    assert diary["provenance"]["attempts"] == 2
    assert teaching.requests[0]["options"]["seed"] != teaching.requests[1]["options"]["seed"]
    assert "1 answers refused" in said


def test_the_ontologys_own_words_may_be_few(resolver: Resolver, index: Index) -> None:
    told = (
        "By four I have a dry mouth and fatigue and arthralgia, with mouth like sandpaper and no diarrhea at all."
    )
    names = {"dry mouth": "Xerostomia", "fatigue": "Fatigue", "arthralgia": "Arthralgia"}
    profile = teacher.read_profiles(PROFILES, index)[0]
    copied = [entity(quote, name) for quote, name in names.items()]
    with pytest.raises(Refused, match="3 of 3 quotes") as refused:
        Checker(resolver).accept(Answer(text=told, entities=copied), profile, blank=False)
    assert "dry mouth, fatigue, arthralgia" in refused.value.advice
    few = [
        copied[0],
        entity("mouth like sandpaper", "Xerostomia"),
        entity("diarrhea", "Diarrhea", assertion="absent"),
    ]
    assert Checker(resolver).accept(Answer(text=told, entities=few), profile, blank=False)


def test_an_entry_without_symptoms(resolver: Resolver, index: Index) -> None:
    text = "Library books back, bread, the number 7 was late again and Jean sends her love. Thyroxine at eight."
    profile = teacher.read_profiles(PROFILES, index)[0]
    medicine = Answer(text=text, entities=[entity("Thyroxine", "", type="med")])
    assert Checker(resolver).accept(medicine, profile, blank=True).entities[0].hpo_id is None
    assert Checker(resolver).accept(Answer(text=text, entities=[]), profile, blank=True).entities == ()
    symptom = Answer(text=text, entities=[entity("late", "Fatigue")])
    with pytest.raises(Refused, match="symptom is told"):
        Checker(resolver).accept(symptom, profile, blank=True)


@pytest.mark.parametrize(
    "content",
    [
        "```json\n" + json.dumps(good(7), indent=1) + "\n```",
        "Here it is:\n```\n" + json.dumps(good(7)) + "```\nAnything else?",
        "<think>{a diary}</think>\n" + json.dumps(good(7)),
        json.dumps(good(7, hpo_ids=["HP:0000001"], entities=[
            entity("mouth like sandpaper", "Xerostomia") | {"hpo_id": "HP:9999999", "start": 0, "type": "Symptom"},
            entity("mouth like sandpaper", "Dry mouth"),  # the same again
            entity("Mouth  like\nsandpaper", "xerostomia"),
            entity("flat out by four", "Tiredness", assertion=" PRESENT "),
        ])),
    ],
)  # fmt: skip
def test_what_is_right_passes_whatever_is_around_it(teaching: Teacher, tmp_path: Path, content: str) -> None:
    teaching.line.append(answer(content))
    code, said = distill(teaching.url, tmp_path / "a.jsonl")
    assert code == 0, said
    assert len(teaching.requests) == 1
    found = lines(tmp_path / "a.jsonl")[0]["entities"]
    assert [e["hpo_id"] for e in found] == ["HP:0000217", "HP:0012378"]
    assert [e["name_colloquial"] for e in found] == ["mouth like sandpaper", "flat out by four"]


@pytest.mark.parametrize(
    ("quote", "text", "found"),
    [
        ("can't  swallow", "I can’t\nswallow", "can’t\nswallow"),
        ('a "frog" in it', "a “frog” in it", "a “frog” in it"),
        ("so - so", "so – so", "so – so"),
        ("Sore", "soreness, then sore", "sore"),
        ("dry", "laundry", None),
        ("c++ (bad)", "a c++ (bad) day", "c++ (bad)"),
        (" ", "any thing", None),
        ("wait... what", "wait… what", None),
        ("wait… what", "wait... what", "wait... what"),
    ],
)
def test_where_a_quote_stands(quote: str, text: str, found: str | None) -> None:
    place = align(quote, text)
    assert (place and text[slice(*place)]) == found


def test_a_quote_that_stands_twice_is_two_places() -> None:
    text = "pain at noon, pain at night"
    assert align("pain", text) == (0, 4)
    assert align("pain", text, [(0, 4)]) == (14, 18)
    assert align("pain", text, [(0, 4), (14, 18)]) == (0, 4)


@settings(max_examples=50)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Zs", "Cc", "Zl", "Zp"]), min_size=1), min_size=1
    ),
    st.data(),
)
def test_any_stretch_of_whole_words_is_found_whatever_its_spaces(words: list[str], data: st.DataObject) -> None:
    words = [word for word in words if word.split() == [word]] or ["x"]
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    place = align("\t".join(words[start:end]), "  ".join(words))
    assert place is not None
    text = "  ".join(words)[slice(*place)]
    assert (
        text.split() == words[start:end]
        or text.casefold().split() == " ".join(words[start:end]).casefold().split()
    )


def test_a_name_that_means_several_terms_keeps_them_as_alternatives(resolver: Resolver, index: Index) -> None:
    groups = map(index.names.at, range(len(index.names.keys)))
    shared = next(names for names in groups if len(names) == 2 and names[0][::2] == names[1][::2])
    profile = teacher.read_profiles(PROFILES, index)[0]
    given = good(3)["entities"] + [entity("sandpaper", shared[0].text)]
    found = Checker(resolver).accept(Answer(text=good(3)["text"], entities=given), profile, blank=False)
    (tied,) = (e for e in found.entities if e.name_colloquial == "sandpaper")
    assert {tied.hpo_id, *tied.alt_ids} == {name.hpo_id for name in shared}


def test_only_an_abnormal_laboratory_value_has_a_term(resolver: Resolver, index: Index) -> None:
    text = "Mouth like sandpaper, flat out by four. My blood sugar was 2.1 on Tuesday, ferritin 80 fine."
    profile = teacher.read_profiles(PROFILES, index)[0]
    values = [
        entity("blood sugar was 2.1", "Hypoglycemia", "lab_marker"),
        entity("ferritin 80", "ferritin", "lab_marker"),
    ]
    given = [*good(1)["entities"], *values]
    found = Checker(resolver).accept(Answer(text=text, entities=given), profile, blank=False)
    assert [e.hpo_label for e in found.entities if e.type == "lab_marker"] == ["Hypoglycemia", None]


@pytest.mark.parametrize(
    ("text", "disorder", "found"),
    [
        ("They think it is Behcet's disease.", "Behçet disease", "Behcet's disease"),
        ("A Klippel-Trenaunay leg", "Klippel-Trénaunay syndrome", "Klippel-Trenaunay"),
        ("Classic Ehlers, they said", "Classical Ehlers-Danlos syndrome", "Ehlers"),
        ("the Marfan clinic", "Marfan syndrome", "Marfan"),
        ("She has Down", "Down syndrome", "Down"),
        ("lie down", "Down syndrome", None),
        ("my narcolepsy", "Narcolepsy type 1", None),  # a phenotype, too
        ("narcolepsy type 1", "Narcolepsy type 1", "narcolepsy type 1"),
        ("any stiff person can tell", "Stiff person spectrum disorder", None),
        ("his cleft lip", "Isolated cleft lip", None),
        ("a cleft-lip-webbed-toes child", "Cleft lip-webbed toes syndrome", "cleft-lip-webbed-toes"),
        ("type 2, I think", "Usher syndrome type 2", None),
    ],
)
def test_naming_the_disorder(index: Index, text: str, disorder: str, found: str | None) -> None:
    assert Naming(index).named(text, disorder) == found


def test_the_schema_and_the_check_ask_for_the_same() -> None:
    jsonschema.Draft202012Validator.check_schema(prompting.SCHEMA)
    jsonschema.validate(good(1), prompting.SCHEMA)
    shown = json.loads(prompting.SYSTEM[prompting.SYSTEM.index('{"text": "') :])
    jsonschema.validate(shown, prompting.SCHEMA)
    assert all(align(e["quote"], shown["text"]) for e in shown["entities"])
    assert set(prompting.SCHEMA["properties"]) == set(Answer.model_fields)
    assert parse(json.dumps(shown)).text == prompting.EXAMPLE


def test_a_changed_copy_is_a_near_duplicate_and_a_retelling_is_not() -> None:
    text = (
        "Mouth so dry again I cannot swallow toast without water, and by four o'clock I am flat out on the sofa."
    )
    changed = text.replace("toast", "bread").replace("four o'clock", "five")
    part, longer = text.split(", and")[0], f"{text} {' '.join(filler(200, 60))}"
    retold = "Toast won't go down unless I drink with it. Come teatime, nobody gets me off the settee."
    assert duplicates.similarity(text, changed) > 0.9
    assert duplicates.similarity(text, part) == duplicates.similarity(part, longer) == 1
    assert duplicates.similarity(text, retold) == 0
    assert duplicates.near_duplicates([text, retold, changed], 0.8) == [
        (0, 2, duplicates.similarity(text, changed))
    ]
    assert duplicates.near_duplicates(["", "  ", "?", "Hi", "hi!"]) == [(3, 4, 1.0)]


SENTENCES = st.lists(st.sampled_from([" ".join(filler(n, 6)) for n in range(8)] + ["a", "dry"]), max_size=6)


@settings(max_examples=60)
@given(st.lists(SENTENCES.map(" ".join), max_size=7), st.floats(0.3, 1))
def test_the_index_finds_what_comparing_each_with_each_finds(texts: list[str], threshold: float) -> None:
    expected = [
        (first, second, duplicates.similarity(texts[first], texts[second]))
        for first in range(len(texts))
        for second in range(first + 1, len(texts))
        if duplicates.similarity(texts[first], texts[second]) >= threshold
    ]
    assert duplicates.near_duplicates(texts, threshold) == expected
