"""What an extractor is, and the registry that finds one by name.

Another package adds an extractor by an entry point of the group `clario.extractors`:
    [project.entry-points."clario.extractors"]
    my-model = "my_package:MyExtractor"
Its class is made with one argument, the `Resolver` of the release in use.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from clario.entities import Mention
from clario.errors import ModelError
from clario.ontology.resolver import Resolver

GROUP = "clario.extractors"
DEFAULT = "mini"
"""Chosen on the validation diaries; see docs/LOG.md."""
FALLBACK = "lexicon"


class Extractor(ABC):
    """A backend: a name, a version, and one method."""

    name: str
    version: str
    #: The longest text, in code points, that `extract` takes; the pipeline cuts longer ones between sentences.
    max_chars: int = 100_000
    #: How many texts one call of `extract` should get for best speed.
    batch_size: int = 32

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    @abstractmethod
    def extract(self, texts: Sequence[str]) -> list[list[Mention]]:
        """The mentions of each text, in order of their offsets.

        Raises:
            ModelError: the extractor failed; the pipeline then tries the texts one by one.
        """


def available() -> dict[str, EntryPoint]:
    """The installed extractors by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def default(resolver: Resolver) -> Extractor:
    """The default extractor; the fallback where it was not made for the release in use, or cannot be loaded."""
    try:
        return create(DEFAULT, resolver)
    except ModelError:
        return create(FALLBACK, resolver)


def create(name: str, resolver: Resolver) -> Extractor:
    """Make the extractor of a name.

    Raises:
        ModelError: no such extractor, or its package cannot be imported; the message lists what there is.
    """
    points = available()
    if name not in points:
        raise ModelError(f"no model named {name[:80]!r}; installed: {', '.join(points) or 'none'}")
    try:
        extractor: type[Extractor] = points[name].load()
    except ImportError as error:
        raise ModelError(f"model {name!r} cannot be loaded: {error}") from error
    return extractor(resolver)
