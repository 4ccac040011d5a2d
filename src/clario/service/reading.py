"""The endpoints that read diaries."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import Response, StreamingResponse

from clario.entities import Extraction, Failure
from clario.errors import InputError
from clario.extraction.dates import parse_recorded
from clario.pipeline import Diary
from clario.service import sidecar
from clario.service.messages import DIARY_EXAMPLES, ENTRY_EXAMPLES, Answer, Entry, ManyDiaries, OneDiary
from clario.service.problems import Problem, documented
from clario.service.state import State

NDJSON = "application/x-ndjson"
_AHEAD = 32  # texts of one stream that may wait for the model
_FAULTS = "not_json", "invalid", "text_too_long", "model_failed", "closing"
_LINES: dict[str, Any] = {
    "description": "An Extraction; as NDJSON, one a line, with `{id, error}` where a text could not be read",
    "content": {NDJSON: {"schema": {"type": "string"}}},
}


def router(state: State) -> APIRouter:
    """The reference's `/extract`, and our own `/v1/extract`."""
    api = APIRouter(tags=["read"])

    @api.post("/extract", responses=documented(*_FAULTS, "unreadable_answer"), response_model_exclude_unset=True)
    async def extract(
        entry: Annotated[Entry, Body(openapi_examples=ENTRY_EXAMPLES)], response: Response
    ) -> Answer:
        """Read one diary, in the reference's contract. `X-Clario-Warnings` tells what was odd."""
        extraction = await state.read(Diary("0", entry.diary, _day(entry.ts_recorded)))
        if extraction.warnings:
            response.headers["X-Clario-Warnings"] = _header("; ".join(extraction.warnings))
        return sidecar.answer(extraction, entry.diary, own_only=state.settings.own_only)

    @api.post(
        "/v1/extract",
        response_model=Extraction,
        responses=documented(*_FAULTS, "too_many_texts") | {200: _LINES},
    )
    async def extract_v1(
        asked: Annotated[OneDiary | ManyDiaries, Body(openapi_examples=DIARY_EXAMPLES)], request: Request
    ) -> Response:
        """Read one diary, or many: these come as a stream of lines, in order, each as soon as it is read."""
        many = isinstance(asked, ManyDiaries)
        diaries = [
            _diary(n, one) for n, one in enumerate(asked.diaries if isinstance(asked, ManyDiaries) else [asked])
        ]
        _check(state, diaries)
        if many or NDJSON in request.headers.get("accept", ""):
            return StreamingResponse(_lines(state, diaries), media_type=NDJSON)
        extraction = await state.read(diaries[0])
        return Response(extraction.model_dump_json(), media_type="application/json")

    return api


def _header(text: str) -> str:
    """A text that a header can hold."""
    return " ".join(text.encode("ascii", "replace").decode().split())


def _day(recorded: str | None) -> date | None:
    """The day of the reference's `ts_recorded`; its contract takes any string."""
    try:
        return parse_recorded(recorded) if recorded else None
    except InputError:
        return None


def _diary(position: int, one: OneDiary) -> Diary:
    return Diary(str(position) if one.id is None else one.id, one.text, one.recorded)


def _check(state: State, diaries: list[Diary]) -> None:
    if len(diaries) > state.settings.texts:
        raise Problem("too_many_texts", f"at most {state.settings.texts:,} texts in one request")
    for diary in diaries:
        state.check(diary.text)


async def _lines(state: State, diaries: list[Diary]) -> AsyncIterator[str]:
    """Results as lines, in order; some texts wait for the model ahead of their turn."""
    left, under_way = iter(diaries), deque[asyncio.Task[Extraction | Failure]]()
    try:
        while True:
            while len(under_way) < _AHEAD and (diary := next(left, None)) is not None:
                under_way.append(asyncio.create_task(_told(state, diary)))
            if not under_way:
                return
            yield (await under_way[0]).model_dump_json() + "\n"
            under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()


async def _told(state: State, diary: Diary) -> Extraction | Failure:
    """The result of a text of a stream; what is wrong with it stands in its place."""
    try:
        return await state.read(diary)
    except Problem as problem:
        return Failure(id=diary.id, error=problem.message)
