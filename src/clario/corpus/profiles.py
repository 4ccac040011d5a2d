"""From disease annotations to profiles: a disease and a few of its phenotypes for a writer of diaries.

A profile holds what the patient, a parent or a doctor in plain words could tell of. Which phenotypes these
are is told by `noticing.Noticing`; how they are chosen, by `profiles`.
"""

import heapq
import json
import math
import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

from clario.corpus.associations import Association, opened
from clario.corpus.hpoa import read_hpoa
from clario.corpus.noticing import HIDDEN, Noticing
from clario.corpus.orphanet import read_orphanet
from clario.errors import InputError, UnknownTermError
from clario.ontology.index import Index

UNKNOWN_FREQUENCY = 0.5  # where no source tells how many patients have it


@dataclass(frozen=True, slots=True)
class Phenotype:
    """A phenotype of a profile: a live term, the share of patients who have it, and its `Noticing` score."""

    hpo_id: str
    label: str
    frequency: float | None
    noticeable: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A disease and what to write about: the phenotypes rarest in the corpus first."""

    disease: str
    name: str
    phenotypes: tuple[Phenotype, ...]


@dataclass(frozen=True, slots=True)
class Profiles:
    """Profiles, and what was left out on the way to them.

    `unknown` counts associations by an id that the release does not have; `too_few` counts the diseases with
    fewer noticeable phenotypes than asked for.
    """

    profiles: tuple[Profile, ...]
    unknown: Counter[str] = field(default_factory=Counter)
    too_few: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a corpus holds already: its diseases, and the mentions by live HPO id."""

    diseases: frozenset[str] = frozenset()
    mentions: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Disease:
    """A disease with its noticeable phenotypes by id."""

    name: str
    phenotypes: dict[str, Phenotype] = field(default_factory=dict)


def read_source(path: Path) -> Iterator[Association]:
    """Stream the associations of Orphanet's XML or of `phenotype.hpoa`: the first bytes tell which it is.

    Raises:
        OntologyError: see `read_orphanet` and `read_hpoa`.
    """
    with opened(path) as stream:
        xml = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    return read_orphanet(path) if xml else read_hpoa(path)


def read_usage(path: Path, index: Index) -> Usage:
    """The diseases and terms of a corpus: JSON lines like {"disease": "ORPHA:58", "entities": [{"hpo_id": ...}]}.

    Mentions without an id, or with one that the release does not have, are not counted.

    Raises:
        InputError: the file cannot be read, or a line is no such object.
    """
    diseases, mentions = set[str](), Counter[str]()
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    disease, hpo_ids = _diary(line, f"{path}, line {number}")
                    diseases.update(disease)
                    mentions.update(_live(hpo_ids, index))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return Usage(frozenset(diseases), mentions)


def _diary(line: str, where: str) -> tuple[set[str], list[str]]:
    try:
        record: dict[str, Any] = json.loads(line)
        hpo_ids = [entity["hpo_id"] for entity in record["entities"] if entity["hpo_id"]]
        return {record["disease"]} - {None}, hpo_ids
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'{where}: expected a diary with "disease" and "entities" with "hpo_id"') from None


def _live(hpo_ids: Iterable[str], index: Index) -> Iterator[str]:
    for hpo_id in hpo_ids:
        with suppress(UnknownTermError):
            yield index.live(hpo_id)


def profiles(
    associations: Iterable[Association],
    index: Index,
    *,
    used: Mapping[str, int] | None = None,
    exclude: Collection[str] = (),
    limit: int | None = None,
    fewest: int = 6,
    most: int = 12,
    seed: int = 0,
) -> Profiles:
    """Make profiles of diseases, those first that add most to a corpus.

    A phenotype weighs `noticeable * frequency / (1 + mentions)`, where mentions are those in the corpus and in
    the profiles made before. The next disease is the one whose heaviest phenotypes weigh most together; its
    profile is a sample without replacement by weight (Efraimidis and Spirakis 2006, algorithm A-Res) of which
    no term is an ancestor of another. Same arguments, same profiles.

    Args:
        associations: of any sources; those of one disease are merged, and their frequencies averaged.
        index: the release that ids are brought to and that tells what is noticeable.
        used: mentions in the corpus so far by live HPO id.
        exclude: ids of diseases to leave out.
        limit: number of profiles at most; None for all.
        fewest, most: bounds of the number of phenotypes in a profile.
        seed: of the sampling.

    Raises:
        ValueError: `fewest` is less than 1 or more than `most`.
    """
    if not 1 <= fewest <= most:
        raise ValueError("expected 1 <= fewest <= most")
    unknown: Counter[str] = Counter()
    kept = (a for a in associations if a.disease not in exclude)
    diseases = _gather(kept, index, unknown)
    chooser = _Chooser(index, Counter(used or {}), fewest, most, seed)
    made = tuple(islice(chooser.choose(diseases), limit))
    return Profiles(made, unknown, chooser.too_few)


def _gather(associations: Iterable[Association], index: Index, unknown: Counter[str]) -> dict[str, _Disease]:
    noticing = Noticing(index)
    shares: dict[str, dict[str, list[float | None]]] = {}
    names: dict[str, str] = {}
    for association in associations:
        names.setdefault(association.disease, association.disease_name)
        of_disease = shares.setdefault(association.disease, {})
        try:
            hpo_id = index.live(association.hpo_id)
        except UnknownTermError:
            unknown[association.hpo_id] += 1
            continue
        if noticing.score(hpo_id) > HIDDEN:
            of_disease.setdefault(hpo_id, []).append(association.frequency)
    return {
        disease: _Disease(names[disease], {
            hpo_id: Phenotype(hpo_id, index.label(hpo_id), _mean(values), noticing.score(hpo_id))
            for hpo_id, values in sorted(of_disease.items())  # so that the order of the rows decides nothing
        })
        for disease, of_disease in shares.items()
    }  # fmt: skip


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


class _Chooser:
    """Chooses disease after disease; counts what it used, so that the next profile differs."""

    def __init__(self, index: Index, used: Counter[str], fewest: int, most: int, seed: int) -> None:
        self._index, self._used = index, used
        self._fewest, self._most, self._seed = fewest, most, seed
        self._ancestors: dict[str, set[str]] = {}
        self.too_few = 0

    def choose(self, diseases: Mapping[str, _Disease]) -> Iterator[Profile]:
        # Gains only ever fall, so a gain that is still the best after its renewal is the best of all.
        order = count()
        queue = [(-self._gain(d), next(order), disease) for disease, d in sorted(diseases.items())]
        heapq.heapify(queue)
        while queue:
            _, place, disease = heapq.heappop(queue)
            gain = self._gain(diseases[disease])
            if queue and -gain > queue[0][0]:
                heapq.heappush(queue, (-gain, place, disease))
            elif profile := self._profile(disease, diseases[disease]):
                yield profile
            else:
                self.too_few += 1

    def _gain(self, disease: _Disease) -> float:
        return math.fsum(heapq.nlargest(self._most, map(self._weight, disease.phenotypes.values())))

    def _weight(self, phenotype: Phenotype) -> float:
        frequency = UNKNOWN_FREQUENCY if phenotype.frequency is None else phenotype.frequency
        return phenotype.noticeable * frequency / (1 + self._used[phenotype.hpo_id])

    def _profile(self, disease: str, facts: _Disease) -> Profile | None:
        chance = random.Random(f"{self._seed} {disease}")
        size = chance.randint(self._fewest, self._most)
        keys = {p: math.log(1 - chance.random()) / self._weight(p) for p in facts.phenotypes.values()}
        chosen = self._unrelated(sorted(keys, key=lambda p: (-keys[p], p.hpo_id)), size)
        if len(chosen) < self._fewest:
            return None
        chosen.sort(key=lambda p: (self._used[p.hpo_id], -keys[p]))
        self._used.update(p.hpo_id for p in chosen)
        return Profile(disease, facts.name, tuple(chosen))

    def _unrelated(self, phenotypes: Iterable[Phenotype], size: int) -> list[Phenotype]:
        """The first phenotypes of which none is an ancestor of another."""
        chosen: list[Phenotype] = []
        for phenotype in phenotypes:
            if len(chosen) == size:
                break
            if not any(self._related(phenotype.hpo_id, other.hpo_id) for other in chosen):
                chosen.append(phenotype)
        return chosen

    def _related(self, first: str, second: str) -> bool:
        return first in self._above(second) or second in self._above(first)

    def _above(self, hpo_id: str) -> set[str]:
        if hpo_id not in self._ancestors:
            self._ancestors[hpo_id] = self._index.ancestors(hpo_id)
        return self._ancestors[hpo_id]
