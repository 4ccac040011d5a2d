"""The endpoints that look things up in HPO."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query

from clario.errors import UnknownTermError
from clario.ontology.index import Index
from clario.ontology.resolver import Candidate, Resolution, Resolver
from clario.service.messages import Found, Neighbour, Phrase, Resolved, Term
from clario.service.problems import Problem, documented
from clario.service.state import State

_LONGEST = 500  # code points of a name


def router(state: State) -> APIRouter:
    """`/v1/resolve` and `/v1/terms`."""
    api = APIRouter(prefix="/v1", tags=["look up"], responses=documented("invalid"))
    resolver = state.clario.resolver

    @api.get("/resolve")
    def resolve(
        q: Annotated[Phrase, Query(min_length=1, max_length=_LONGEST, examples=["dry mouth"])],
        candidates: Annotated[int, Query(ge=0, le=50, description="How many further terms at most")] = 5,
        dense: Annotated[bool, Query(description="Look for what no name matches by its meaning")] = True,
    ) -> Resolved:
        """The term that a name or phrase means, and others that it may mean."""
        answer = resolver.resolve(q, dense=dense)
        others = _others(resolver, q, answer, candidates)
        found = asdict(answer) | {"candidates": [Found(**asdict(one)) for one in others]}
        return Resolved(**found, hpo_release=resolver.release)

    @api.get("/terms/{hpo_id}", responses=documented("unknown_term", "invalid"))
    def term(hpo_id: Annotated[str, Path(pattern=r"^HP:[0-9]{7}$", examples=["HP:0000217"])]) -> Term:
        """A term with its definition, its names, and its parents and children."""
        try:
            return _term(resolver.index, hpo_id)
        except UnknownTermError:
            raise Problem("unknown_term") from None

    return api


def _others(resolver: Resolver, name: str, answer: Resolution, limit: int) -> list[Candidate]:
    """Ties of the answer first, then terms whose names share words."""
    near = resolver.search(name, limit + 1 + len(answer.candidates))
    found = {one.hpo_id: one for one in (*near, *answer.candidates)}
    ranked = dict.fromkeys(one.hpo_id for one in (*answer.candidates, *near))
    return [found[hpo_id] for hpo_id in ranked if hpo_id != answer.hpo_id][:limit]


def _term(index: Index, hpo_id: str) -> Term:
    record = index.term(hpo_id)
    return Term(
        hpo_id=record.hpo_id,
        label=record.label,
        definition=record.definition,
        synonyms=[synonym.text for synonym in record.synonyms],
        parents=[Neighbour(hpo_id=one, label=index.label(one)) for one in record.parents],
        children=[Neighbour(hpo_id=one, label=index.label(one)) for one in record.children],
        phenotypic=record.phenotypic,
        hpo_release=index.release,
    )
