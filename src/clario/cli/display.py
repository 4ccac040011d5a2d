"""What a person sees on a terminal: the text with its spans marked, and a table of what was found."""

from collections import deque
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

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
        self._console = Console()
        self._texts: deque[tuple[str, str]] = deque()

    def remember(self, items: "Iterable[Diary | Failure]") -> "Iterator[Diary | Failure]":
        """Pass the inputs on, keeping each text until its result comes (results keep their order)."""
        for item in items:
            if isinstance(item, Diary):
                self._texts.append((item.id, item.text))
            yield item

    def write(self, extraction: Extraction) -> None:
        """Show one Extraction under its text."""
        identifier, text = self._texts.popleft()
        while identifier != extraction.id:  # those between failed
            identifier, text = self._texts.popleft()
        show(extraction, text, self._console)

    def close(self) -> None:
        """Say what the output is not."""
        self._console.print("Not a diagnosis. Low confidence is marked: check it.", style="dim")


def show(extraction: Extraction, text: str, console: Console) -> None:
    """Print one Extraction with its text.

    Args:
        text: the text that was read; its control characters are not sent to the terminal.
    """
    console.rule(f"{extraction.id} · {extraction.model} · HPO {extraction.hpo_release}")
    console.print(_marked(text, extraction.entities), soft_wrap=False)
    if extraction.entities:
        console.print(_table(extraction.entities))
    else:
        console.print("Nothing found.", style="dim")
    if extraction.ts_event_hint:
        console.print(f"It tells of {extraction.ts_event_hint}.")
    for warning in extraction.warnings:
        console.print(f"Warning: {warning}", style="yellow")


def _marked(text: str, entities: tuple[Entity, ...]) -> Text:
    # One code point for one: offsets stay true, and no escape sequence of a diary reaches the terminal.
    marked = Text("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text))
    for entity in entities:
        marked.stylize(f"{_STYLES[entity.assertion]} {_COLOURS[entity.type]}", entity.start, entity.end)
    return marked


def _table(entities: tuple[Entity, ...]) -> Table:
    table = Table("words", "term", "HPO", "type", "assertion", "confidence", "match", box=None, pad_edge=False)
    for entity in entities:
        sure = f"{entity.confidence:.2f}"
        table.add_row(
            _marked(entity.name_colloquial, ()),
            entity.hpo_label or entity.name_canonical,
            entity.hpo_id or "-",
            Text(entity.type, _COLOURS[entity.type]),
            Text(entity.assertion, _STYLES[entity.assertion]),
            sure if entity.confidence >= LOW_CONFIDENCE else f"{sure} low",
            entity.match.method,
        )
    return table
