"""A chat server that misbehaves as a test asks it to, and answers as a good teacher writes them."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from clario.chat import client as chat
from clario.chat.server import Patience
from clario.cli.corpus import app
from clario.ontology import release
from clario.ontology.index import Index
from clario.ontology.resolver import Resolver

PROFILES = Path(__file__).parent / "data" / "teacher" / "profiles.jsonl"
KEY = "sk-not-to-be-seen-anywhere"
QUICK = Patience(tries=3, first=0.01)
CERTIFICATES = httpx.create_ssl_context()

Json = dict[str, Any]
Answering = Callable[[BaseHTTPRequestHandler, Json], None]


def filler(number: int, words: int = 40) -> list[str]:
    """Words that no other number gives."""
    chance = Random(number)
    return ["".join(chance.choices("aeioubdgklmnprst", k=chance.randint(3, 8))) for _ in range(words)]


def entity(quote: str, name: str, type: str = "symptom", assertion: str = "present") -> Json:
    return {"quote": quote, "type": type, "assertion": assertion, "name": name}


DRY, TIRED = entity("mouth like sandpaper", "Xerostomia"), entity("flat out by four", "Fatigue")


def good(number: int, **changes: Any) -> Json:
    words = " ".join(filler(number))
    text = f"{words[:60]} mouth like sandpaper, {words[60:120]} flat out by four. {words[120:]}"
    return {"text": text, "entities": [DRY, TIRED]} | changes


def fitting(request: Json, number: int) -> Json:
    """A good answer; one without symptoms where that is asked for."""
    blank = "No symptom of anybody" in request["messages"][1]["content"]
    return good(number, entities=[]) if blank else good(number)


def envelope(path: str, content: str, **changes: Any) -> Json:
    """A whole reply, as the API of this path has it."""
    if path == "/api/chat":
        return {
            "message": {"role": "assistant", "content": content}, "done_reason": "stop",
            "prompt_eval_count": 700, "eval_count": 90,
        } | changes  # fmt: skip
    usage = {"prompt_tokens": 700, "completion_tokens": 90}
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": usage} | changes


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def answer(content: str | Json, **changes: Any) -> Answering:
    text = content if isinstance(content, str) else json.dumps(content)
    return lambda handler, _: send(handler, json.dumps(envelope(handler.path, text, **changes)).encode())


def whole(body: Json | bytes, status: int = 200, **headers: str) -> Answering:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler, _: send(handler, data, status, **headers)


def drop(handler: BaseHTTPRequestHandler, _: Json) -> None:
    """Promise a body, send half of it, and hang up."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"message": ')
    handler.close_connection = True


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away early is what these tests are about."""


class Teacher:
    """A chat server on the loopback: the replies in line, and good ones when there are none left."""

    def __init__(self) -> None:
        self.line: deque[Answering] = deque()
        self.requests: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.delay = 0.0
        self.released = threading.Event()
        self._lock = threading.Lock()
        self.http = _Quiet(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        me = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with me._lock:
                    me.requests.append(request)
                    me.headers.append(dict(self.headers))
                    me.times.append(time.monotonic())
                    reply = me.line.popleft() if me.line else answer(fitting(request, len(me.requests)))
                time.sleep(me.delay)
                with suppress(OSError):
                    reply(self, request)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def hang(self, handler: BaseHTTPRequestHandler, _: Json) -> None:
        self.released.wait(10)

    def asked(self, number: int) -> str:
        """The user's message of a request."""
        return str(self.requests[number]["messages"][-1]["content"])

    def close(self) -> None:
        self.released.set()
        if self._thread.is_alive():
            self.http.shutdown()
            self._thread.join()
            self.http.server_close()


def distill(
    url: str, output: Path, *options: str, number: int = 1, api: str = "ollama", concurrency: int = 1
) -> tuple[int, str]:
    """Exit code, and everything that the command said."""
    arguments = ["distill", str(PROFILES), "--server", url, "--model", "teacher:1b", "--output", str(output)]
    arguments += ["--number", str(number), "--concurrency", str(concurrency), "--api", api, *options]
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        return 1, result.output + str(result.exception)
    return result.exit_code, result.output


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def failures(output: Path) -> list[Json]:
    path = output.with_name(output.name + ".failures.jsonl")
    return lines(path) if path.exists() else []


def quicken(monkeypatch: pytest.MonkeyPatch, index: Index, resolver: Resolver) -> None:
    """No long waits, no second reading of the release and of certificates, no key of the user's, a dead proxy."""
    monkeypatch.setattr(chat, "Patience", lambda: QUICK)
    monkeypatch.setattr(release, "load", lambda name=None: index)
    monkeypatch.setattr("clario.ontology.resolver.Resolver", lambda index: resolver)
    monkeypatch.setattr(chat.httpx, "AsyncClient", partial(httpx.AsyncClient, verify=CERTIFICATES))
    monkeypatch.delenv(chat.KEY_VARIABLE, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
