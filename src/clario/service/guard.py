"""What every request passes before an endpoint sees it: who asks, from where, how much, how long.

The body is read whole, within its limits, before the endpoint starts; a client that goes away cancels the work
for it. Nothing that a client sent is logged: a path may hold a name, a query a phrase, an error a diary.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clario.service.access import Headers, check
from clario.service.metrics import Metrics
from clario.service.problems import Problem
from clario.service.settings import Settings

_log = logging.getLogger("clario.service")
_OPEN_TO_ALL = frozenset({"/health", "/ready"})  # what a supervisor asks
_NEVER_BUSY = _OPEN_TO_ALL | {"/metrics"}  # what is wanted most when the service is busy
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECURITY: dict[bytes, bytes] = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"cache-control": b"no-store",
}


class _Gone(Exception):  # noqa: N818  no error of ours
    """The client went away."""


class Guard:
    """The outermost layer of the service, as ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._under_way = set[_Reply]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            await self._watched(scope, receive, _Reply(send, self._settings.seconds))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)

    async def _watched(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        began = time.monotonic()
        self._metrics.open.inc()
        try:
            await self._safe(scope, receive, reply)
        finally:
            self._metrics.open.dec()
            self._note(scope, reply.status, time.monotonic() - began)

    async def _safe(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        try:
            await self._admitted(scope, receive, reply)
        except Problem as problem:
            await reply.refuse(problem)
        except _Gone:
            pass
        except Exception as error:  # noqa: BLE001  the server would log its message, which may hold the text
            frame = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("%s in %s, line %s", type(error).__name__, frame.name, frame.lineno)
            await reply.refuse(Problem("internal"))

    async def _admitted(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        headers = Headers(scope)
        check(headers, self._settings, scope["method"], token_needed=scope["path"] not in _OPEN_TO_ALL)
        if scope["path"] not in _NEVER_BUSY:
            if len(self._under_way) >= self._settings.requests:
                raise Problem("busy")
            self._under_way.add(reply)
        # Its place is free before the last byte goes: whoever has its answer may ask again at once.
        reply.before_end = lambda: self._under_way.discard(reply)
        try:
            body = await self._body(headers, receive)
            await self._answered(scope, receive, reply, body)
        finally:
            self._under_way.discard(reply)

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        limit = self._settings.body_bytes
        if headers.length > limit:
            raise Problem("body_too_large", f"the body may have {limit:,} bytes")
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                body = await _received(receive, limit)
        except TimeoutError:
            raise Problem("slow_body") from None
        if body and not headers.is_json:
            raise Problem("not_json")
        return body

    async def _answered(self, scope: Scope, receive: Receive, reply: "_Reply", body: bytes) -> None:
        """Let the endpoint answer, until the client goes away, or the time to begin an answer is over."""
        gone = asyncio.Event()
        work = asyncio.ensure_future(self._app(scope, _replay(body, gone), reply))
        watch = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({work, watch}, timeout=self._settings.seconds, return_when="FIRST_COMPLETED")
            if reply.started or reply.complete:
                await asyncio.wait({work} if reply.complete else {work, watch}, return_when="FIRST_COMPLETED")
            if not work.done() and not reply.complete:
                raise _Gone if watch.done() else Problem("timeout")
            await work
        finally:
            gone.set()
            for task in (work, watch):
                task.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count the request, and log it by its route's template; 499 is a client that went away unanswered."""
        route = getattr(scope.get("route"), "path", None) or "(none)"
        method = scope["method"] if scope["method"] in _METHODS else "(other)"
        self._metrics.requests.labels(method, route, str(status or 499)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        _log.info("%s %s %d %.0f ms", method, route, status or 499, seconds * 1000)


class _Reply:
    """The way back: adds the headers of security, and knows how far the answer is."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds = send, seconds
        self.status = 0
        self.complete = False
        self.before_end: Callable[[], None] = lambda: None

    @property
    def started(self) -> bool:
        return self.status > 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": _secured(message.get("headers", ()))}
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            self.complete = True
            self.before_end()
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(message)
        except TimeoutError:
            raise _Gone from None  # it does not read what it asked for

    async def refuse(self, problem: Problem) -> None:
        """Answer with an error, if no answer has begun; what came of the request so far is all that is read."""
        if self.started:
            return
        body = problem.body()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        coded = [(k.lower().encode(), v.encode()) for k, v in (headers | problem.headers).items()]
        with suppress(_Gone):
            await self({"type": "http.response.start", "status": problem.status, "headers": coded})
            await self({"type": "http.response.body", "body": body})


def _secured(headers: Any) -> list[tuple[bytes, bytes]]:
    own = [(name, value) for name, value in headers if name.lower() not in SECURITY]
    return [*own, *SECURITY.items()]


async def _received(receive: Receive, limit: int) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > limit:
            raise Problem("body_too_large", f"the body may have {limit:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _replay(body: bytes, gone: asyncio.Event) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if left:
            return left.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
