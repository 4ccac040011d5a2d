"""Writing and downloading: wholly, or not at all."""

import hashlib
import os
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO, Any

import pytest
from conftest import Server

from clario.errors import DownloadError, InputError, OutputError
from clario.paths import cache_dir, data_dir, download, shown, write_atomically

BODY = b"0123456789" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(b"before")
    return path


def _get(url: str, target: Path, **wanted: Any) -> str:
    return download(url, target, **{"max_bytes": 20_000, "timeout": 5, **wanted})


def test_folders_are_those_of_the_environment_and_are_not_made(home: Path) -> None:
    assert (data_dir(), cache_dir()) == (home / "data", home / "cache")
    assert list(home.iterdir()) == []


def test_folders_are_those_of_the_system_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLARIO_DATA_DIR", "")
    monkeypatch.delenv("CLARIO_CACHE_DIR")
    for variable in ("HOME", "USERPROFILE", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert data_dir() != cache_dir()
    assert all("clario" in str(folder) and tmp_path in folder.parents for folder in (data_dir(), cache_dir()))


def test_a_file_is_replaced_as_a_whole_and_keeps_its_permissions(target: Path) -> None:
    target.chmod(0o640)
    with write_atomically(target) as file:
        file.write(b"aft")
        assert target.read_bytes() == b"before"
        file.write(b"er")
    assert target.read_bytes() == b"after"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(target.parent) == ["file"]


def _break_off(file: IO[bytes], error: type[BaseException]) -> None:
    file.write(b"half")
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_changes_nothing(target: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), write_atomically(target) as file:
        _break_off(file, error)
    assert target.read_bytes() == b"before"
    assert os.listdir(target.parent) == ["file"]


def test_a_failing_disk_is_an_output_error(target: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), write_atomically(target):
        raise OSError(28, "No space left on device")
    assert target.read_bytes() == b"before"


def test_a_link_stays_a_link(target: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(target)
    with write_atomically(link) as file:
        file.write(b"after")
    assert link.is_symlink()
    assert target.read_bytes() == b"after"


@pytest.mark.parametrize("name", ["folder", "folder/file/under-a-file"])
def test_what_cannot_be_written_is_named(target: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=name), write_atomically(tmp_path / name):
        pass
    assert target.read_bytes() == b"before"


def test_a_good_download_replaces_the_file_and_tells_its_progress(server: Server, target: Path) -> None:
    told = list[tuple[int, int | None]]()
    digest = _get(
        server.serve("/x", BODY), target, sha256=SHA256.upper(), size=len(BODY),
        progress=lambda count, total: told.append((count, total)),
    )  # fmt: skip
    assert (digest, target.read_bytes()) == (SHA256, BODY)
    assert told[-1] == (len(BODY), len(BODY))


def test_a_download_makes_missing_folders_and_follows_redirects(server: Server, tmp_path: Path) -> None:
    server.serve("/x", BODY)
    _get(server.redirect("/moved", "/x"), tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").read_bytes() == BODY


def test_a_file_url_is_copied(target: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(BODY)
    assert _get((tmp_path / "source").as_uri(), target, sha256=SHA256) == SHA256
    assert target.read_bytes() == BODY


def _fails(server: Server) -> dict[str, tuple[str, dict[str, Any], str]]:
    """URL, arguments and message of downloads that must fail."""
    good = server.serve("/good", BODY)
    return {
        "truncated": (server.serve("/cut", BODY, 12_000), {}, "was cut after 10,000 of 12,000 bytes"),
        "corrupt": (good, {"sha256": "0" * 64}, "SHA-256"),
        "too short": (good, {"size": 10_001}, "has 10,000 bytes where 10,001"),
        "too long": (good, {"size": 9_999}, "has 10,000 bytes, not at most 9,999"),
        "too large": (good, {"max_bytes": 9_999}, "has 10,000 bytes, not at most 9,999"),
        "too large, untold": (server.serve("/u", BODY, -1), {"max_bytes": 9_999}, "more than 9,999 bytes"),
        "stalled": (server.serve("/stall", BODY, 12_000, stall=True), {"timeout": 0.2}, "stalled"),
        "missing": (server.url + "/missing", {}, "404 Not Found; check the URL"),
        "to ftp": (server.redirect("/ftp", "ftp://127.0.0.1/x"), {}, "another kind of URL refused"),
        "to file": (server.redirect("/file", "file:///etc/hostname"), {}, "302"),
        "in circles": (server.redirect("/circle", "/circle"), {}, "infinite loop"),
        "nobody": ("http://127.0.0.1:1/x", {}, "cannot be fetched"),
        "no such file": ("file:///nowhere/x", {}, "cannot be fetched"),
        "no host": ("http:x", {}, "cannot be fetched"),
        "no port": ("http://127.0.0.1:port/x", {}, "cannot be fetched"),
    }


CASES = [
    "truncated", "corrupt", "too short", "too long", "too large", "too large, untold", "stalled", "missing",
    "to ftp", "to file", "in circles", "nobody", "no such file", "no host", "no port",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_failed_download_leaves_everything_as_it_was(server: Server, target: Path, case: str) -> None:
    url, wanted, message = _fails(server)[case]
    with pytest.raises(DownloadError, match=message):
        _get(url, target, **wanted)
    assert target.read_bytes() == b"before"
    assert os.listdir(target.parent) == ["file"]


def test_a_trickle_counts_as_stalled(server: Server, target: Path) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.released.wait(0.02):
            handler.wfile.write(b"x")

    server.answers["/drip"] = drip
    start = time.monotonic()
    with pytest.raises(DownloadError, match="stalled"):
        _get(server.url + "/drip", target, timeout=0.3)
    assert time.monotonic() - start < 3
    assert target.read_bytes() == b"before"


def test_a_server_that_never_answers_counts_as_stalled(server: Server, target: Path) -> None:
    def keep_silent(_: BaseHTTPRequestHandler) -> None:
        server.released.wait(10)

    server.answers["/silent"] = keep_silent
    with pytest.raises(DownloadError, match="stalled"):
        _get(server.url + "/silent", target, timeout=0.2)


@pytest.mark.parametrize("url", ["ftp://host/x", "data:text/plain,x", "/etc/hostname", "", "javascript:x"])
def test_other_kinds_of_url_are_refused(target: Path, url: str) -> None:
    with pytest.raises(InputError, match="https"):
        _get(url, target)


def test_a_redirect_may_not_leave_https() -> None:
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request

    from clario.paths import _opener

    (redirects,) = (h for h in _opener().handlers if isinstance(h, HTTPRedirectHandler))
    request = Request("https://example.org/x")
    assert redirects.redirect_request(request, None, 302, "Found", {}, "https://example.org/y")  # type: ignore[arg-type]
    with pytest.raises(HTTPError, match="refused"):
        redirects.redirect_request(request, None, 302, "Found", {}, "http://example.org/y")  # type: ignore[arg-type]


def test_secrets_in_a_url_are_not_shown() -> None:
    assert shown("https://me:secret@host/a/hp.obo?token=1#x") == "https://host/a/hp.obo"
    assert shown("https://host/a@b?c@d") == "https://host/a@b"
