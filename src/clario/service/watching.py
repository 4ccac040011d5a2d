"""The endpoints for whoever runs the service."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

from clario import __version__
from clario.service import metrics
from clario.service.messages import Health, Readiness
from clario.service.problems import Problem, documented
from clario.service.state import State


def open_to_all(state: State) -> APIRouter:
    """What a supervisor asks, without a token."""
    api = APIRouter(tags=["watch"])

    @api.get("/health", responses=documented())
    async def health() -> Health:
        """That the service is there, and what it answers with."""
        return Health(
            ready=state.batcher.ready,
            adapter=state.clario.model,
            hpo_index_loaded=True,
            hpo_release=state.clario.resolver.release,
            version=__version__,
        )

    @api.get("/ready", responses=documented("not_ready"))
    async def ready() -> Readiness:
        """That the model has read a text, and texts may come."""
        if not state.batcher.ready:
            raise Problem("not_ready")
        return Readiness(ready=True)

    return api


def guarded(state: State) -> APIRouter:
    """The figures."""
    api = APIRouter(tags=["watch"])

    @api.get("/metrics", responses=documented(), response_class=PlainTextResponse)
    async def figures() -> Response:
        """Counts and times in Prometheus' format; no words of patients, no ids."""
        return Response(state.metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})

    return api
