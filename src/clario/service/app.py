"""The sidecar as an ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from clario import __version__
from clario.pipeline import Clario
from clario.service import reading, terms, watching
from clario.service.guard import Guard
from clario.service.problems import Problem
from clario.service.settings import Settings
from clario.service.state import State, new

_ABOUT = """
Patient diaries in lay words in, [Human Phenotype Ontology](https://human-phenotype-ontology.org) terms out.
**Not a diagnosis.** Every answer that is no success is `{"error": {"code", "message"}}`.
"""
_PAGE = "clario.service.review"
_CODES = {404: "not_found", 405: "method_not_allowed"}
# Names of the contract, which may be repeated; any other key of a request may be anything.
_KNOWN = frozenset(
    "body query path header diary ts_recorded text id recorded diaries q candidates dense hpo_id".split()
)


def create_app(clario: Clario, settings: Settings | None = None) -> FastAPI:
    """The sidecar.

    Args:
        clario: reads the diaries, in one thread of its own.
        settings: how it is reached, and its limits; by default the loopback, without a token.
    """
    state = new(clario, settings or Settings())
    app = FastAPI(
        title="Clario",
        version=__version__,
        description=_ABOUT,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=_lifespan(state),
        docs_url=None,  # they load scripts of other servers
        redoc_url=None,
    )
    app.state.clario = state
    app.openapi = _described(app, state.settings)  # type: ignore[method-assign]
    bearer = HTTPBearer(auto_error=False, description="Only where the service has a token")
    guarded = [Depends(bearer)] if state.settings.token else []
    for router in (reading.router(state), terms.router(state), watching.guarded(state), *_page(state)):
        app.include_router(router, dependencies=guarded)
    app.include_router(watching.open_to_all(state))
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_middleware(Guard, settings=state.settings, metrics=state.metrics)
    return app


def _described(app: FastAPI, settings: Settings) -> Callable[[], dict[str, Any]]:
    """The OpenAPI, with the limits of this service."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = FastAPI.openapi(app)["components"]["schemas"]
            for model, field in (("Entry", "diary"), ("OneDiary", "text")):
                schemas[model]["properties"][field]["maxLength"] = settings.text_chars
            schemas["ManyDiaries"]["properties"]["diaries"]["maxItems"] = settings.texts
        assert app.openapi_schema is not None
        return app.openapi_schema

    return openapi


def _lifespan(state: State) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state.batcher.start()
        yield
        await state.batcher.close(state.settings.drain_seconds)

    return lifespan


def _page(state: State) -> list[APIRouter]:
    """The review page, where it is installed."""
    return [import_module(_PAGE).router(state)] if find_spec(_PAGE) else []


def _respond(problem: Problem) -> Response:
    return Response(problem.body(), problem.status, problem.headers, media_type="application/json")


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _respond(error)


def _invalid(_: Request, error: Exception) -> Response:
    """Where a request is wrong, and how; FastAPI's own answer would repeat what was sent."""
    assert isinstance(error, RequestValidationError)
    details = [
        {"where": [part for part in one["loc"] if isinstance(part, int) or part in _KNOWN], "kind": one["type"]}
        for one in error.errors()
    ]
    return _respond(Problem("invalid", details=details))


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code >= 500:
        return _respond(Problem("internal"))
    return _respond(Problem(_CODES.get(error.status_code, "bad_request"), headers=error.headers))
