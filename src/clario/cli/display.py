"""What a person sees on a terminal: the text with its spans marked, and a table of what was found."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clario.cli.console import console, one_line, printable
from clario.entities import Assertion, Entity, EntityType, Extraction, Failure
from clario.pipeline import Diary

_COLOURS = {
    EntityType.SYMPTOM: "red",
    EntityType.LAB_MARKER: "magenta",
    EntityType.MED: "blue",
    EntityType.TRIGGER: "yellow",
    EntityType.BEHAVIOR: "green",
}
_STYLES = {
    Assertion.PRESENT: "bold",
    Assertion.PAST: "italic",
    Assertion.ABSENT: "strike",
    Assertion.OTHER: "dim",
    Assertion.HYPOTHETICAL: "underline",
}
LOW_CONFIDENCE = 0.5


class Display:
    """A writer for the terminal. It keeps the texts on their way in, to show them beside what was found."""

    def __init__(self) -> None:
        self._console = console()
        self._items: deque[Diary | Failure] = deque()
        self._text = ""

    def follow(
        self,
        items: "Iterable[Diary | Failure]",
        read: "Callable[[Iterable[Diary | Failure]], Iterable[Extraction | Failure]]",
    ) -> "Iterator[Extraction | Failure]":
        """Have the inputs read, with the text at hand of the result that is given on.

        Args:
            read: gives one result an input, in their order; ids may be doubled.
        """
        for result in read(self._remember(items)):
            item = self._items.popleft()
            self._text = item.text if isinstance(item, Diary) else ""
            yield result

    def _remember(self, items: "Iterable[Diary | Failure]") -> "Iterator[Diary | Failure]":
        for item in items:
            self._items.append(item)
            yield item

    def write(self, extraction: Extraction) -> None:
        """Show the Extraction that was given on last, under its text."""
        show(extraction, self._text, self._console)

    def close(self) -> None:
        """Say what the output is not."""
        self._console.print("Not a diagnosis. Low confidence is marked: check it.", style="dim")


def show(extraction: Extraction, text: str, console: Console) -> None:
    """Print one Extraction with its text.

    Args:
        text: the text that was read; its control characters are not sent to the terminal.
    """
    console.rule(one_line(f"{extraction.id} · {extraction.model} · HPO {extraction.hpo_release}"))
    console.print(_marked(text, extraction.entities), soft_wrap=False)
    if extraction.entities:
        console.print(_table(extraction.entities))
    else:
        console.print("Nothing found.", style="dim")
    if extraction.ts_event_hint:
        console.print(f"It tells of {extraction.ts_event_hint}.")
    for warning in extraction.warnings:
        console.print(f"Warning: {one_line(warning)}", style="yellow")


def _marked(text: str, entities: tuple[Entity, ...]) -> Text:
    marked = Text(printable(text))
    for entity in entities:
        marked.stylize(f"{_STYLES[entity.assertion]} {_COLOURS[entity.type]}", entity.start, entity.end)
    return marked


def _table(entities: tuple[Entity, ...]) -> Table:
    table = Table("words", "term", "HPO", "type", "assertion", "confidence", "match", box=None, pad_edge=False)
    for entity in entities:
        sure = f"{entity.confidence:.2f}"
        table.add_row(
            _marked(entity.name_colloquial, ()),
            one_line(entity.hpo_label or entity.name_canonical),
            entity.hpo_id or "-",
            Text(entity.type, _COLOURS[entity.type]),
            Text(entity.assertion, _STYLES[entity.assertion]),
            sure if entity.confidence >= LOW_CONFIDENCE else f"{sure} low",
            entity.match.method,
        )
    return table
