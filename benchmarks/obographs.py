"""HPO as obographs JSON, the form that fenominal reads, from the OBO file of the same release.

Only what fenominal needs to find names: labels, synonyms, definitions, parents. The official hp.json has
cross-references besides, so that fenominal loads a little faster here than it would from that.
"""

from typing import Any

from clario.ontology.obo import Ontology, Term

_BASE = "http://purl.obolibrary.org/obo/"


def convert(ontology: Ontology) -> dict[str, Any]:
    """A parsed ontology as an obographs document (https://github.com/geneontology/obographs)."""
    edges = [
        {"sub": _iri(term.id), "pred": "is_a", "obj": _iri(parent)}
        for term in ontology.terms.values()
        for parent in term.parents
    ]
    version = f"{_BASE}hp/releases/{ontology.release}/hp.json"
    nodes = [_node(term) for term in ontology.terms.values()]
    return {"graphs": [{"id": f"{_BASE}hp.json", "meta": {"version": version}, "nodes": nodes, "edges": edges}]}


def _node(term: Term) -> dict[str, Any]:
    synonyms = [
        {"pred": f"has{synonym.scope.title()}Synonym", "val": synonym.text, "xrefs": []}
        for synonym in term.synonyms
    ]
    meta: dict[str, Any] = {"synonyms": synonyms} if synonyms else {}
    if term.definition:
        meta["definition"] = {"val": term.definition, "xrefs": []}
    if term.obsolete:
        meta["deprecated"] = True
    return {"id": _iri(term.id), "lbl": term.name, "type": "CLASS", "meta": meta}


def _iri(hpo_id: str) -> str:
    return _BASE + hpo_id.replace(":", "_")
