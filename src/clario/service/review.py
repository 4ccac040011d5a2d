"""The review page and its API: a person looks at what was found in a diary, and decides.

Each change is kept before it is answered, under the version that its author saw; an outdated one is answered with
409 and the newest version. Diaries and searches come in bodies: addresses end up in logs. What is kept where,
`review_desk` tells. The API is the page's own and may change with it, so OpenAPI leaves it out.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute

from clario import __version__
from clario.entities import EntityType
from clario.errors import ClarioError, InputError, OutputError, UnknownTermError
from clario.journal.records import Add, Change, ConflictError, Item, UnknownEntryError, View, change_of
from clario.ontology.resolver import Resolver
from clario.pipeline import Diary
from clario.service import review_export as exports
from clario.service.problems import Problem
from clario.service.review_desk import IDLE_HOURS, Desk, Desks, Drafts, FullError
from clario.service.review_messages import Annotator, Asked, Changed, Compared, Exported, Pasted, Who
from clario.service.review_terms import found
from clario.service.settings import Settings
from clario.service.state import State

UNSURE_BELOW = 0.5
"""Confidence is calibrated: below this, a proposal is wrong more often than right, and marked."""
_PAGE = Path(__file__).parent / "page"
_FILES = frozenset(path.name for path in _PAGE.iterdir() if path.suffix in {".css", ".js", ".svg"})
_STATUS: dict[type[Exception], tuple[int, str]] = {
    UnknownEntryError: (404, "unknown_diary"),
    UnknownTermError: (404, "unknown_term"),
    FullError: (507, "full"),
    ConflictError: (409, "gone"),
    InputError: (422, "invalid"),
    OutputError: (503, "not_kept"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSettings(Settings):
    """Settings of a sidecar with a review page that does more than read pasted diaries.

    Args:
        journal: the journal's file, whose entries everybody who can reach the service may then see and correct.
        journal_key: of an encrypted journal.
        blind: the model's proposals are neither made nor shown, so that people mark what they see themselves.
    """

    journal: Path | None = None
    journal_key: str | None = field(default=None, repr=False)
    blind: bool = False


class Reviews:
    """What the page can do, without HTTP."""

    def __init__(self, desks: Desks, resolver: Resolver, blind: bool) -> None:
        self.desks, self.resolver, self.blind = desks, resolver, blind

    def shown(self, id: str, annotator: str) -> dict[str, Any]:
        """A diary with an annotator's review of it; raises UnknownEntryError."""
        desk, name = self.desks.of(id)
        entry = desk.entry(name)
        view = desk.effective(name, annotator, blind=self.blind)
        return {
            "id": id,
            "text": entry.text,
            "recorded": entry.recorded and entry.recorded.isoformat(),
            "kept": desk is not self.desks.drafts,
            "read": view.model is not None,
            "view": view.model_dump(mode="json"),
            "labels": self._labels(view),
            # Who is not finished must not know how the others marked it.
            "others": exports.finishers(desk, name, annotator) if view.finished else [],
        }

    def change(self, id: str, given: Changed) -> None:
        """Make a change; raises ConflictError where somebody else was first, InputError where it does not fit."""
        desk, name = self.desks.of(id)
        match given.change:
            case {"action": "finish" | "reopen" as action}:
                desk.finish(name, given.annotator, action == "finish")
            case {"action": "undo"}:
                desk.undo(name, given.version, given.annotator)
            case {"action": "redo"}:
                desk.redo(name, given.version, given.annotator)
            case _:
                change = self._suggested(desk.entry(name).text, change_of(given.change))
                desk.correct(name, given.version, change, given.annotator)

    def _suggested(self, text: str, change: Change) -> Change:
        """What was missed gets the resolver's term, if its author named none; blind, nothing is proposed."""
        if self.blind or not isinstance(change, Add) or "hpo_id" in change.model_fields_set:
            return change
        if change.type not in {EntityType.SYMPTOM, EntityType.LAB_MARKER}:
            return change
        quote = text[change.start : change.end]
        hpo_id = self.resolver.resolve(quote, dense=True).hpo_id if quote.strip() else None
        return change.model_copy(update={"hpo_id": hpo_id})

    def _labels(self, view: View) -> dict[str, str]:
        """The names of the terms that a finding may also mean."""
        labels = dict[str, str]()
        for id in (id for item in view.items for id in _candidates(item)):
            with suppress(UnknownTermError):  # read with another release than the one in use
                labels[id] = self.resolver.index.label(id)
        return labels

    def keep(self, id: str) -> str:
        """Make a draft an entry of the journal, with what was done to it; its new id."""
        desk, name = self.desks.of(id)
        journal = self.desks.journal
        if journal is None or desk is not self.desks.drafts:
            raise InputError("there is no journal, or the diary is in it already")
        return self.desks.name(journal, self.desks.drafts.hand_over(name, journal).id)

    def put(self, given: Pasted) -> tuple[Desk, str]:
        """Keep a pasted diary; its desk and its id there."""
        if not given.keep:
            return self.desks.drafts, self.desks.drafts.put(given.text, given.recorded).id
        if self.desks.journal is None:
            raise InputError("this service has no journal; start it with --journal")
        return self.desks.journal, self.desks.journal.add(given.text, given.recorded).id


def router(state: State) -> APIRouter:
    """The page at `/`, its files, and its API under `/review/api`."""
    settings = state.settings
    own = settings if isinstance(settings, ReviewSettings) else ReviewSettings()
    resolver = state.clario.resolver
    journal = Desk(own.journal, key=own.journal_key, index=resolver.index) if own.journal else None
    desks = Desks(Drafts(resolver.index), journal)
    reviews = Reviews(desks, resolver, own.blind)
    routes = APIRouter(include_in_schema=False, route_class=_Route, lifespan=_closing(desks))
    for add in (_page_routes, _look_up_routes, _document_routes, _export_routes):
        add(routes, state, reviews)
    return routes


def _page_routes(routes: APIRouter, state: State, reviews: Reviews) -> None:
    @routes.get("/")
    def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    @routes.get("/review/{name}")
    def file(name: str) -> FileResponse:
        if name not in _FILES:
            raise Problem("not_found")
        return FileResponse(_PAGE / name)

    @routes.get("/review/api/status")
    def status() -> dict[str, Any]:
        return {
            "version": __version__,
            "model": None if reviews.blind else state.clario.model,
            "hpo_release": reviews.resolver.release,
            "blind": reviews.blind,
            "journal": reviews.desks.journal is not None,
            "formats": exports.formats(),
            "unsure_below": UNSURE_BELOW,
            "idle_hours": IDLE_HOURS,
            "longest": state.settings.text_chars,
        }


def _look_up_routes(routes: APIRouter, state: State, reviews: Reviews) -> None:
    @routes.get("/review/api/entries")
    def entries(annotator: Annotated[Annotator, Query()]) -> list[dict[str, Any]]:
        journal = reviews.desks.journal
        finished = set(journal.finished(annotator)) if journal else set()
        return [
            {
                "id": reviews.desks.name(journal, entry.id),
                "recorded": entry.recorded and entry.recorded.isoformat(),
                "opening": " ".join(entry.text[:160].split()),
                "state": entry.state,
                "finished": entry.id in finished,
            }
            for entry in (journal.entries() if journal else ())
            if journal
        ]

    @routes.post("/review/api/terms")
    def terms(given: Asked) -> list[dict[str, Any]]:
        return found(reviews.resolver, given.query, dense=not reviews.blind)


def _document_routes(routes: APIRouter, state: State, reviews: Reviews) -> None:
    async def read(desk: Desk, name: str) -> None:
        entry = await run_in_threadpool(desk.entry, name)
        if not reviews.blind:
            extraction = await state.read(Diary(name, entry.text, entry.recorded))
            await run_in_threadpool(desk.took, name, extraction)

    async def answer(desk: Desk, name: str, annotator: str) -> dict[str, Any]:
        return await run_in_threadpool(reviews.shown, reviews.desks.name(desk, name), annotator)

    @routes.post("/review/api/documents", status_code=201)
    async def create(given: Pasted) -> dict[str, Any]:
        state.check(given.text)
        desk, name = await run_in_threadpool(reviews.put, given)
        try:
            await read(desk, name)
            return await answer(desk, name, given.annotator)
        except BaseException:  # also a client that went away: nobody would ever know the draft's id
            if not given.keep:  # the page still has the text; an entry of the journal stays, to be read later
                with suppress(UnknownEntryError):
                    await run_in_threadpool(reviews.desks.drafts.forget, name)
            raise

    @routes.get("/review/api/documents/{id:path}")
    def document(id: str, annotator: Annotated[Annotator, Query()]) -> dict[str, Any]:
        return reviews.shown(id, annotator)

    @routes.post("/review/api/documents/{id:path}/read")
    async def read_now(id: str, given: Who) -> dict[str, Any]:
        desk, name = await run_in_threadpool(reviews.desks.of, id)
        await read(desk, name)
        return await answer(desk, name, given.annotator)

    @routes.post("/review/api/documents/{id:path}/changes", response_model=None)
    def change(id: str, given: Changed) -> dict[str, Any] | JSONResponse:
        try:
            reviews.change(id, given)
        except ConflictError:
            current = reviews.shown(id, given.annotator)
            if current["view"]["version"] == given.version:
                return _told(409, "gone", "that finding is not there any more", document=current)
            return _told(409, "stale", "it was changed in another window", document=current)
        return reviews.shown(id, given.annotator)

    @routes.post("/review/api/documents/{id:path}/keep")
    def keep(id: str, given: Who) -> dict[str, Any]:
        return reviews.shown(reviews.keep(id), given.annotator)

    @routes.delete("/review/api/documents/{id:path}", status_code=204)
    def forget(id: str) -> None:
        desk, name = reviews.desks.of(id)
        if desk is not reviews.desks.drafts:
            raise InputError("the page does not delete from the journal; 'clario journal delete' does")
        reviews.desks.drafts.forget(name)


def _export_routes(routes: APIRouter, state: State, reviews: Reviews) -> None:
    def named(document: str | None, annotator: str) -> tuple[Desk | None, list[str]]:
        """The diaries that are meant: one, or those of the journal that an annotator has finished."""
        if document is not None:
            desk, name = reviews.desks.of(document)
            return desk, [name]
        journal = reviews.desks.journal
        return journal, journal.finished(annotator) if journal else []

    @routes.post("/review/api/export")
    def export(given: Exported) -> Response:
        desk, names = named(given.document, given.annotator)
        if desk is None or not names:
            raise InputError("there is no finished diary to export")
        open_too = given.undecided and not reviews.blind
        papers = [exports.Paper.of(desk, name, given.annotator, open_too) for name in names]
        body, media, suffix = exports.written(papers, given.format, quotes=given.quotes)
        headers = {"Content-Disposition": f'attachment; filename="clario-review{suffix}"'}
        return Response(body, media_type=media, headers=headers)

    @routes.post("/review/api/agreement")
    def agreement(given: Compared) -> dict[str, Any]:
        desk, names = named(given.document, given.first)
        return exports.compared(desk, names, given.first, given.second)


class _Route(APIRoute):
    """Answers Clario's own errors, whose messages never hold a diary's words."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def safe(request: Request) -> Response:
            try:
                return await handle(request)
            except ClarioError as error:
                kinds = (_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
                status, code = next(kinds, (500, "internal"))
                return _told(status, code, str(error))

        return safe


def _told(status: int, code: str, message: str, **more: Any) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}, **more}, status)


def _candidates(item: Item) -> tuple[str, ...]:
    return (item.proposed or item.entity).match.candidates


def _closing(desks: Desks) -> Any:
    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        for desk in (desks.drafts, desks.journal):
            if desk:
                desk.close()

    return lifespan
