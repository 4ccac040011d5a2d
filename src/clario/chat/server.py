"""What a chat server is: its URL, what it speaks, what it was found to be like, and how one waits for it."""

import random
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from clario.errors import InputError, ModelError
from clario.paths import shown

HOW = "is not a URL such as http://127.0.0.1:11434, without user, password and query"


class Api(StrEnum):
    """What a server speaks."""

    OLLAMA = "ollama"
    OPENAI = "openai"


class ServerError(ModelError):
    """The server is not there, went away, or refuses what it is asked: another request makes no sense."""


class UnfitError(ServerError):
    """The server cannot do this one request, though it has answered none before it; others may pass."""


class NoReply(Exception):  # noqa: N818 - no error of the user's: whoever asked may ask again
    """A request got no reply; the message says why, without a word of a diary."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a model is: the server's URL (with or without a path such as `/v1`), the model as it is named there.

    Raises:
        InputError: not an http or https URL, or one that carries a user, a password or a query.
    """

    url: str
    model: str
    api: Api = Api.OLLAMA

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.username or parts.password or parts.query or parts.fragment:
            raise InputError(f"{shown(self.url)} {HOW}")

    @property
    def endpoint(self) -> str:
        """Where the requests go."""
        path = "/api/chat" if self.api is Api.OLLAMA else "/v1/chat/completions"
        base = self.url.rstrip("/")
        return base.removesuffix(path).removesuffix("/v1").removesuffix("/api") + path

    @property
    def is_this_machine(self) -> bool:
        """Whether the URL names the loopback, which no proxy can reach."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote, its tokens (0 where the server does not tell), and what is wrong with the reply."""

    content: str
    tokens_in: int = 0
    tokens_out: int = 0
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is sent, and how long to wait between, in seconds.

    Exponential with full jitter: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """

    tries: int = 6
    first: float = 1.0
    longest: float = 60.0

    def wait(self, failures: int, asked_for: float | None = None) -> float:
        """Seconds to wait after so many failures (1 or more); at least as long as the server asked for."""
        if asked_for is not None:
            return asked_for + random.uniform(0, self.first)
        return random.uniform(0, min(self.longest, self.first * 2 ** (failures - 1)))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn.

    Args:
        context: tokens of the prompt and the answer together, for Ollama, which cuts longer prompts silently.
        limited: at most `MOST_TOKENS` also of OpenAI-compatible servers. The name of that field is what they agree
            on least: who refuses it is asked without.
    """

    temperature: float = 1.0
    context: int | None = None
    limited: bool = False


@dataclass(slots=True)
class Manner:
    """What was found out about a server: it outlives a conversation."""

    reached: bool = False
    answered: bool = False
    plain: bool | None = None  # takes nothing beyond messages and a schema without lengths; None: not known yet
    think: bool | str = False
    paused_until: float = 0.0  # by `time.monotonic`
