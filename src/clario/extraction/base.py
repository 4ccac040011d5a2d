"""What an extractor is, and the registry that finds one by name.

Another package adds an extractor by an entry point of the group `clario.extractors`:
    [project.entry-points."clario.extractors"]
    my-model = "my_package:MyExtractor"
Its class is made with one argument, the `Resolver` of the release in use. A class that sets `argument` is made
with a second one: what follows the first colon of the name, as in "ollama:gemma3:270m".
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

from clario.entities import Mention
from clario.errors import ModelError
from clario.ontology.resolver import Resolver

GROUP = "clario.extractors"
DEFAULT = "mini"
"""Chosen on the validation diaries; see docs/LOG.md."""
FALLBACK = "lexicon"


class Mentions(list[Mention]):
    """The mentions of one text, with warnings for whoever reads the result; they never hold words of the text."""

    def __init__(self, mentions: Iterable[Mention] = (), warnings: Iterable[str] = ()) -> None:
        super().__init__(mentions)
        self.warnings = tuple(warnings)


class Extractor(ABC):
    """A backend: a name, a version, and one method."""

    name: str
    version: str
    #: What follows a colon in the extractor's name, in words ("the model's tag"); None where nothing does.
    argument: ClassVar[str | None] = None
    #: The longest text, in code points, that `extract` takes; the pipeline cuts longer ones between sentences.
    max_chars: int = 100_000
    #: How many texts one call of `extract` should get for best speed.
    batch_size: int = 32

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    @abstractmethod
    def extract(self, texts: Sequence[str]) -> Sequence[list[Mention] | ModelError]:
        """The mentions of each text, in order of their offsets; `Mentions` where there are warnings.

        Where one text failed and trying it again is of no use, its ModelError stands in its place.

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
    """Make the extractor of a name: that of an entry point, perhaps with a colon and an argument.

    Raises:
        ModelError: no such extractor, its package cannot be imported, or it takes no such argument; the message
            lists what there is.
        InputError: a chat server's URL in the environment cannot be used.
    """
    points = available()
    first, colon, argument = name.partition(":")
    if first not in points:
        raise ModelError(f"no model named {name[:80]!r}; installed: {', '.join(points) or 'none'}")
    try:
        extractor: Any = points[first].load()
    except ImportError as error:
        raise ModelError(f"model {first!r} cannot be loaded: {error}") from error
    if extractor.argument is None and colon:
        raise ModelError(f"the model {first!r} takes nothing after a colon; name it {first!r} alone")
    if extractor.argument is not None and not argument.strip():
        raise ModelError(f"name {extractor.argument} after a colon: {first}:...")
    made: Extractor = extractor(resolver, argument.strip()) if colon else extractor(resolver)
    return made
