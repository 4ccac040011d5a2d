"""The endpoints of the sidecar, through a real socket."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")

import httpx
from service_server import Scripted, figure, running, wait_until

from clario.entities import Extraction
from clario.ontology.resolver import Resolver
from clario.pipeline import Clario
from clario.service.problems import CODES

GOLDEN = Path(__file__).parent / "golden"
DRY = "Mouth so dry again. No fever. My mum has migraines."


@pytest.fixture(scope="module")
def lexicon() -> Clario:
    return Clario("lexicon")


@pytest.fixture(scope="module")
def client(lexicon: Clario) -> Iterator[httpx.Client]:
    with running(lexicon) as client:
        wait_until(lambda: client.get("/ready").is_success)
        yield client


def test_the_reference_client_is_answered_as_the_golden_file_has_it(client: httpx.Client) -> None:
    asked = json.loads((GOLDEN / "sidecar_request.json").read_text("utf-8"))
    answer = client.post("/extract", json=asked)
    assert answer.status_code == 200
    assert answer.json() == json.loads((GOLDEN / "sidecar_answer.json").read_text("utf-8"))


def test_what_the_reference_client_reads_is_there_and_of_its_kind(client: httpx.Client) -> None:
    """As its parser has it: types of its vocabulary, lower-case names, attributes, a hint or null."""
    known = {"symptom", "trigger", "bodypart", "med", "lab_marker", "food", "activity", "emotion", "other"}
    text = "Mouth so dry, TSH was high, took ibuprofen. The sun makes it worse. I stay in bed all day."
    body = client.post("/extract", json={"diary": text, "ts_recorded": "2026-11-25T20:15:00+00:00"}).json()
    assert set(body) == {"entities", "ts_event_hint"}
    assert len(body["entities"]) > 2
    for entity in body["entities"]:
        assert set(entity) == {"type", "name", "attrs"}
        assert entity["type"] in known
        assert entity["name"] == entity["name"].strip().lower() != ""
        attrs = entity["attrs"]
        assert attrs["name_colloquial"] == text[attrs["start"] : attrs["end"]]
        assert "hpo_id" not in attrs or re.fullmatch(r"HP:\d{7}", attrs["hpo_id"])


def test_denied_and_others_symptoms_carry_their_assertion(client: httpx.Client) -> None:
    entities = client.post("/extract", json={"diary": DRY}).json()["entities"]
    assert [(e["name"], e["attrs"]["assertion"]) for e in entities] == [
        ("xerostomia", "present"), ("fever", "absent"), ("migraine", "other"),
    ]  # fmt: skip


def test_a_client_that_reads_no_assertions_can_be_spared_them(lexicon: Clario) -> None:
    with running(lexicon, own_only=True) as client:
        assert [e["name"] for e in client.post("/extract", json={"diary": DRY}).json()["entities"]] == [
            "xerostomia"
        ]
        assert len(client.post("/v1/extract", json={"text": DRY}).json()["entities"]) == 3


@pytest.mark.parametrize("recorded", [None, "", "no date"])
def test_any_time_of_recording_is_taken_from_the_reference_client(
    client: httpx.Client, recorded: str | None
) -> None:
    answer = client.post("/extract", json={"diary": "Dry mouth since yesterday", "ts_recorded": recorded})
    assert (answer.status_code, answer.json()["ts_event_hint"]) == (200, None)


def test_the_hint_is_told_from_the_time_of_recording(client: httpx.Client) -> None:
    asked = {"diary": "Yesterday my mouth was dry.", "ts_recorded": "2026-11-25T20:15:00Z"}
    assert client.post("/extract", json=asked).json()["ts_event_hint"] == "2026-11-24"


def test_an_empty_diary_has_no_entities_and_is_no_fault(client: httpx.Client) -> None:
    answer = client.post("/extract", json={"diary": " \n"})
    assert (answer.status_code, answer.json()["entities"]) == (200, [])


def test_one_diary_gives_what_the_library_gives(client: httpx.Client, lexicon: Clario) -> None:
    answer = client.post("/v1/extract", json={"id": "monday", "text": DRY})
    assert Extraction.model_validate_json(answer.content) == lexicon.extract(DRY, id="monday")


def test_many_diaries_come_as_lines_in_their_order(client: httpx.Client, lexicon: Clario) -> None:
    texts = [f"{word} hurts" for word in ("knee", "head", "back", "throat")] * 25
    answer = client.post("/v1/extract", json={"diaries": [{"text": text} for text in texts]})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [Extraction.model_validate_json(line) for line in answer.text.splitlines()]
    assert lines == list(lexicon.extract_many(texts))


def test_one_diary_comes_as_a_line_where_lines_are_asked_for(client: httpx.Client) -> None:
    answer = client.post("/v1/extract", json={"text": DRY}, headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.count("\n") == 1


def test_a_stream_does_not_wait_for_its_last_text(resolver: Resolver) -> None:
    held = threading.Event()
    scripted = Scripted(resolver, lambda texts: held.wait(10) if "last" in texts else None)
    asked = {"diaries": [{"text": f"word{n}"} for n in range(40)] + [{"text": "last"}]}
    with running(Clario(scripted)) as client, client.stream("POST", "/v1/extract", json=asked) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines))["id"] == "0"
        held.set()
        assert len(list(lines)) == 40


def test_a_text_that_fails_in_a_stream_stands_in_its_place(resolver: Resolver) -> None:
    with running(Clario(Scripted(resolver))) as client:
        asked = {"diaries": [{"text": "fine"}, {"text": "broken", "id": "b"}, {"text": "good"}]}
        lines = [json.loads(line) for line in client.post("/v1/extract", json=asked).text.splitlines()]
    assert [line["id"] for line in lines] == ["0", "b", "2"]
    assert lines[1] == {"id": "b", "error": "the model's answer is no JSON"}


@pytest.mark.parametrize(("text", "code"), [("broken", "model_failed"), ("partly", "unreadable_answer")])
def test_an_answer_that_cannot_be_read_is_no_empty_success(resolver: Resolver, text: str, code: str) -> None:
    with running(Clario(Scripted(resolver))) as client:
        answer = client.post("/extract", json={"diary": text})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, code)


def test_our_own_contract_tells_what_was_odd_as_a_warning(resolver: Resolver) -> None:
    with running(Clario(Scripted(resolver))) as client:
        answer = client.post("/v1/extract", json={"text": "partly"}).json()
    assert answer["warnings"] == ["an entity of the answer was cut off"]


def test_a_name_is_resolved(client: httpx.Client) -> None:
    answer = client.get("/v1/resolve", params={"q": "dry mouth", "candidates": 3}).json()
    assert (answer["hpo_id"], answer["label"], answer["method"]) == ("HP:0000217", "Xerostomia", "normalized")
    assert len(answer["candidates"]) == 3
    assert answer["hpo_id"] not in [one["hpo_id"] for one in answer["candidates"]]


def test_a_name_without_a_term_gets_nulls(client: httpx.Client) -> None:
    answer = client.get("/v1/resolve", params={"q": "qwxz", "dense": False}).json()
    assert (answer["hpo_id"], answer["method"], answer["candidates"]) == (None, "none", [])


def test_a_term_stands_between_its_parents_and_children(client: httpx.Client) -> None:
    term = client.get("/v1/terms/HP:0012735").json()
    assert term["label"] == "Cough"
    for parent in term["parents"]:
        children = client.get(f"/v1/terms/{parent['hpo_id']}").json()["children"]
        assert {"hpo_id": "HP:0012735", "label": "Cough"} in children
    assert term["children"]


def test_a_retired_id_leads_to_its_successor(client: httpx.Client, lexicon: Clario) -> None:
    index = lexicon.resolver.index
    retired, successor = next((old, new) for old, new in index.retired.items() if new)
    assert client.get(f"/v1/terms/{retired}").json()["hpo_id"] == successor


def test_an_unknown_term_is_not_found(client: httpx.Client) -> None:
    answer = client.get("/v1/terms/HP:9999999")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_term")


def test_health_has_what_the_reference_has(client: httpx.Client) -> None:
    health = client.get("/health").json()
    assert (health["ready"], health["hpo_index_loaded"], health["adapter"]) == (True, True, "lexicon 1")


def test_ready_means_that_the_model_has_read_a_text(resolver: Resolver) -> None:
    class Dead(Scripted):
        def extract(self, texts: object) -> list[object]:  # type: ignore[override]
            raise RuntimeError("the weights say: dry mouth")

    with running(Clario(Dead(resolver))) as client:
        wait_until(lambda: figure(client, 'clario_texts_total{outcome="failed"}'))
        answer = client.get("/ready")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        assert client.get("/health").json()["ready"] is False


def test_figures_count_and_name_no_words(client: httpx.Client) -> None:
    route = 'clario_requests_total{method="GET",route="/v1/terms/{hpo_id}",status="200"}'
    before = figure(client, route)
    client.get("/v1/terms/HP:0000217")
    client.get("/zebra-path")
    client.get("/v1/resolve", params={"q": "zebra"})
    client.post("/extract", json={"diary": "zebra"})
    client.request("ZEBRA", "/health")
    assert figure(client, route) == before + 1
    figures = client.get("/metrics").text
    assert "zebra" not in figures.lower()
    assert "HP:" not in figures
    assert 'route="(none)",status="404"' in figures


def test_the_openapi_shows_examples_and_every_error_that_comes(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {
        "/extract",
        "/v1/extract",
        "/v1/resolve",
        "/v1/terms/{hpo_id}",
        "/health",
        "/ready",
        "/metrics",
    } <= set(paths)
    for path in ("/extract", "/v1/extract"):
        post = paths[path]["post"]
        assert post["requestBody"]["content"]["application/json"]["examples"]
        assert {"413", "415", "422", "429", "503"} <= set(post["responses"])
        told = {code for one in post["responses"].values() for code in _examples(one)}
        assert told <= set(CODES)
        assert {"busy", "body_too_large", "text_too_long", "model_failed", "timeout"} <= told


def _examples(response: dict[str, dict[str, dict[str, dict[str, object]]]]) -> set[str]:
    return set(response.get("content", {}).get("application/json", {}).get("examples", {}))


def test_the_examples_of_the_openapi_work(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/extract", "/v1/extract"):
        for example in paths[path]["post"]["requestBody"]["content"]["application/json"]["examples"].values():
            answer = client.post(path, json=example["value"])
            assert answer.status_code == 200
            assert "HP:0000217" in answer.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/extract", 405)])
def test_what_is_not_there_is_told_as_json(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] in CODES
    assert status != 405 or answer.headers["allow"] == "POST"
