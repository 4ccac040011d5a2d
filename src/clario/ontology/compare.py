"""What changed from one release of HPO to another."""

from collections.abc import Mapping
from dataclasses import dataclass

from clario.ontology.compile import retired_ids
from clario.ontology.index import Index
from clario.ontology.obo import Ontology


@dataclass(frozen=True, slots=True)
class Difference:
    """The terms that changed from the release `old` to the release `new`, each list sorted by id.

    HPO keeps a merged term's id as an alternative id or names its one successor with `replaced_by`, often
    both; either way it stands under `merged`. What has no single successor stands under `obsoleted`.
    """

    old: str
    new: str
    added: tuple[tuple[str, str], ...]  # (id, label)
    renamed: tuple[tuple[str, str, str], ...]  # (id, old label, new label)
    merged: tuple[tuple[str, str, str], ...]  # (id, old label, id of the successor)
    obsoleted: tuple[tuple[str, str], ...]  # (id, old label)


def diff(old: Index | Ontology, new: Index | Ontology) -> Difference:
    """Compare two releases, compiled or just parsed."""
    (before, _), (after, retired) = _terms(old), _terms(new)
    gone = [(hpo_id, label) for hpo_id, label in before.items() if hpo_id not in after]
    return Difference(
        old.release,
        new.release,
        added=tuple((hpo_id, label) for hpo_id, label in after.items() if hpo_id not in before),
        renamed=tuple(
            (hpo_id, label, after[hpo_id]) for hpo_id, label in before.items() if after.get(hpo_id, label) != label
        ),
        merged=tuple((hpo_id, label, into) for hpo_id, label in gone if (into := retired.get(hpo_id))),
        obsoleted=tuple((hpo_id, label) for hpo_id, label in gone if not retired.get(hpo_id)),
    )


def _terms(source: Index | Ontology) -> tuple[dict[str, str], Mapping[str, str | None]]:
    """The labels of the live terms, by id and sorted by it, and the retired ids with their successors."""
    if isinstance(source, Index):
        return {hpo_id: source.label(hpo_id) for hpo_id in source.ids}, source.retired
    live = {hpo_id: term for hpo_id, term in sorted(source.terms.items()) if not term.obsolete}
    return {hpo_id: term.name for hpo_id, term in live.items()}, retired_ids(source, live)
