"""Schemathesis: whatever the OpenAPI allows is answered as it says, whatever it forbids is refused.

A short run; docs/SERVICE.md has the long one. Small limits keep what goes beyond them small, too.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")
pytest.importorskip("schemathesis")

import schemathesis
from schemathesis import GenerationMode
from service_server import running

from clario.pipeline import Clario


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running(Clario("lexicon"), text_chars=500, texts=5) as client:
        yield client


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_every_endpoint_keeps_its_word(client: httpx.Client, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    statuses = set[int]()
    for found in schema.exclude(path_regex="^/review").get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters:
            statuses |= _tried(operation, mode)
    assert (200 if mode is GenerationMode.POSITIVE else 422) in statuses


def _tried(operation: Any, mode: GenerationMode) -> set[int]:
    """The statuses that an endpoint answered made-up requests with, each of them checked."""
    statuses = set[int]()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def tried(case: Any) -> None:
        response = case.call()
        case.validate_response(response)
        statuses.add(response.status_code)

    tried()
    return statuses
