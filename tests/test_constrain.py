"""Whatever a model likes best, a constrained answer parses, quotes the diary and names what the ontology knows."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, trainers

from clario.corpus import dataset
from clario.entities import Assertion, EntityType
from clario.errors import ModelError
from clario.extraction import constrain, prompt
from clario.extraction.constrain import RESERVE, Constraint, Writer
from clario.extraction.parse import strictly
from clario.extraction.vocabulary import Trie, Vocabulary, token_bytes
from clario.ontology.index import Index

NAMES = ("Headache", "Head tremor", "Pain", "Dry mouth", "Café-au-lait spot", 'Sign of "x"', "Z" * 101)
WORDS = (
    '":"',
    '","',
    '"},{"',
    '":"I',
    '"]}',
    "name",
    "_canonical",
    "symptom",
    " head",
    "head",
    "ache",
    "Head",
    "Pa",
)
END = 0
VALIDATION = Path(__file__).parent.parent / "data" / "corpus" / "validation.jsonl"
Choice = Callable[[Sequence[int]], int]


def _constraint(names: Sequence[str] = NAMES) -> Constraint:
    singles = [bytes([byte]) for byte in range(0x20, 0x100)]
    tokens = dict(enumerate([*singles, *(word.encode() for word in WORDS)], 1))
    return Constraint(Vocabulary(tokens, [END]), names)


TOY = _constraint()


def _finish(writer: Writer, choice: Choice) -> Writer:
    while not writer.done:
        writer.write(choice(writer.allowed().tolist()))
    return writer


def _wanting(constraint: Constraint, wanted: str) -> Choice:
    """Writes the bytes of a text, one by one where it must, then the end."""
    rest = wanted.encode()

    def choose(allowed: Sequence[int]) -> int:
        nonlocal rest
        content = constraint.vocabulary.content
        fit = [token for token in allowed if token != END and rest.startswith(content[token])]
        if not rest or not fit:
            assert (rest, allowed) == (b"", [END]), "this cannot be written"
            return END
        rest = rest[len(content[max(fit, key=lambda token: len(content[token]))]) :]
        return max(fit, key=lambda token: len(content[token]))

    return choose


def _answer(*rows: tuple[str, str, str, str]) -> str:
    keys = ("name_colloquial", "name_canonical", "type", "assertion")
    entities = [dict(zip(keys, row, strict=True)) for row in rows]
    return json.dumps({"entities": entities}, ensure_ascii=False, separators=(",", ":"))


def _can_write(text: str, answer: str, constraint: Constraint = TOY) -> bool:
    try:
        return bool(_finish(constraint.writer(text, 4000), _wanting(constraint, answer)).done)
    except AssertionError:
        return False


def _check(text: str, writer: Writer, names: Sequence[str], limit: int) -> None:
    raw = writer.output.decode()
    output = strictly(raw)
    assert output is not None
    assert writer.left >= 0
    assert len(output.entities) <= prompt.MOST_ENTITIES
    for entity in output.entities:
        quote, name = entity.name_colloquial, entity.name_canonical
        assert quote in text
        assert len(quote) <= prompt.LONGEST_QUOTE
        assert len(name) <= prompt.LONGEST_NAME
        assert name == quote or (name in names and entity.type in (EntityType.SYMPTOM, EntityType.LAB_MARKER))
    told = writer.entities()
    assert [one.start for one in told] == sorted(one.start for one in told)
    for one, entity in zip(told, output.entities, strict=False):
        assert text[one.start : one.end]
        assert len(told) < len(output.entities) or text[one.start : one.end] == entity.name_colloquial


TEXTS = st.one_of(
    st.text(max_size=80),
    st.text(st.sampled_from('head ache"\\{}[]:,\n\té頭痛अ🤕́<'), max_size=80),
    st.lists(st.sampled_from(["head", "ache", "headache", "Pain", '"entities":[', "x" * 90]), max_size=12).map(
        " ".join
    ),
)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(0, 2**32), st.integers(TOY.least, 900))
def test_random_choices_make_sound_answers(text: str, seed: int, limit: int) -> None:
    writer = _finish(TOY.writer(text, limit), random.Random(seed).choice)
    _check(text, writer, NAMES, limit)


def _never_ending(seed: int) -> Choice:
    """Of a model that goes on wherever it may."""
    numbers = random.Random(seed)

    def choose(allowed: Sequence[int]) -> int:
        content = TOY.vocabulary.content
        going_on = [token for token in allowed if not set(content.get(token, b'"')) & set(b'"]}')]
        return numbers.choice(going_on or allowed)

    return choose


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(0, 2**32), st.integers(TOY.least, 600))
def test_a_model_that_never_wants_to_end_is_ended(text: str, seed: int, limit: int) -> None:
    _check(text, _finish(TOY.writer(text, limit), _never_ending(seed)), NAMES, limit)


def test_what_the_limit_forced_is_no_entity() -> None:
    text = " ".join(f"word{number}" for number in range(60))
    writer = _finish(TOY.writer(text, TOY.least + RESERVE + 30), _never_ending(1))
    assert len(json.loads(writer.output)["entities"]) == 1
    assert (writer.cut, writer.entities()) == (0, [])


def test_a_limit_below_the_shortest_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        TOY.writer("head", TOY.least - 1)
    assert json.loads(_finish(TOY.writer("head", TOY.least), min).output) == {"entities": []}


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00\x01"])
def test_a_text_without_words_has_no_entities(text: str) -> None:
    writer = _finish(TOY.writer(text, 500), max)
    assert json.loads(writer.output) == {"entities": []}
    assert writer.entities() == []


def test_an_answer_is_written_as_the_prompt_shows_it() -> None:
    for text, entities in prompt.SHOTS:
        names = [entity.hpo_label for entity in entities if entity.hpo_label]
        constraint = _constraint(names)
        writer = _finish(constraint.writer(text, 4000), _wanting(constraint, prompt.answer(entities)))
        assert [(one.start, one.end) for one in writer.entities()] == [(e.start, e.end) for e in entities]
        assert writer.cut is None


def test_names_are_the_ontologys_or_the_quote() -> None:
    text = "my head hurts"
    assert _can_write(text, _answer(("head hurts", "Headache", "symptom", "present")))
    assert _can_write(text, _answer(("head hurts", "head hurts", "symptom", "present")))
    assert not _can_write(text, _answer(("head hurts", "Headaches", "symptom", "present")))
    assert not _can_write(text, _answer(("head hurts", "head", "symptom", "present")))


def test_only_symptoms_and_tests_have_names_of_the_ontology() -> None:
    text = "my head hurts"
    for kind in EntityType:
        named = _can_write(text, _answer(("head", "Headache", kind, "present")))
        assert named == (kind in (EntityType.SYMPTOM, EntityType.LAB_MARKER))
        assert _can_write(text, _answer(("head", "head", kind, "present")))
    assert _can_write("Pain", _answer(("Pain", "Pain", "med", "present")))


def test_types_and_assertions_are_forced() -> None:
    assert all(_can_write("head", _answer(("head", "head", "med", assertion))) for assertion in Assertion)
    assert not _can_write("head", _answer(("head", "head", "drug", "present")))
    assert not _can_write("head", _answer(("head", "head", "med", "maybe")))


def test_quotes_cut_no_word_and_keep_to_the_order() -> None:
    text = "headache and pain"
    assert not _can_write(text, _answer(("head", "head", "symptom", "present")))
    assert not _can_write(text, _answer(("ache", "ache", "symptom", "present")))
    assert not _can_write(text, _answer(("pain ", "pain ", "symptom", "present")))
    pain, ache = ("pain", "pain", "symptom", "present"), ("headache", "headache", "symptom", "present")
    assert _can_write(text, _answer(ache, pain))
    assert not _can_write(text, _answer(pain, ache))


def test_scripts_without_spaces_are_quoted_within() -> None:
    assert _can_write("昨日から頭痛がする", _answer(("頭痛", "頭痛", "symptom", "present")))
    assert not _can_write("मुझे सिरदर्द", _answer(("सि", "सि", "symptom", "present")))


def test_a_place_is_quoted_twice_at_most() -> None:
    row = ("head", "head", "med", "present")
    assert _can_write("head", _answer(row, row))
    assert not _can_write("head", _answer(row, row, row))


def test_of_several_places_the_next_one_is_meant() -> None:
    text = "pain, then rest, then pain"
    rows = [("pain", "pain", "symptom", "present"), ("rest", "rest", "behavior", "present")]
    writer = _finish(TOY.writer(text, 4000), _wanting(TOY, _answer(*rows, rows[0])))
    assert [one.start for one in writer.entities()] == [0, 11, 22]
    twice = _finish(TOY.writer(text, 4000), _wanting(TOY, _answer(rows[0], ("pain", "Pain", "symptom", "past"))))
    assert [one.start for one in twice.entities()] == [0, 22]


@pytest.mark.parametrize(
    "quote", ['a "big" one', "back\\slash", "two\nlines", "tab\there", "é 🤕 ok", "bell\x07bell"]
)
def test_quotes_are_escaped_as_json_wants_it(quote: str) -> None:
    text = f"so, {quote} it was"
    writer = _finish(TOY.writer(text, 4000), _wanting(TOY, _answer((quote, quote, "med", "present"))))
    (one,) = writer.entities()
    assert (text[one.start : one.end], one.name) == (quote, quote)


def test_a_quote_too_long_for_a_name_has_one_of_the_ontology() -> None:
    quote = " ".join(["word"] * 30)
    assert _can_write(quote, _answer((quote, "Headache", "symptom", "present")))
    assert not _can_write(quote, _answer((quote, quote, "symptom", "present")))
    endless = " ".join(["word"] * 60)
    assert not _can_write(endless, _answer((endless, "Headache", "symptom", "present")))


def test_sureness_is_of_the_tokens_that_choose_name_and_type() -> None:
    writer, choice = TOY.writer("head", 4000), _wanting(TOY, _answer(("head", "Headache", "symptom", "present")))
    while not writer.done:
        written = writer.output.decode()
        naming = written.endswith(('canonical":"', "Head", "ache")) and "canonical" in written
        writer.write(choice(writer.allowed().tolist()), 0.25 if naming else 0.75)
    assert writer.entities()[0].sure == (0.25, 0.25, 0.25, 0.75)


def test_a_token_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(ValueError, match="not allowed"):
        TOY.writer("head", 500).write(1)


def test_a_trie_finds_what_was_put_into_it() -> None:
    words = {word.encode(): number for number, word in enumerate(["a", "ab", "abcd", "b", "bé", "zz"])}
    trie = Trie(words)
    for word, number in words.items():
        node = 0
        for byte in word:
            node = trie.children(node)[byte]
        assert (trie.value[node], trie.to_end[node]) == (number, 0)
    assert sorted(trie.children(0)) == sorted(b"abz")
    assert trie.to_end[trie.children(trie.children(trie.children(0)[0x61])[0x62])[0x63]] == 1


def test_a_tokenizer_that_cannot_write_everything_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot write"):
        Vocabulary({1: b"a"}, [END])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A real tokenizer of Gemma's kind: BPE with "▁" for spaces and single bytes for what it does not know."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    diaries = dataset.load(VALIDATION)[:40]
    texts = [text for diary in diaries for text in (diary.text, prompt.answer(diary.entities))]
    single = [f"<0x{byte:02X}>" for byte in range(256)]
    special = ["<unk>", prompt.END]
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=3000, special_tokens=special, show_progress=False)
    )
    described = json.loads(made.to_str())
    vocabulary = described["model"]["vocab"]
    vocabulary.update({token: len(vocabulary) + number for number, token in enumerate(single)})
    return Tokenizer.from_str(json.dumps(described))


NARROW = ("Pain", "Headache", "Head tremor")
LONG = "Zz" * 40


def test_names_may_be_narrowed_for_a_quote() -> None:
    asked = list[tuple[int, int]]()

    def narrow(span: tuple[int, int]) -> Sequence[str]:
        asked.append(span)
        return NARROW if span == (3, 7) else ()

    def can_write(quote: str, name: str) -> bool:
        writer = TOY.writer("my head hurts", 4000, narrow)
        try:
            _finish(writer, _wanting(TOY, _answer((quote, name, "symptom", "present"))))
        except AssertionError:
            return False
        return True

    assert can_write("head", "Pain")
    assert can_write("head", "head")
    assert not can_write("head", "Dry mouth")
    assert can_write("hurts", "Dry mouth")
    assert set(asked) == {(3, 7), (8, 13)}


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(0, 2**32), st.integers(TOY.least, 900), st.sampled_from([NARROW, (LONG,), (LONG * 4,)]))
def test_narrowed_answers_are_sound_too(text: str, seed: int, limit: int, names: Sequence[str]) -> None:
    writer = _finish(TOY.writer(text, limit, lambda span: names), random.Random(seed).choice)
    _check(text, writer, (*NAMES, LONG), limit)


def test_gold_answers_are_allowed_token_by_token(tokenizer: Tokenizer, index: Index) -> None:
    end = tokenizer.token_to_id(prompt.END)
    vocabulary = Vocabulary(token_bytes(json.loads(tokenizer.to_str())), [end])
    constraint = Constraint(vocabulary, (name.text for name in index.names))
    for diary in dataset.load(VALIDATION)[:6]:
        writer, answer = constraint.writer(diary.text, 4000), prompt.answer(diary.entities)
        for token in [*tokenizer.encode(answer, add_special_tokens=False).ids, end]:
            assert token in writer.allowed()
            writer.write(token)
        assert writer.output.decode() == answer
        gold = sorted((e.start, e.end, e.type, e.assertion) for e in diary.entities)
        assert [(e.start, e.end, e.type, e.assertion) for e in writer.entities()] == gold


def test_a_real_tokenizer_decodes_to_what_was_written(tokenizer: Tokenizer) -> None:
    end = tokenizer.token_to_id(prompt.END)
    constraint = Constraint(Vocabulary(token_bytes(json.loads(tokenizer.to_str())), [end]), NAMES)
    text = 'Head "hurts" 🤕 頭痛 since\nlunch, no Café today'
    for seed in range(10):
        writer, numbers, tokens = constraint.writer(text, 1500), random.Random(seed), list[int]()
        while not writer.done:
            tokens.append(numbers.choice(writer.allowed().tolist()))
            writer.write(tokens[-1])
        assert tokenizer.decode(tokens[:-1], skip_special_tokens=False) == writer.output.decode()
        _check(text, writer, NAMES, 1500)


def test_byte_level_vocabularies_are_understood() -> None:
    described = {
        "model": {"vocab": {"Ġhead": 0, "Ċ": 1, "<s>": 2}}, "decoder": {"type": "ByteLevel"},
        "added_tokens": [{"id": 2, "content": "<s>", "special": True}],
    }  # fmt: skip
    assert token_bytes(described) == {0: b" head", 1: b"\n"}


def test_states_of_no_diary_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    constraint = _constraint()
    row = _answer(("head", "Headache", "symptom", "present"))
    _finish(constraint.writer("head", 500), _wanting(constraint, row))
    known = set(constraint.cached)
    _finish(constraint.writer("my head", 500), _wanting(constraint, row))
    assert set(constraint.cached) == known
    monkeypatch.setattr(constrain, "_MOST_CACHED", len(known))
    _finish(constraint.writer("head", 500), _wanting(constraint, _answer(("head", "Pain", "symptom", "past"))))
    assert len(constraint.cached) <= len(known)
