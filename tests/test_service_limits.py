"""The sidecar's limits: on size, time and number; texts of several requests read together; the end of it all."""

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")

import httpx
from service_server import Scripted, answer_on, figure, raw, running, wait_until

from clario.errors import InputError
from clario.ontology.resolver import Resolver
from clario.pipeline import Clario
from clario.service.settings import Settings

HEAD = (
    b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


class Held(Scripted):
    """Waits, with each batch, until it is let go on."""

    def __init__(self, resolver: Resolver) -> None:
        self.go_on = threading.Event()
        super().__init__(resolver, lambda texts: self.go_on.wait(10) and None)


def _code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def _post(client: httpx.Client, text: str) -> httpx.Response:
    return client.post("/v1/extract", json={"text": text})


def test_a_body_that_says_it_is_too_large_is_not_awaited(resolver: Resolver) -> None:
    with running(Clario(Scripted(resolver)), body_bytes=1000) as client:
        answer = answer_on(raw(client, HEAD % 1001))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code": "body_too_large"' in answer


def test_a_body_that_does_not_say_is_cut_off_where_it_is_too_large(resolver: Resolver) -> None:
    given = list[int]()

    def endless():  # type: ignore[no-untyped-def]  # a generator of bytes
        for n in range(100_000):
            given.append(n)
            yield b"x" * 1000

    with running(Clario(Scripted(resolver)), body_bytes=5000) as client:
        try:
            answer = client.post("/extract", content=endless(), headers={"Content-Type": "application/json"})
            assert _code(answer) == (413, "body_too_large")
        except httpx.WriteError:  # the server had closed before all was sent
            pass
        assert len(given) < 100_000
        assert figure(client, 'clario_requests_total{method="POST",route="(none)",status="413"}') == 1


def test_a_body_of_the_largest_size_is_taken(resolver: Resolver) -> None:
    body = b'{"text": "word %s"}' % (b"x" * 982)
    with running(Clario(Scripted(resolver)), body_bytes=len(body)) as client:
        assert client.post("/v1/extract", content=body, headers={"Content-Type": "application/json"}).is_success


def test_a_slow_body_times_out(resolver: Resolver) -> None:
    with running(Clario(Scripted(resolver)), body_seconds=0.2) as client:
        began = time.monotonic()
        answer = answer_on(raw(client, HEAD % 99 + b"{"))
        assert time.monotonic() - began < 5
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert _post(client, "word").is_success


def test_texts_that_are_too_long_or_too_many_are_refused(resolver: Resolver) -> None:
    with running(Clario(Scripted(resolver)), text_chars=10, texts=2) as client:
        assert _code(_post(client, "x" * 11)) == (422, "text_too_long")
        assert _code(client.post("/extract", json={"diary": "x" * 11})) == (422, "text_too_long")
        many = {"diaries": [{"text": "a"}, {"text": "x" * 11}]}
        assert _code(client.post("/v1/extract", json=many)) == (422, "text_too_long")
        assert _code(client.post("/v1/extract", json={"diaries": [{"text": "a"}] * 3})) == (422, "too_many_texts")
        assert _post(client, "\N{GRINNING FACE}" * 10).is_success


def test_more_requests_than_may_be_are_told_to_come_again(resolver: Resolver) -> None:
    held = Held(resolver)
    with running(Clario(held), requests=2) as client, ThreadPoolExecutor(2) as pool:
        first = [pool.submit(_post, client, "word")]
        wait_until(lambda: held.batches)
        first.append(pool.submit(_post, client, "word"))
        wait_until(lambda: figure(client, "clario_texts_waiting") == 1)
        answer = _post(client, "more")
        assert _code(answer) == (429, "busy")
        assert int(answer.headers["retry-after"]) >= 1
        assert _code(client.get("/v1/terms/HP:0000217")) == (429, "busy")
        assert client.get("/health").is_success
        held.go_on.set()
        assert all(one.result().is_success for one in first)
        assert _post(client, "more").is_success


def test_who_has_its_answer_may_ask_again_at_once(resolver: Resolver) -> None:
    with running(Clario(Scripted(resolver)), requests=8) as client, ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda n: [_post(client, f"word{n}").status_code for _ in range(25)], range(8))
        assert {status for statuses in answers for status in statuses} == {200}


def test_an_answer_that_takes_too_long_is_given_up(resolver: Resolver) -> None:
    held = Held(resolver)
    with running(Clario(held), seconds=0.2) as client:
        answer = _post(client, "word")
        held.go_on.set()
        assert _code(answer) == (503, "timeout")
        assert "retry-after" in answer.headers


def test_texts_of_several_requests_are_read_together_and_go_back_to_their_own(resolver: Resolver) -> None:
    held = Held(resolver)
    words = [f"word{n}" for n in range(12)]
    with running(Clario(held)) as client, ThreadPoolExecutor(12) as pool:
        answers = {word: pool.submit(_post, client, word) for word in words}
        wait_until(lambda: held.batches and figure(client, "clario_texts_waiting") == 12 - len(held.batches[0]))
        held.go_on.set()
        for word, answer in answers.items():
            assert [e["name_colloquial"] for e in answer.result().json()["entities"]] == [word]
    assert sorted(word for batch in held.batches for word in batch) == sorted(words)
    assert max(map(len, held.batches)) == held.batch_size


def test_a_text_that_fails_does_not_lose_those_it_is_read_with(resolver: Resolver) -> None:
    held = Held(resolver)
    with running(Clario(held)) as client, ThreadPoolExecutor(4) as pool:
        first = pool.submit(_post, client, "first")
        wait_until(lambda: held.batches)
        others = [pool.submit(_post, client, text) for text in ("broken", "good", "fine")]
        wait_until(lambda: figure(client, "clario_texts_waiting") == 3)
        held.go_on.set()
        assert [one.result().status_code for one in (first, *others)] == [200, 502, 200, 200]
    assert sorted(held.batches[1]) == ["broken", "fine", "good"]


def test_a_reader_that_breaks_answers_all_the_same(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    clario = Clario(Scripted(resolver))

    def broken(diaries: Sequence[object]) -> None:
        raise RuntimeError("dry mouth")

    monkeypatch.setattr(clario, "extract_many", broken)
    with running(clario) as client:
        for _ in range(2):
            answer = _post(client, "word")
            assert _code(answer) == (500, "internal")
            assert "dry mouth" not in answer.text


def test_a_request_that_is_given_up_by_its_client_is_not_read(resolver: Resolver) -> None:
    held = Held(resolver)
    with running(Clario(held)) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(_post, client, "first")
        wait_until(lambda: held.batches)
        body = json.dumps({"text": "dropped"}).encode()
        connection = raw(client, HEAD % len(body) + body)
        wait_until(lambda: figure(client, "clario_texts_waiting") == 1)
        connection.close()
        wait_until(lambda: figure(client, "clario_requests_open") == 2)  # the first one, and the one for figures
        held.go_on.set()
        assert first.result().is_success
        wait_until(lambda: figure(client, 'clario_texts_total{outcome="dropped"}') == 1)
    assert held.batches == [["first"]]


def test_a_stream_that_is_given_up_stops(resolver: Resolver) -> None:
    scripted = Scripted(resolver, lambda texts: time.sleep(0.02))
    asked = {"diaries": [{"text": "word " + "x" * 1000}] * 2000}
    with running(Clario(scripted)) as client:
        with client.stream("POST", "/v1/extract", json=asked) as answer:
            next(answer.iter_lines())
        wait_until(lambda: figure(client, "clario_requests_open") == 1)
    assert sum(map(len, scripted.batches)) < 2000


def test_what_was_accepted_is_finished_before_the_end(resolver: Resolver) -> None:
    held = Held(resolver)
    with running(Clario(held)) as client, ThreadPoolExecutor(2) as pool:
        one = pool.submit(_post, client, "word")
        many = pool.submit(lambda: client.post("/v1/extract", json={"diaries": [{"text": "a"}] * 50}))
        wait_until(lambda: held.batches and figure(client, "clario_requests_open") == 3)
        client.stop()  # type: ignore[attr-defined]
        wait_until(lambda: _refused(client))
        held.go_on.set()
        assert one.result().is_success
        assert many.result().text.count("\n") == 50


def _refused(client: httpx.Client) -> bool:
    try:
        raw(client, b"").close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("limits", [{"requests": 0}, {"body_bytes": 0}, {"seconds": 0}, {"batch": -1}])
def test_limits_are_at_least_one(limits: dict[str, int]) -> None:
    with pytest.raises(InputError):
        Settings(**limits)  # type: ignore[arg-type]
