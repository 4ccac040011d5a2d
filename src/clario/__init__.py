"""Clario turns what patients write in their own words into Human Phenotype Ontology terms.

>>> import clario
>>> clario.resolve("dry mouth").hpo_id
'HP:0000217'
>>> [e.hpo_label for e in clario.extract("Mouth so dry, pain in both my knees. No fever.").entities]
['Xerostomia', 'Knee pain', 'Fever']

Names are imported when first used, so that `import clario` costs next to nothing.
"""

from functools import cache
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import date, datetime

    from clario.entities import Assertion, Entity, EntityType, Extraction, Failure, Match, Mention
    from clario.errors import ClarioError
    from clario.ontology.resolver import Resolution, Resolver
    from clario.pipeline import Clario, Diary

__version__ = "0.1.0"
__all__ = [
    "Assertion",
    "Clario",
    "ClarioError",
    "Diary",
    "Entity",
    "EntityType",
    "Extraction",
    "Failure",
    "Match",
    "Mention",
    "Resolution",
    "Resolver",
    "extract",
    "resolve",
]

_HOMES = {
    "clario.entities": ("Assertion", "Entity", "EntityType", "Extraction", "Failure", "Match", "Mention"),
    "clario.errors": ("ClarioError",),
    "clario.ontology.resolver": ("Resolution", "Resolver"),
    "clario.pipeline": ("Clario", "Diary"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'clario' has no attribute {name!r}")


def extract(text: str, *, recorded: "date | datetime | None" = None) -> "Extraction":
    """Read one diary with the default extractor and the HPO release in use.

    Args:
        text: what the patient, or somebody about the patient, wrote.
        recorded: the day it was written; only then can `ts_event_hint` be told.

    Raises:
        InputError: the text is no string, or longer than `clario.pipeline.LONGEST`.
    """
    return _clario().extract(text, recorded=recorded)


def resolve(name: str) -> "Resolution":
    """The HPO term that a name means, how it was found, and the next best ones.

    >>> resolve("dry mouths").label
    'Xerostomia'
    """
    return _resolver().resolve(name, dense=True)


_making = Lock()  # threads that come first together must not each make one


def _clario() -> "Clario":
    with _making:
        return _made_clario()


def _resolver() -> "Resolver":
    with _making:
        return _made_resolver()


@cache
def _made_clario() -> "Clario":
    from clario.pipeline import Clario

    return Clario()


@cache
def _made_resolver() -> "Resolver":
    from clario.ontology import release
    from clario.ontology.resolver import Resolver

    return Resolver(release.load())
