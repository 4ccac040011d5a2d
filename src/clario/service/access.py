"""Who may ask: the token, the service's own names, and its own pages."""

import base64
import hmac
from urllib.parse import urlsplit

from starlette.types import Scope

from clario.service.problems import Problem
from clario.service.settings import Settings


class Headers:
    """The headers of a request that decide whether it is answered."""

    def __init__(self, scope: Scope) -> None:
        self._values: dict[bytes, str] = {
            name.lower(): value.decode("latin-1") for name, value in scope["headers"]
        }

    def get(self, name: str) -> str:
        """The value of a header, empty where there is none."""
        return self._values.get(name.encode(), "")

    @property
    def length(self) -> int:
        """What the body says its length is, in bytes; 0 where it does not say."""
        length = self.get("content-length")
        return int(length) if length.isdecimal() and length.isascii() and len(length) < 20 else 0

    @property
    def is_json(self) -> bool:
        """Whether the body says that it is JSON, which a form of another web page cannot."""
        return self.get("content-type").partition(";")[0].strip().lower() == "application/json"


def check(headers: Headers, settings: Settings, method: str, *, token_needed: bool = True) -> None:
    """Refuse a request that has no business here.

    Raises:
        Problem: it is meant for another host (DNS rebinding), comes from another web page, or has no token.
    """
    if settings.names is not None and _name(headers.get("host")) not in settings.names:
        raise Problem("unknown_host")
    if not _own_page(headers, method):
        raise Problem("cross_origin")
    if token_needed and settings.token is not None and not _brings(headers.get("authorization"), settings.token):
        raise Problem("unauthorized")


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _own_page(headers: Headers, method: str) -> bool:
    """Whether no other web page asks. What is no browser sends neither header."""
    site = headers.get("sec-fetch-site")
    if site not in {"", "same-origin", "none"}:
        link = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        return link and headers.get("sec-fetch-dest") == "document"
    origin = headers.get("origin")
    return not origin or origin.lower().partition("://")[2] == headers.get("host").lower()


def _brings(authorization: str, token: str) -> bool:
    """Whether the token comes along, as Bearer or as the password of Basic; compared in constant time."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given.strip(), validate=True).decode("latin-1").partition(":")[2]
        except ValueError:  # binascii.Error, and what is not ASCII
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
