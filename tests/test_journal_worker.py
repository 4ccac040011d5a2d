"""The worker: servers that fail in every way cost no entry, dead workers' jobs are taken up, the queue ends."""

import datetime as dt
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clario.chat.server import Patience
from clario.entities import Assertion, Extraction
from clario.errors import InputError, ModelError
from clario.extraction import base
from clario.extraction.lexicon import LexiconExtractor
from clario.journal import worker as workers
from clario.journal.records import State
from clario.journal.sidecar import Sidecar, TransientError
from clario.journal.store import Journal
from clario.journal.worker import Outcome, Settings, Worker, chosen
from clario.ontology.index import Index
from clario.ontology.resolver import Resolver
from clario.pipeline import Clario

TEXT = "Mouth so dry today, both knees hurt. No fever."
QUICK = Patience(tries=2, first=0.01, longest=0.01)
VARIABLES = ("CLARIO_EXTRACTOR_URL", "CLARIO_JOURNAL_MODEL", "OLLAMA_HOST", "CLARIO_TOKEN")
DRY = {
    "type": "symptom",
    "name": "dry mouth",
    "attrs": {"name_colloquial": "mouth so dry", "hpo_id": "HP:0000217"},
}

Json = dict[str, Any]
Answer = Callable[[BaseHTTPRequestHandler, Json], None]


CREATED = cache(base.create)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away early is what these tests are about."""


class Server:
    """A sidecar on the loopback: `ours` and `reference` say what its two endpoints answer, None is 404."""

    def __init__(self) -> None:
        self.ours: Answer | None = None
        self.reference: Answer | None = None
        self.requests: list[tuple[str, Json, str | None]] = []
        self.released = threading.Event()
        me = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                me.requests.append((self.path, body, self.headers.get("Authorization")))
                answer = {"/v1/extract": me.ours, "/extract": me.reference}.get(self.path)
                (answer or status(404))(self, body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()


def send(handler: BaseHTTPRequestHandler, body: bytes, code: int = 200, **headers: str) -> None:
    handler.send_response(code)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def status(code: int, **headers: str) -> Answer:
    return lambda handler, _: send(handler, b'{"detail": "Mouth so dry"}', code, **headers)


def says(body: Json | bytes) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler, _: send(handler, data)


def found(*entities: Json, hint: str | None = None) -> Answer:
    return says({"entities": list(entities), "ts_event_hint": hint})


def cut(handler: BaseHTTPRequestHandler, _: Json) -> None:
    send(handler, b'{"entities": [', Content_Length="1000")
    handler.close_connection = True


def hang_up(handler: BaseHTTPRequestHandler, _: Json) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def babble(handler: BaseHTTPRequestHandler, _: Json) -> None:
    handler.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")
    handler.close_connection = True


def huge(handler: BaseHTTPRequestHandler, _: Json) -> None:
    send(handler, b'{"entities": [' + b" " * (5 * 2**20) + b"]}")


def drip(handler: BaseHTTPRequestHandler, _: Json) -> None:
    """A byte now and then, each well before a socket's own timeout."""
    handler.send_response(200)
    handler.end_headers()
    for _turn in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def stall(handler: BaseHTTPRequestHandler, _: Json) -> None:
    time.sleep(1.5)


@pytest.fixture(autouse=True)
def _usual(monkeypatch: pytest.MonkeyPatch, resolver: Resolver) -> None:
    """Nothing of the user's environment, and no extractor made twice: that takes a third of a second."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(workers, "Resolver", lambda index: resolver)
    monkeypatch.setattr(workers.base, "create", CREATED)


@pytest.fixture
def sidecar() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def journal(tmp_path: Path, index: Index) -> Iterator[Journal]:
    with Journal(tmp_path / "j.db", index=index) as journal:
        yield journal


@pytest.fixture(scope="module")
def lexicon(resolver: Resolver) -> "Local":
    return Local(resolver)


class Local:
    """The lexicon as a fallback, which counts."""

    def __init__(self, resolver: Resolver) -> None:
        self._clario, self.read_ids = Clario(LexiconExtractor(resolver)), list[str]()

    def read(self, text: str, id: str, recorded: dt.date | None) -> Extraction:
        self.read_ids.append(id)
        return self._clario.extract(text, id=id, recorded=recorded)


def asking(journal: Journal, url: str, resolver: Resolver, fallback: Any = None, timeout: float = 0.4) -> Worker:
    settings = Settings(patience=QUICK, timeout=timeout, fallback=None)
    return Worker(journal, settings, primary=Sidecar(url, resolver, timeout=timeout), fallback=fallback)


FAILING: dict[str, Answer] = {
    "never answers": stall,
    "sends a byte now and then": drip,
    "is cut off": cut,
    "hangs up": hang_up,
    "talks no HTTP": babble,
    "sends too much": huge,
    "has an error": status(500),
    "is overloaded": status(503, Retry_After="0"),
    "asks to wait": status(429, Retry_After="0"),
    "is no JSON": says(b"<html>Mouth so dry</html>"),
    "is a list": says(b"[]"),
    "has no entities": says({"ts_event_hint": None}),
    "has entities that are none": found({"type": "symptom", "name": "rash"}, {"name": 5}),
    "has deep JSON": says(b'{"entities": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
}


@pytest.mark.parametrize("how", FAILING)
def test_a_failing_server_is_asked_again_and_then_the_fallback_reads(
    how: str, sidecar: Server, journal: Journal, resolver: Resolver, lexicon: Local
) -> None:
    sidecar.reference = FAILING[how]
    id = journal.add(TEXT).id
    outcomes = list(asking(journal, sidecar.url, resolver, lexicon).drain())
    assert [o.outcome for o in outcomes] == [Outcome.POSTPONED, Outcome.FELL_BACK]
    assert [path for path, _, _ in sidecar.requests].count("/extract") == 2
    made = journal.extraction(id)
    assert made
    assert [e.hpo_label for e in made.entities] == ["Xerostomia", "Knee pain", "Fever"]
    assert "read by the fallback" in made.warnings[-1]
    assert journal.fell_back() == [id]
    assert not any("dry" in (text or "").lower() for o in outcomes for text in (o.error, *made.warnings))


def test_a_server_that_is_not_there_costs_no_entry(journal: Journal, resolver: Resolver, lexicon: Local) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    ids = [journal.add(f"{TEXT} {n}").id for n in range(6)]
    outcomes = list(asking(journal, url, resolver, lexicon).drain())
    assert sorted(o.entry for o in outcomes if o.outcome is Outcome.FELL_BACK) == sorted(ids)
    assert all(entry.state is State.DONE for entry in journal.entries())


@pytest.mark.parametrize("code", [400, 401, 403, 413, 422])
def test_a_refused_entry_is_not_asked_about_again(
    code: int, sidecar: Server, journal: Journal, resolver: Resolver, lexicon: Local
) -> None:
    sidecar.ours = status(code)
    id = journal.add(TEXT).id
    (outcome,) = asking(journal, sidecar.url, resolver, lexicon).drain()
    assert (outcome.outcome, outcome.entry) == (Outcome.FELL_BACK, id)
    assert len(sidecar.requests) == 1
    assert str(code) in (outcome.error or "")


def test_without_a_fallback_an_entry_is_given_up_but_kept(
    sidecar: Server, journal: Journal, resolver: Resolver
) -> None:
    sidecar.reference = status(500)
    id = journal.add(TEXT).id
    *_, last = asking(journal, sidecar.url, resolver).drain()
    assert last.outcome is Outcome.FAILED
    assert (journal.entry(id).state, journal.entry(id).text) == (State.FAILED, TEXT)
    assert journal.failed() == [id]
    sidecar.reference = found(DRY)
    journal.again(journal.failed())
    (done,) = asking(journal, sidecar.url, resolver).drain()
    assert done.outcome is Outcome.DONE
    assert journal.entry(id).error is None


def test_a_failed_new_reading_leaves_what_was_found_before(
    sidecar: Server, journal: Journal, resolver: Resolver
) -> None:
    sidecar.reference = found(DRY)
    id = journal.add(TEXT).id
    list(asking(journal, sidecar.url, resolver).drain())
    before = journal.extraction(id)
    sidecar.reference = status(500)
    journal.again()
    list(asking(journal, sidecar.url, resolver).drain())
    assert journal.extraction(id) == before


def test_the_references_answer_is_grounded_named_and_dated_here(sidecar: Server, resolver: Resolver) -> None:
    sidecar.reference = found(
        DRY,
        {"type": "symptom", "name": "knee pain", "attrs": {"name_colloquial": "both knees hurt"}},
        {"type": "symptom", "name": "fever", "attrs": {"hpo_id": "HP:0000000", "assertion": "absent"}},
        {"type": "symptom", "name": "malar rash", "attrs": {"name_colloquial": "a butterfly on my face"}},
        {"type": "activity", "name": "today", "attrs": {"confidence": 0.9, "start": 13, "end": 18}},
    )
    made = Sidecar(sidecar.url, resolver).read(TEXT, "x", dt.date(2026, 11, 26))
    assert [(e.name_colloquial, e.type.value, e.hpo_id) for e in made.entities] == [
        ("Mouth so dry", "symptom", "HP:0000217"),
        ("today", "behavior", None),
        ("both knees hurt", "symptom", "HP:0030839"),
        ("fever", "symptom", "HP:0001945"),
    ]
    assert made.entities[3].assertion is Assertion.ABSENT
    assert made.entities[1].confidence == 0.9
    assert made.ts_event_hint == "2026-11-26"
    assert made.warnings == ("1 entities of the sidecar were left out",)
    assert sidecar.requests[-1][1] == {"diary": TEXT, "ts_recorded": "2026-11-26"}


def test_names_that_are_no_names_do_not_stop_the_worker(sidecar: Server, resolver: Resolver) -> None:
    sidecar.reference = found(
        {"type": "symptom", "name": "\ud800", "attrs": {"name_colloquial": "fever"}},
        {"type": "symptom", "name": "", "attrs": {"name_colloquial": " ", "start": 5, "end": 6}},
    )
    made = Sidecar(sidecar.url, resolver).read(TEXT, "x", None)
    assert [e.name_colloquial for e in made.entities] == ["fever"]


@pytest.mark.parametrize("url", ["http://a..b", "http://127.0.0.1:9/\xe4"])
def test_a_url_that_leads_nowhere_is_a_server_that_is_away(url: str, resolver: Resolver) -> None:
    with pytest.raises(TransientError):
        Sidecar(url, resolver).read(TEXT, "x", None)


def test_clarios_own_contract_is_asked_first_and_taken_as_it_is(
    sidecar: Server, resolver: Resolver, lexicon: Local
) -> None:
    wanted = lexicon.read(TEXT, "x", dt.date(2026, 11, 26))
    sidecar.ours = says(wanted.model_dump(mode="json"))
    client = Sidecar(sidecar.url + "/extract", resolver)
    assert client.read(TEXT, "x", dt.date(2026, 11, 26)) == wanted
    assert sidecar.requests == [("/v1/extract", {"text": TEXT, "recorded": "2026-11-26"}, None)]
    with pytest.raises(TransientError, match="not in the text"):
        client.read("Another text.", "y", None)
    sidecar.ours = says({"entities": []})
    with pytest.raises(TransientError, match="no Extraction"):
        client.read(TEXT, "x", None)


def test_the_token_goes_along_and_is_shown_nowhere(
    sidecar: Server, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIO_TOKEN", "not-to-be-seen")
    sidecar.ours = status(401)
    with pytest.raises(ModelError) as caught:
        Sidecar(sidecar.url, resolver).read(TEXT, "x", None)
    assert sidecar.requests[0][2] == "Bearer not-to-be-seen"
    assert "CLARIO_TOKEN" in str(caught.value)
    assert "seen" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://u:p@host", "http://host/?q=1", "http://[", "x"])
def test_what_is_no_url_of_a_server_is_refused(url: str, resolver: Resolver) -> None:
    with pytest.raises(InputError, match="no URL"):
        Sidecar(url, resolver)


def test_a_server_that_is_down_is_left_alone_for_a_while(
    sidecar: Server, journal: Journal, resolver: Resolver, lexicon: Local
) -> None:
    """The second half of the entries does not wait for what the first half has found out."""
    sidecar.ours = status(500)
    worker = asking(journal, sidecar.url, resolver, lexicon)
    journal.add(TEXT)
    list(worker.drain())
    asked = len(sidecar.requests)
    for number in range(5):
        journal.add(f"{TEXT} {number}")
    assert {o.outcome for o in worker.drain()} == {Outcome.FELL_BACK}
    assert len(sidecar.requests) == asked


class Slow:
    """A reader that takes longer than a lease."""

    def __init__(self, inner: Local, seconds: float) -> None:
        self._inner, self._seconds, self.times = inner, seconds, 0

    def read(self, text: str, id: str, recorded: dt.date | None) -> Extraction:
        self.times += 1
        time.sleep(self._seconds)
        return self._inner.read(text, id, recorded)


def test_a_slow_worker_keeps_its_job_and_a_dead_ones_is_taken_up(journal: Journal, lexicon: Local) -> None:
    id = journal.add(TEXT).id
    slow = Slow(lexicon, 0.6)
    first = Worker(journal, Settings(lease=0.2), primary=slow)
    thread = threading.Thread(target=first.process_one)
    thread.start()
    time.sleep(0.4)
    assert journal.claim() is None  # the lease was renewed
    thread.join()
    assert journal.entry(id).state is State.DONE
    journal.again([id])
    assert journal.claim(lease=0.05)  # by a worker that dies with it
    (done,) = Worker(journal, Settings(lease=5), primary=lexicon).drain()
    assert done.outcome is Outcome.DONE


def test_a_text_that_kills_its_workers_is_given_up_in_the_end(journal: Journal, lexicon: Local) -> None:
    id = journal.add(TEXT).id
    settings = Settings(patience=QUICK)
    for _ in range(QUICK.tries + workers.DEATHS):
        assert journal.claim(lease=0)
    (done,) = Worker(journal, settings, primary=lexicon).drain()
    assert (done.entry, done.outcome) == (id, Outcome.FAILED)
    assert journal.entry(id).text == TEXT


def test_ctrl_c_gives_the_job_back_at_once(journal: Journal) -> None:
    class Interrupted:
        def read(self, text: str, id: str, recorded: dt.date | None) -> Extraction:
            raise KeyboardInterrupt

    journal.add(TEXT)
    with pytest.raises(KeyboardInterrupt):
        Worker(journal, primary=Interrupted()).process_one()
    assert journal.waiting()[State.WAITING] == 1
    assert journal.next_due() == 0


def test_two_workers_share_a_queue(journal: Journal, lexicon: Local, tmp_path: Path, index: Index) -> None:
    for number in range(20):
        journal.add(f"{TEXT} {number}")

    def drain() -> None:
        with Journal(tmp_path / "j.db", index=index) as own:
            done.extend(processed.entry for processed in Worker(own, primary=lexicon).drain())

    done = list[str]()
    threads = [threading.Thread(target=drain) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done, key=int) == [str(n) for n in range(1, 21)]


def test_who_reads_is_what_was_named_and_else_no_network_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen() is None
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1")
    assert chosen() == workers.VANILLA
    monkeypatch.setenv("CLARIO_JOURNAL_MODEL", "ollama:gemma3:1b")
    assert chosen() == "ollama:gemma3:1b"
    monkeypatch.setenv("CLARIO_EXTRACTOR_URL", "http://127.0.0.1:11435")
    assert chosen() == "http://127.0.0.1:11435"
    assert chosen("lexicon") == "lexicon"


def test_nobody_named_means_that_the_fallback_is_who_reads(journal: Journal) -> None:
    id = journal.add(TEXT).id
    (done,) = Worker(journal, Settings(fallback="lexicon")).drain()
    assert done.outcome is Outcome.DONE
    assert journal.fell_back() == []
    made = journal.extraction(id)
    assert made
    assert (made.model, made.warnings) == ("lexicon 1", ())


def test_an_ollama_that_is_away_is_waited_for_and_then_the_fallback_reads(
    journal: Journal, lexicon: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{unused.getsockname()[1]}")
    journal.add(TEXT)
    outcomes = list(Worker(journal, Settings(patience=QUICK, timeout=1), fallback=lexicon).drain())
    assert [o.outcome for o in outcomes] == [Outcome.POSTPONED, Outcome.FELL_BACK]
    assert "is the server running" in (outcomes[0].error or "")


def test_a_model_that_is_not_there_is_told_before_any_work(journal: Journal) -> None:
    with pytest.raises(ModelError, match="no model named"):
        Worker(journal, Settings(model="nonsense"))
