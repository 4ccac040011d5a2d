"""How the sidecar is reached, and its limits."""

import ipaddress
from dataclasses import dataclass, field

from clario.errors import InputError

PORT = 11435
"""The reference sidecar's, beside Ollama's 11434."""
SHORTEST_TOKEN = 16
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the sidecar is reached, and its limits.

    Args:
        host: the address it listens on.
        token: what every request must bring; demanded where `host` is not this machine's loopback.
        hosts: further names that the service is called by, such as behind a proxy.
        body_bytes: the largest body of a request.
        text_chars: the longest diary, in code points.
        texts: the most diaries of one request.
        requests: how many requests may be under way at once; more are told to come again.
        body_seconds: how long the body of a request may take to come.
        seconds: how long the answer may take: of one request, or of one line of a stream.
        batch: how many texts of several requests are read together at most; None is what the extractor likes.
        gather_seconds: how long to wait for others to read together with.
        drain_seconds: how long a shutdown waits for what was accepted.
        own_only: the reference's `/extract` leaves out what the patient does not have: denied, others', feared.

    Raises:
        InputError: another address than the loopback without a token, a weak token, or a limit below 1.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    token: str | None = field(default=None, repr=False)
    hosts: frozenset[str] = frozenset()
    body_bytes: int = 4 << 20
    text_chars: int = 100_000
    texts: int = 10_000
    requests: int = 64
    body_seconds: float = 10.0
    seconds: float = 100.0
    batch: int | None = None
    gather_seconds: float = 0.003
    drain_seconds: float = 30.0
    own_only: bool = False

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise InputError(
                f"{self.host} can be reached from other machines: set CLARIO_TOKEN or --token-file, "
                "or listen on 127.0.0.1"
            )
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise InputError(f"the token must have at least {SHORTEST_TOKEN} characters, all of them ASCII")
        counts = self.body_bytes, self.text_chars, self.texts, self.requests, self.batch or 1
        if min(counts) < 1 or min(self.body_seconds, self.seconds) <= 0:
            raise InputError("a limit must be at least 1")

    @property
    def names(self) -> frozenset[str] | None:
        """The names that the service answers to; None where any will do, because a token is demanded."""
        if self.hosts or is_loopback(self.host):
            return LOOPBACK_NAMES | {self.host.lower()} | {name.lower() for name in self.hosts}
        return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
