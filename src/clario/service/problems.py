"""What a client is told when something is wrong: `{"error": {"code", "message"}}`, never with what it sent."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

CODES: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "the request cannot be read"),
    "unauthorized": (401, "bring the token: 'Authorization: Bearer TOKEN'"),
    "unknown_host": (403, "the service does not go by this name; start it with --allow-host NAME"),
    "cross_origin": (403, "requests from other web pages are refused"),
    "not_found": (404, "there is nothing at this path; see /openapi.json"),
    "unknown_term": (404, "the HPO release in use has no such term"),
    "method_not_allowed": (405, "this path does not take this method; see the Allow header"),
    "slow_body": (408, "the body took too long to come; send it again, faster"),
    "body_too_large": (413, "the body is too large; send fewer or shorter texts"),
    "not_json": (415, "send the body as application/json"),
    "invalid": (422, "the request does not have the form that /openapi.json describes; see details"),
    "text_too_long": (422, "a text is too long; split it"),
    "too_many_texts": (422, "too many texts at once; send several requests"),
    "busy": (429, "too many requests are under way; try again after the seconds in Retry-After"),
    "internal": (500, "an error of the service itself; its log names the place"),
    "model_failed": (502, "the model failed; see its server, or start the service with another --model"),
    "unreadable_answer": (502, "the model's answer could not be read; try again, or another --model"),
    "timeout": (503, "the answer took too long; send shorter texts, or start the service with a longer --timeout"),
    "closing": (503, "the service shuts down; try again after the seconds in Retry-After"),
    "not_ready": (503, "the model has not read a text yet; try again after the seconds in Retry-After"),
}
_LATER = frozenset({"busy", "timeout", "closing", "not_ready"})
RETRY_AFTER = 1  # seconds


class Problem(Exception):  # noqa: N818  it is an answer, and RFC 9457 calls it so
    """A request that is answered with an error.

    Args:
        code: one of `CODES`.
        message: what is told; None is the usual words. Never what the client sent.
        details: where in the request, and what is wrong there.
        headers: of the answer.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        details: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code, self.details = code, details
        self.status, usual = CODES[code]
        self.message = message or usual
        self.headers = dict(headers or {}) | ({"Retry-After": str(RETRY_AFTER)} if code in _LATER else {})
        if code == "unauthorized":
            # Basic lets a browser ask for the token, as the password of any user.
            self.headers["WWW-Authenticate"] = 'Basic realm="Clario", charset="UTF-8"'
        super().__init__(code)

    def body(self) -> bytes:
        """The answer's JSON."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details:
            error["details"] = list(self.details)
        return json.dumps({"error": error}).encode()


class Detail(BaseModel):
    """A fault of a request: where, and of which kind. What was sent is not repeated."""

    where: list[str | int] = Field(examples=[["body", "diary"]])
    kind: str = Field(examples=["missing"])


class ErrorBody(BaseModel):
    """What went wrong and what to do."""

    code: str = Field(examples=["busy"])
    message: str
    details: list[Detail] = Field(default=[], description="Only of code 'invalid'")


class Error(BaseModel):
    """Every answer that is no success."""

    error: ErrorBody


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The answers of an endpoint for its OpenAPI, by status; those that any request may get are added."""
    every = (
        *codes,
        "bad_request",
        "unauthorized",
        "cross_origin",
        "slow_body",
        "body_too_large",
        "busy",
        "internal",
    )
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in sorted({*every, "timeout"}, key=lambda code: CODES[code][0]):
        status, message = CODES[code]
        example = {"summary": code, "value": {"error": {"code": code, "message": message}}}
        known = by_status.setdefault(status, {"model": Error, "description": message, "content": {}})
        content = known["content"].setdefault("application/json", {"examples": {}})
        content["examples"][code] = example
    return by_status
