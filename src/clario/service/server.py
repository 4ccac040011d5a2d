"""Runs the sidecar: the socket, the signals, and what is logged."""

import logging
import signal
import socket
from collections.abc import Callable

import uvicorn

from clario.errors import OutputError
from clario.pipeline import Clario
from clario.service.app import create_app
from clario.service.settings import Settings

_BACKLOG = 256


def serve(clario: Clario, settings: Settings, announce: Callable[[str], None] = lambda url: None) -> None:
    """Serve until SIGINT or SIGTERM; what was accepted is finished first. A second SIGINT ends it at once.

    Args:
        clario: reads the diaries.
        settings: how it is reached, and its limits; port 0 takes a free one.
        announce: told the URL once clients can connect.

    Raises:
        OutputError: the port is taken, or the address is not this machine's.
    """
    server = uvicorn.Server(config(clario, settings))
    with listening(settings) as bound:
        announce(url_of(bound))
        # uvicorn raises the signal again when all is finished: told to end, it has ended, and that is no fault.
        before = {number: signal.signal(number, _ended) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            server.run(sockets=[bound])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def config(clario: Clario, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves Clario: without its own access log, which holds paths and queries, and its own name."""
    return uvicorn.Config(
        create_app(clario, settings),
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )


def listening(settings: Settings) -> socket.socket:
    """The socket of the service; raises OutputError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.port))
        bound.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        why = getattr(error, "strerror", None) or error
        raise OutputError(
            f"cannot listen on {settings.host}, port {settings.port}: {why}; name another with --host and --port"
        ) from None
    return bound


def url_of(bound: socket.socket) -> str:
    """Where a bound socket is reached."""
    host, port, *_ = bound.getsockname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _ended(_number: int, _frame: object) -> None:
    pass
