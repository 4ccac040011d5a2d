"""Who the sidecar answers to, and that what patients wrote stays out of logs and errors."""

import base64
import hmac
import logging
import re
from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")

import httpx
from service_server import Scripted, answer_on, raw, running

from clario.errors import InputError
from clario.ontology.resolver import Resolver
from clario.pipeline import Clario
from clario.service.settings import Settings

TOKEN = "0123456789abcdef-token"
SECRET = "zebra"


@pytest.fixture(scope="module")
def client(resolver: Resolver) -> Iterator[httpx.Client]:
    with running(Clario(Scripted(resolver))) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(resolver: Resolver) -> Iterator[httpx.Client]:
    with running(Clario(Scripted(resolver)), token=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:11435", "localhost.evil.example", "", "[", "127.0.0.1@e"]
)
def test_a_name_that_is_not_the_services_is_refused(client: httpx.Client, host: str) -> None:
    """DNS rebinding: the name of another site that resolves to the loopback."""
    answer = client.get("/health", headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "unknown_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:11435", "127.0.0.1:1", "[::1]:11435"])
def test_the_loopbacks_names_are_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).is_success


def test_further_names_can_be_allowed(resolver: Resolver) -> None:
    with running(Clario(Scripted(resolver)), hosts=frozenset({"Diary.example"})) as client:
        assert client.get("/health", headers={"Host": "diary.example"}).is_success
        assert client.get("/health", headers={"Host": "other.example"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_other_web_pages_are_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    for answer in (
        client.post("/extract", json={"diary": "word"}, headers=headers),
        client.get("/v1/resolve", params={"q": "word"}, headers=headers),
        client.options("/extract", headers=headers | {"Access-Control-Request-Method": "POST"}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_origin")
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_its_own_pages_and_links_to_them_are_answered(client: httpx.Client) -> None:
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert client.post("/extract", json={"diary": "word"}, headers=own).is_success
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/health", headers=link).is_success
    assert client.post("/extract", json={"diary": "word"}, headers=link).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_can_send_is_no_request(client: httpx.Client, kind: str) -> None:
    answer = client.post("/extract", content=b'{"diary": "word"}', headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "not_json")


def test_another_address_than_the_loopback_demands_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "diary.example", ""):
        with pytest.raises(InputError, match="CLARIO_TOKEN"):
            Settings(host=host)
        assert Settings(host=host, token=TOKEN).names is None
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert Settings(host=host).token is None


@pytest.mark.parametrize("token", ["", "short", "umlauts are not ASCII: ä"])
def test_a_weak_token_is_refused(token: str) -> None:
    with pytest.raises(InputError, match="token"):
        Settings(token=token)


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(Settings(token=TOKEN))


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize(
    "given",
    [
        "",
        TOKEN,
        "Bearer",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Basic %%%",
        "Basic \xe4",
        _basic("x"),
        "Bearer \xe4",
    ],
)
def test_without_the_token_nothing_is_told(guarded: httpx.Client, given: str) -> None:
    for path in ("/v1/terms/HP:0000217", "/metrics", "/nothing", "/openapi.json"):
        answer = guarded.get(path, headers={"Authorization": given.encode("latin-1")})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", _basic(TOKEN)])
def test_with_the_token_all_is_answered(guarded: httpx.Client, given: str) -> None:
    assert guarded.post("/extract", json={"diary": "word"}, headers={"Authorization": given}).is_success


def test_a_supervisor_needs_no_token(guarded: httpx.Client) -> None:
    assert guarded.get("/health").is_success
    assert guarded.get("/ready").status_code in {200, 503}


def test_the_token_is_compared_in_constant_time(guarded: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = list[tuple[bytes, bytes]]()
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    guarded.get("/metrics", headers={"Authorization": "Bearer guess"})
    assert compared == [(b"guess", TOKEN.encode())]


@pytest.mark.parametrize("path", ["/health", "/nothing", "/extract"])
def test_every_answer_has_the_headers_of_security(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/terms/..%2f..%2fetc%2fpasswd", "//etc/passwd"]
)
def test_no_path_leads_out(client: httpx.Client, path: str) -> None:
    answer = answer_on(
        raw(client, b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
    )
    assert re.match(rb"HTTP/1.1 (404|422) ", answer)
    assert b"root:" not in answer


BAD_BODIES = [
    b'{"diary": ["zebra"]}',
    b'{"zebra": "zebra"}',
    b'{"text": "a", "zebra": 1}',
    b'{"text": "a", "recorded": "zebra"}',
    b'{"diaries": [{"text": "a", "zebra": "zebra"}]}',
    b'{"diary": "zebra',
    b"zebra",
    b'{"diary": "zebra \xff"}',
    b'{"diary": "zebra \\ud800"}',
    b'{"text": "zebra \\ud800"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("path", ["/extract", "/v1/extract"])
@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_an_error_does_not_repeat_what_was_sent(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.json()["error"]["message"]
    assert SECRET not in answer.text + str(answer.headers)


@pytest.mark.parametrize("path", ["/v1/resolve?q=a&candidates=zebra", "/v1/terms/zebra", "/zebra?zebra"])
def test_nor_does_one_about_a_path_or_a_query(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in {404, 422}
    assert SECRET not in answer.text + str(answer.headers)


def test_no_words_of_a_request_are_logged_at_any_level(
    resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.NOTSET)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "fastapi", "asyncio", "clario"):
        caplog.set_level(logging.NOTSET, name)
    with running(Clario(Scripted(resolver, _shout))) as client:
        client.post("/extract", json={"diary": SECRET})
        client.post("/v1/extract", json={"id": SECRET, "text": f"raise {SECRET}"})
        client.post("/v1/extract", json={"diaries": [{"text": SECRET}, {"text": f"raise {SECRET}"}]})
        client.get("/v1/resolve", params={"q": SECRET}, headers={"X-Zebra": SECRET})
        client.get(f"/{SECRET}", params={SECRET: SECRET})
        for body in BAD_BODIES:
            client.post("/extract", content=body, headers={"Content-Type": "application/json"})
        answer_on(raw(client, b"ZEBRA /zebra?q=zebra HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        answer_on(raw(client, b"zebra \x00 zebra\r\n\r\n"))
    logged = [record for record in caplog.records if not record.name.startswith("http")]  # the client's own
    assert "POST /extract 200" in " ".join(record.getMessage() for record in logged)
    for record in logged:
        assert SECRET not in f"{record.getMessage()} {record.exc_info} {record.args}".lower()


def _shout(texts: object) -> None:
    if "raise" in str(texts):
        raise RuntimeError(f"cannot read {texts}")


def test_an_error_of_ours_is_told_without_its_message(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    with running(Clario(Scripted(resolver))) as client:
        monkeypatch.setattr(Resolver, "resolve", fail)
        answer = client.get("/v1/resolve", params={"q": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert any("RuntimeError in fail" in line for line in ours)
    assert SECRET not in " ".join(ours) + answer.text
