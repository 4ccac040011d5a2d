"""The sidecar as an extractor: a server that reads diaries, asked over HTTP, and not believed blindly.

It is asked at `/v1/extract`, which gives Clario's own result; a server that has only the reference's `/extract`
is asked there, and what it names is looked up here. Only the standard library: the journal works without extras.
"""

import datetime as dt
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from clario import __version__
from clario.entities import Assertion, EntityType, Extraction, Mention
from clario.errors import InputError, ModelError, UnknownTermError
from clario.extraction.base import Extractor, Mentions
from clario.extraction.grounding import CONFIDENCE, Place, find
from clario.extraction.parse import TYPES, known
from clario.ontology.resolver import Resolver
from clario.paths import shown
from clario.pipeline import Clario

URL_VARIABLE: Final = "CLARIO_EXTRACTOR_URL"
TOKEN_VARIABLE: Final = "CLARIO_TOKEN"
TIMEOUT: Final = 60.0
LARGEST_REPLY: Final = 4 * 2**20  # bytes
_OURS, _REFERENCE = "/v1/extract", "/extract"
_ABSENT: Final = frozenset({404, 405})
_BUSY: Final = frozenset({408, 425, 429})
_CHUNK: Final = 1 << 16
# What the reference calls a behaviour.
_TYPES: Final = {**TYPES, "activity": EntityType.BEHAVIOR}
_ASSERTIONS: Final = {a.value: a for a in Assertion}


class TransientError(ModelError):
    """The same request may succeed later. `wait` is how many seconds the server asks for, if it does."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Sidecar:
    """A server of `POST /v1/extract` or of the reference's `POST /extract`.

    Args:
        url: of the server, with or without the path of its endpoint.
        timeout: seconds that a whole answer may take, however the server spreads it.

    Raises:
        InputError: no http or https URL, or one that carries a user, a password or a query.
    """

    def __init__(self, url: str, resolver: Resolver, *, timeout: float = TIMEOUT) -> None:
        self.url, self._resolver, self._timeout = _base(url), resolver, timeout
        self._token = _token()
        self._has_ours: bool | None = None

    def read(self, text: str, id: str, recorded: dt.date | None) -> Extraction:
        """What the server finds in a text; every quote of it stands in the text.

        Raises:
            TransientError: not reached, too slow, too busy, or an answer that cannot be read.
            ModelError: it refuses the request: another try is of no use.
        """
        day = recorded.isoformat() if recorded else None
        if self._has_ours is not False:
            status, answer = self._post(_OURS, {"text": text, "recorded": day})
            if status not in _ABSENT:
                self._has_ours = True
                return _extraction(answer, text, id)
            self._has_ours = False
        status, answer = self._post(_REFERENCE, {"diary": text, "ts_recorded": day})
        if status in _ABSENT:
            self._has_ours = None  # one that is only starting may answer so
            raise TransientError(f"{self.url} has neither {_OURS} nor {_REFERENCE}; is it the right server?")
        return self._named_here(answer, text, id, recorded)

    def _named_here(self, answer: Any, text: str, id: str, recorded: dt.date | None) -> Extraction:
        """An answer by the reference contract, brought to ours: grounded, resolved, with our context and dates."""
        answered = _Answered(self._resolver, self.url, _mentions(answer, text, self._resolver))
        found = Clario(answered).extract(text, id=id, recorded=recorded)
        hint = _date(answer.get("ts_event_hint")) or found.ts_event_hint
        return found.model_copy(update={"ts_event_hint": hint})

    def _post(self, path: str, body: Mapping[str, object]) -> tuple[int, Any]:
        try:
            status, headers, data = self._exchange(path, json.dumps(body).encode())
        except TimeoutError:
            status, why = 0, f"gave no answer within {self._timeout:g} s"
        except (OSError, HTTPException, UnicodeError) as error:  # the last: a URL that no host can have
            # Not the error itself: a server's own words may repeat what it was asked.
            status, why = 0, f"cannot be reached or hung up ({type(error).__name__}); is it running?"
        if not status:
            raise TransientError(f"{self.url} {why}")
        if status in _ABSENT:
            return status, None
        self._refuse(status, headers)
        return status, _json(data, self.url)

    def _exchange(self, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        until = time.monotonic() + self._timeout
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        headers = {"Content-Type": "application/json", "User-Agent": f"clario/{__version__}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        with closing(kind(parts.hostname or "", parts.port, timeout=self._timeout)) as connection:
            connection.request("POST", parts.path + path, body, headers)
            if connection.sock:
                connection.sock.settimeout(max(0.001, until - time.monotonic()))
            with connection.getresponse() as response:
                return response.status, dict(response.headers), _within(response, until, connection)

    def _refuse(self, status: int, headers: Mapping[str, str]) -> None:
        if status == 200:
            return
        if status in _BUSY or status >= 500:
            raise TransientError(f"{self.url} said {status}", _wait(headers))
        hint = f"; check {TOKEN_VARIABLE}" if status in (401, 403) else ""
        raise ModelError(f"{self.url} refused the request ({status}){hint}")


class _Answered(Extractor):
    """A server's answer to one text, as an extractor's, so that the pipeline does the rest."""

    name = "sidecar"
    max_chars = 1 << 62

    def __init__(self, resolver: Resolver, url: str, mentions: Mentions) -> None:
        super().__init__(resolver)
        self.version, self.mentions = url, mentions

    def extract(self, texts: Sequence[str]) -> list[list[Mention] | ModelError]:
        return [self.mentions for _ in texts]


def _base(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(f"{shown(url)[:200]} is no URL of a server such as http://127.0.0.1:11435")
    return url.strip().rstrip("/").removesuffix(_OURS).removesuffix(_REFERENCE)


def _token() -> str:
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise InputError(f"{TOKEN_VARIABLE} has a character that no token has")
    return token


def _within(response: HTTPResponse, until: float, connection: HTTPConnection) -> bytes:
    """The whole body; a server that sends a byte now and then does not get more time for it."""
    data = b""
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if connection.sock:
            connection.sock.settimeout(left)
        chunk = response.read1(_CHUNK)
        if not chunk:
            break
        data += chunk
        if len(data) > LARGEST_REPLY:
            raise HTTPException
    if response.length:  # cut off
        raise HTTPException
    return data


def _json(data: bytes, url: str) -> Any:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise TransientError(f"{url} did not answer with a JSON object")
    return answer


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks to wait, where it is a number."""
    value = next((v.strip() for name, v in headers.items() if name.lower() == "retry-after"), "")
    return float(value[:9]) if value.isascii() and value.isdigit() else None


def _extraction(answer: Any, text: str, id: str) -> Extraction:
    try:
        found = Extraction.model_validate({**answer, "id": id})
    except (ValidationError, RecursionError):
        found = None
    if found is None:
        raise TransientError("the sidecar's answer is no Extraction")
    if any(text[e.start : e.end] != e.name_colloquial for e in found.entities):
        raise TransientError("the sidecar's answer quotes what is not in the text")
    return found


def _mentions(answer: Any, text: str, resolver: Resolver) -> Mentions:
    """The entities of the reference contract that stand in the text.

    Raises:
        TransientError: no list of entities, or none of them can be used: an empty success would lose the diary.
    """
    given = answer.get("entities")
    if not isinstance(given, list):
        raise TransientError("the sidecar's answer has no list of entities")
    taken = set[tuple[int, int]]()
    read = [_mention(entity, text, resolver, taken) for entity in given]
    kept = sorted((m for m in read if m), key=lambda m: (m.start, m.end))
    left_out = len(read) - len(kept)
    if left_out and not kept:
        raise TransientError(f"none of the sidecar's {left_out} entities can be used")
    return Mentions(kept, [f"{left_out} entities of the sidecar were left out"] if left_out else [])


def _mention(given: Any, text: str, resolver: Resolver, taken: set[tuple[int, int]]) -> Mention | None:
    entity = given if isinstance(given, dict) else {}
    attrs = entity["attrs"] if isinstance(entity.get("attrs"), dict) else {}
    name = _words(entity.get("name"))
    quote = _words(attrs.get("name_colloquial")) or name
    type = known(_TYPES, attrs.get("type")) or known(_TYPES, entity.get("type"))
    place = _told_place(attrs, text) or (find(quote, text, taken) if quote else None)
    words = text[place.start : place.end] if place else ""
    if type is None or place is None or not words.strip():
        return None
    taken.add((place.start, place.end))
    return Mention(
        type=type,
        name_colloquial=words,
        start=place.start,
        end=place.end,
        name_canonical=_label(attrs.get("hpo_id"), resolver) or name or words.strip(),
        assertion=known(_ASSERTIONS, attrs.get("assertion")),
        confidence=_sure(attrs.get("confidence"), CONFIDENCE * place.likeness),
    )


def _told_place(attrs: Mapping[str, Any], text: str) -> Place | None:
    """The offsets that our own sidecar gives beside the contract, if the quote stands there."""
    start, end, quote = (attrs.get(name) for name in ("start", "end", "name_colloquial"))
    if isinstance(start, int) and isinstance(end, int) and isinstance(quote, str):
        return Place(start, end, 1.0) if 0 <= start < end and text[start:end] == quote else None
    return None


def _sure(told: object, otherwise: float) -> float:
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    return float(told) if is_number and 0 <= told <= 1 else otherwise  # type: ignore[operator,arg-type]


def _label(hpo_id: object, resolver: Resolver) -> str | None:
    """The label that a server's id has in the release in use; by it the resolver comes to that id again."""
    if not isinstance(hpo_id, str):
        return None
    try:
        live = resolver.index.live(hpo_id)
    except UnknownTermError:
        return None
    return resolver.index.label(live) if resolver.index.is_phenotypic(live) else None


def _words(value: object) -> str:
    """A text without what is no Unicode: half of a surrogate pair, which JSON can hold."""
    return value.encode("utf-8", "ignore").decode().strip() if isinstance(value, str) else ""


def _date(value: object) -> str | None:
    try:
        return dt.date.fromisoformat(value).isoformat() if isinstance(value, str) else None
    except ValueError:
        return None
