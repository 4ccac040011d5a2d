"""Chat servers: asked as each API wants it, patiently; given up when they are gone. The key is shown nowhere."""

import importlib
import json
import re
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from chat_server import (
    KEY,
    QUICK,
    Answering,
    Json,
    Teacher,
    answer,
    distill,
    drop,
    entity,
    failures,
    filler,
    good,
    lines,
    whole,
)

from clario.chat import client as chat
from clario.chat.server import Api, Patience, Server
from clario.corpus import prompting
from clario.errors import InputError, ModelError

pytestmark = pytest.mark.usefixtures("quick_teaching")


def test_ollama_is_asked_in_its_own_way(teaching: Teacher, tmp_path: Path) -> None:
    distill(teaching.url + "/", tmp_path / "a.jsonl")
    (request,) = teaching.requests
    assert request["format"] == prompting.SCHEMA
    assert request["think"] is False
    assert request["stream"] is False
    assert request["model"] == "teacher:1b"
    assert "Authorization" not in teaching.headers[0]


def test_an_openai_compatible_server_is_asked_in_its_way(
    teaching: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(chat.KEY_VARIABLE, KEY)
    distill(teaching.url + "/v1", tmp_path / "a.jsonl", api="openai")
    (request,) = teaching.requests
    form = request["response_format"]
    assert (form["type"], form["json_schema"]["schema"]) == ("json_schema", prompting.SCHEMA)
    assert teaching.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("given", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_the_url_may_have_the_path(given: str) -> None:
    server = Server("http://there:8000/some" + given, "m", Api.OPENAI)
    assert server.endpoint == "http://there:8000/some/v1/chat/completions"
    assert Server("http://there:11434/api/chat", "m").endpoint == "http://there:11434/api/chat"


@pytest.mark.parametrize(
    "url",
    [
        "there:8000",
        "ftp://there",
        "http://",
        "http://me:pass@there",
        "http://a?key=1",
        "http://[::1",
        "http://a:x",
    ],
)
def test_what_is_no_usable_url(url: str) -> None:
    with pytest.raises(InputError, match="is not a URL") as raised:
        Server(url, "m")
    assert "pass" not in str(raised.value).partition("is not")[0]


def test_gpt_oss_is_told_to_think_little(teaching: Teacher, tmp_path: Path) -> None:
    distill(teaching.url, tmp_path / "a.jsonl", "--model", "gpt-oss:20b")
    assert teaching.requests[0]["think"] == "low"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"choices": []}, "no choices"),
        ({"choices": [{"message": {"content": None, "refusal": "I cannot"}}]}, "declined"),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}, "filter stopped"),
        ({"choices": [{"message": {"content": "{"}, "finish_reason": "length"}]}, "limit of tokens"),
        ({"choices": [{"message": {"content": None, "reasoning_content": "Hm"}}]}, "thought and answered nothing"),
        ({"choices": {"0": 1}}, "no choices"),
    ],
)
def test_bad_replies_of_openai_compatible_servers(
    teaching: Teacher, tmp_path: Path, changes: Json, reason: str
) -> None:
    teaching.line.append(answer("", **changes))
    code, said = distill(teaching.url, tmp_path / "a.jsonl", api="openai")
    assert code == 0, said
    assert reason in teaching.asked(1)
    assert lines(tmp_path / "a.jsonl")[0]["provenance"]["tokens_in"] == 1400


def test_a_model_that_thinks_all_the_same_is_told_how_much(teaching: Teacher, tmp_path: Path) -> None:
    thought = {"message": {"role": "assistant", "content": "", "thinking": "The user wants a diary"}}
    teaching.line.append(answer("", **thought))
    code, _ = distill(teaching.url, tmp_path / "a.jsonl")
    assert code == 0
    assert "thought and answered nothing" in teaching.asked(1)
    assert [request["think"] for request in teaching.requests] == [False, "low"]


@pytest.mark.parametrize(
    "reply",
    [
        whole({"error": "slow down"}, 429),
        whole(b"", 429, Retry_After="0"),
        whole(b"", 503, Retry_After=format_datetime(datetime.now(UTC) - timedelta(hours=1))),
        whole(b"", 503, Retry_After="soon"),
        whole(b"oops", 500),
        whole(b"", 502),
        drop,
    ],
    ids=["429", "retry after 0", "retry after a date", "retry after soon", "500", "502", "dropped"],
)
def test_the_same_is_asked_again_when_the_server_was_at_fault(
    teaching: Teacher, tmp_path: Path, reply: Answering
) -> None:
    teaching.line += [reply, reply]
    code, said = distill(teaching.url, tmp_path / "a.jsonl")
    assert code == 0, said
    assert teaching.requests[0] == teaching.requests[1] == teaching.requests[2]
    assert lines(tmp_path / "a.jsonl")[0]["provenance"]["attempts"] == 1


def test_retry_after_holds_for_all(teaching: Teacher, tmp_path: Path) -> None:
    def late(handler: BaseHTTPRequestHandler, request: Json) -> None:
        time.sleep(0.3)
        answer(good(40))(handler, request)

    teaching.line += [whole(b"", 429, Retry_After="1"), late]
    assert distill(teaching.url, tmp_path / "a.jsonl", number=3, concurrency=2)[0] == 0
    first, _, *others = teaching.times
    assert len(others) == 2
    assert all(moment - first >= 1 for moment in others)


def test_waits_grow_and_are_never_shorter_than_asked_for() -> None:
    patience = Patience(tries=9, first=1, longest=20)
    drawn = [[patience.wait(failures) for _ in range(200)] for failures in (1, 2, 3, 9)]
    assert [max(waits) <= most for waits, most in zip(drawn, (1, 2, 4, 20), strict=True)] == [True] * 4
    assert max(drawn[3]) > 10 > 4 > max(drawn[1])
    assert all(7 <= patience.wait(1, 7) <= 8 for _ in range(50))


def test_a_server_that_wants_to_be_left_alone_is(teaching: Teacher, tmp_path: Path) -> None:
    teaching.line.append(whole(b"", 429, Retry_After="86400"))
    code, said = distill(teaching.url, tmp_path / "a.jsonl")
    assert (code, len(teaching.requests)) == (1, 1)
    assert "asks to wait 86,400 s" in said


def test_an_answer_that_takes_too_long_is_asked_for_again(teaching: Teacher, tmp_path: Path) -> None:
    teaching.line.append(teaching.hang)
    code, said = distill(teaching.url, tmp_path / "a.jsonl", "--timeout", "0.3")
    assert code == 0, said
    assert lines(tmp_path / "a.jsonl")[0]["provenance"]["attempts"] > 1


def test_a_server_that_is_not_there(teaching: Teacher, tmp_path: Path) -> None:
    teaching.close()
    code, said = distill(teaching.url, tmp_path / "a.jsonl", concurrency=3, number=3)
    assert code == 1
    assert f"{teaching.url}/api/chat cannot be reached" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            404,
            {"error": "model 'teacher:1b' not found"},
            "said 404 (model 'teacher:1b' not found); check URL, model",
        ),
        (
            401,
            {"error": {"message": f"Incorrect key {KEY}"}},
            "said 401 (Incorrect key ***); check CLARIO_API_KEY",
        ),
        (400, {"error": {"message": f"bad \x1b[31m{KEY[:5]}\x00{KEY[5:]}"}}, "said 400 (bad [31m***)"),
        (301, {}, "said 301"),
    ],
)
def test_a_request_that_is_refused_ends_the_run(
    teaching: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: Json, words: str
) -> None:
    monkeypatch.setenv(chat.KEY_VARIABLE, KEY)
    teaching.line.append(whole(body, status))
    code, said = distill(teaching.url, tmp_path / "a.jsonl", number=3)
    assert (code, len(teaching.requests)) == (1, 1)
    assert words in said


def test_a_server_that_knows_fewer_fields_is_asked_in_the_plainest_way(teaching: Teacher, tmp_path: Path) -> None:
    teaching.line.append(whole({"error": {"message": "unknown parameter: seed"}}, 400))
    code, said = distill(teaching.url, tmp_path / "a.jsonl", api="openai", number=2)
    assert code == 0, said
    refused, *plain = teaching.requests
    assert {"seed", "temperature"} <= refused.keys()
    assert [set(request) for request in plain] == [{"model", "messages", "stream", "response_format"}] * 2


def test_a_server_that_knows_all_fields_is_not_asked_for_less(teaching: Teacher, tmp_path: Path) -> None:
    teaching.line += [answer(good(70)), whole({"error": "filtered"}, 400)]
    distill(teaching.url, tmp_path / "a.jsonl", "--retries", "0", api="openai", number=3)
    assert len(teaching.requests) == 3
    assert all("seed" in request for request in teaching.requests)


def test_one_prompt_that_a_filter_refuses_does_not_end_the_run(teaching: Teacher, tmp_path: Path) -> None:
    teaching.line += [answer(good(50)), whole({"error": "filtered"}, 400)]
    assert distill(teaching.url, tmp_path / "a.jsonl", "--retries", "0", number=3)[0] == 1
    assert [f["reason"] for f in failures(tmp_path / "a.jsonl")] == ["the server said 400"]
    assert len(lines(tmp_path / "a.jsonl")) == 2


def test_a_server_that_dies_leaves_what_is_done(teaching: Teacher, tmp_path: Path) -> None:
    def last_words(handler: BaseHTTPRequestHandler, request: Json) -> None:
        answer(good(60))(handler, request)
        threading.Thread(target=teaching.close).start()

    teaching.line += [answer(good(61)), last_words]
    output = tmp_path / "a.jsonl"
    code, said = distill(teaching.url, output, number=6)
    assert code == 1
    assert re.search(r"went away; what is done is kept \(\d diaries\), continue with --resume", said)
    done = {d["id"] for d in lines(output)}
    assert len(done) >= 2
    assert failures(output) == []
    second = Teacher()
    code, said = distill(second.url, output, "--resume", number=6)
    second.close()
    assert code == 0, said
    assert len(lines(output)) == len({d["id"] for d in lines(output)}) == 6
    # One more where the second teacher begins with a text that the first had time to give.
    assert 6 - len(done) <= len(second.requests) < 6


def test_a_server_that_only_fails_is_given_up(teaching: Teacher, tmp_path: Path) -> None:
    teaching.line.extend([whole(b"", 500)] * 100)
    code, said = distill(teaching.url, tmp_path / "a.jsonl", "--retries", "1", number=9)
    assert code == 1
    assert "no reply 5 times in a row, the last time: the server said 500, 3 times" in said
    assert len(teaching.requests) == 15
    assert {f["reason"] for f in failures(tmp_path / "a.jsonl")} == {"the server said 500, 3 times"}


def test_a_server_that_fails_now_and_then_is_not_given_up(teaching: Teacher, tmp_path: Path) -> None:
    for number in range(6):
        teaching.line.extend([whole(b"", 500)] * QUICK.tries + [answer(good(100 + number))])
    code, said = distill(teaching.url, tmp_path / "a.jsonl", "--retries", "0", number=12)
    assert (code, len(lines(tmp_path / "a.jsonl")), len(failures(tmp_path / "a.jsonl"))) == (1, 6, 6), said


def test_a_reply_without_end_is_not_read(
    teaching: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "LARGEST_REPLY", 1000)
    teaching.line.append(whole(b" " * 2000))
    assert "more than 1,000 bytes" in distill(teaching.url, tmp_path / "a.jsonl")[1]


def test_the_key_is_shown_nowhere(
    teaching: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def echo(handler: BaseHTTPRequestHandler, request: Json) -> None:
        words = f"{handler.headers['Authorization']} {' '.join(filler(80))}"
        answer({"text": words, "entities": [entity(KEY, KEY)]})(handler, request)

    caplog.set_level(0)
    monkeypatch.setenv(chat.KEY_VARIABLE, f" {KEY}\n")
    teaching.line += [echo, whole({"error": KEY}, 500), echo, whole({"error": f"why {KEY}"}, 403)]
    code, said = distill(teaching.url, tmp_path / "a.jsonl", "--retries", "1", number=2)
    assert code == 1
    assert "why ***" in said
    assert len(teaching.requests) == 4
    assert any(tmp_path.iterdir())
    kept = "".join(path.read_text("utf-8") for path in tmp_path.iterdir())
    assert KEY not in kept + said + caplog.text
    assert failures(tmp_path / "a.jsonl")[0]["reason"] == "the answer repeats the API key"
    assert all(KEY not in json.dumps(request) for request in teaching.requests)


def test_a_key_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chat.KEY_VARIABLE, "sk-\u2013\n-1")
    with pytest.raises(InputError, match="CLARIO_API_KEY") as raised:
        chat.Chat(Server("http://there", "m"))
    assert "sk-" not in str(raised.value)


def test_without_httpx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "clario.chat.client")
    with pytest.raises(ModelError, match=r"pip install 'clario\[chat\]'"):
        importlib.import_module("clario.chat.client")
