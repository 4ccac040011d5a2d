"""Every test has a home of its own, and two small releases of HPO to work with."""

import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import ModuleType

import chat_server
import pytest

from clario.ontology import install, release
from clario.ontology.index import Index
from clario.ontology.release import Manifest
from clario.ontology.resolver import Resolver

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
OLD, NEW = "2025-01-01", "2026-01-01"
Answer = Callable[[BaseHTTPRequestHandler], None]


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away early is what these tests are about."""


class Server:
    """A web server on the loopback; `answers` says what each path does. `released` ends what is stalled."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.released = threading.Event()
        self._http = _Quiet(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers.get(self.path, lambda handler: handler.send_error(404))(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def serve(self, path: str, body: bytes, length: int | None = None, stall: bool = False) -> str:
        """Serve `body` at `path`, saying that it has `length` bytes (-1: not saying); perhaps never end."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            if length != -1:
                handler.send_header("Content-Length", str(len(body) if length is None else length))
            handler.end_headers()
            handler.wfile.write(body)
            if stall:
                self.released.wait(10)

        self.answers[path] = answer
        return self.url + path

    def redirect(self, path: str, to: str) -> str:
        """Redirect `path` to a URL."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", to)
            handler.end_headers()

        self.answers[path] = answer
        return self.url + path

    def close(self) -> None:
        """Stop, and free the port."""
        self.released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def _set_home(patch: pytest.MonkeyPatch, home: Path) -> Path:
    patch.setenv("CLARIO_DATA_DIR", str(home / "data"))
    patch.setenv("CLARIO_CACHE_DIR", str(home / "cache"))
    return home


@pytest.fixture(scope="session", autouse=True)
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what wider fixtures do; the user's own folders are never touched."""
    with pytest.MonkeyPatch.context() as patch:
        _set_home(patch, tmp_path_factory.mktemp("session-home"))
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary home with `data` and `cache`, neither of which is there at first."""
    return _set_home(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def small_lay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lay lexicon of three phrases, two of them of terms that the newer small release retired."""
    path = tmp_path_factory.mktemp("lay") / "lay.jsonl"
    path.write_text(
        '{"hpo_id": "HP:0000217", "hpo_label": "Xerostomia", "phrases": ["mouth like sandpaper"]}\n'
        '{"hpo_id": "HP:0100001", "hpo_label": "Aching joints", "phrases": ["creaky joints"]}\n'
        '{"hpo_id": "HP:0100003", "hpo_label": "Vague feeling", "phrases": ["all weird"]}\n',
        "utf-8",
    )
    return path


@pytest.fixture(scope="session")
def small_shipped(tmp_path_factory: pytest.TempPathFactory, small_lay: Path) -> Path:
    """The older small release as a folder, as if it shipped."""
    folder = tmp_path_factory.mktemp("shipped") / "data"
    install.build(DATA / f"hp-small-{OLD}.obo", folder, small_lay)
    return folder


@pytest.fixture
def shipped(small_shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Makes the older small release the shipped one, for the length of a test."""
    monkeypatch.setattr(release, "SHIPPED_FOLDER", small_shipped)
    return release.active()


@pytest.fixture
def old(shipped: Manifest) -> Index:
    """The older small release."""
    return release.load()


@pytest.fixture
def new(shipped: Manifest) -> Index:
    """The newer small release, installed but not in use."""
    return release.load(install.build(DATA / f"hp-small-{NEW}.obo").release)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server of this test's own, on the loopback."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def index() -> Index:
    """The release in use."""
    return release.load()


@pytest.fixture(scope="module")
def resolver(index: Index) -> Resolver:
    """A resolver of the release in use."""
    return Resolver(index)


@pytest.fixture
def teaching() -> Iterator[chat_server.Teacher]:
    """A chat server on loopback that answers as it is told to."""
    server = chat_server.Teacher()
    yield server
    server.close()


@pytest.fixture
def quick_teaching(monkeypatch: pytest.MonkeyPatch, index: Index, resolver: Resolver) -> None:
    """Without what takes time: real pauses, and a release loaded for each test."""
    chat_server.quicken(monkeypatch, index, resolver)


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """So small models are slower with more: threads would only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest) -> Iterator[dict[str, ModuleType]]:
    """The benchmarks that a file of tests names in MODULES, by name; they are scripts and no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield {name: import_module(name) for name in request.module.MODULES}
    for name in request.module.MODULES:
        del sys.modules[name]
