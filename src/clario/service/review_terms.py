"""Looking a term up while typing: by id, by name, by what it means, and by a part of its label."""

from collections.abc import Iterator
from typing import Any

from clario.errors import UnknownTermError
from clario.ontology.index import Index
from clario.ontology.resolver import Resolution, Resolver

MOST = 12


def found(resolver: Resolver, query: str, *, dense: bool) -> list[dict[str, Any]]:
    """Terms that a query may mean, best first: `hpo_id`, `label`, and the `name` by which it was found.

    Args:
        query: an id, a name, a phrase, or the beginning of a label.
        dense: also look for what it means; that asks a model, which a blind review must not.
    """
    hits: dict[str, dict[str, Any]] = {}
    for hpo_id, name in _found(resolver, query.strip(), dense):
        hits.setdefault(hpo_id, {"hpo_id": hpo_id, "label": resolver.index.label(hpo_id), "name": name})
        if len(hits) == MOST:
            break
    return list(hits.values())


def _found(resolver: Resolver, query: str, dense: bool) -> Iterator[tuple[str, str]]:
    index = resolver.index
    if query.upper().startswith("HP:"):
        yield from _by_id(index, query.upper())
        return
    labels = _by_label(index, query)
    yield from _named(resolver.resolve(query))
    if len(query.split()) == 1:  # half a word: no name has it, and a model would guess
        yield from labels[:4]
    if dense:
        yield from _named(resolver.resolve(query, dense=True))
    yield from ((one.hpo_id, one.name) for one in resolver.search(query, MOST))
    yield from labels


def _named(answer: Resolution) -> Iterator[tuple[str, str]]:
    if answer.hpo_id and answer.label:
        yield answer.hpo_id, answer.name or answer.label
    yield from ((one.hpo_id, one.name) for one in answer.candidates)


def _by_id(index: Index, hpo_id: str) -> Iterator[tuple[str, str]]:
    try:
        live = index.live(hpo_id)
    except UnknownTermError:
        return
    if index.is_phenotypic(live):
        yield live, hpo_id


def _by_label(index: Index, query: str) -> list[tuple[str, str]]:
    """Labels with the query in them, those first that begin with it, then the shortest."""
    wanted = query.casefold()
    if len(wanted) < 3:
        return []
    labels = ((hpo_id, index.label(hpo_id)) for hpo_id in index.ids)
    hits = [
        (hpo_id, label) for hpo_id, label in labels if wanted in label.casefold() and index.is_phenotypic(hpo_id)
    ]
    return sorted(hits, key=lambda hit: (not hit[1].casefold().startswith(wanted), len(hit[1]), hit[0]))[:MOST]
