"""What the entries tell of over time: a row a symptom, a column a stretch of days; as text or as a plot."""

import datetime as dt
import importlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from clario.entities import Assertion, EntityType
from clario.errors import ModelError
from clario.journal import exchange
from clario.journal.records import ME, Entry
from clario.journal.store import Journal

NOTE: Final = "What the entries tell of, by the day they tell of. Not a diagnosis."
SHOWN: Final = {Assertion.PRESENT: "●", Assertion.PAST: "◐", Assertion.ABSENT: "○"}
"""How each assertion is drawn; what is somebody else's or hypothetical is not the patient's."""
_TYPES: Final = (EntityType.SYMPTOM, EntityType.LAB_MARKER)
# Colours that stay apart for colour-blind readers (Okabe and Ito 2008); shape tells them apart as well.
_MARKS: Final = {
    Assertion.PRESENT: ("o", "#0072B2", "#0072B2"),
    Assertion.PAST: ("s", "#E69F00", "#E69F00"),
    Assertion.ABSENT: ("o", "none", "#555555"),
}


@dataclass(frozen=True, slots=True)
class Track:
    """One term and the days on which it is told of: a day has the strongest assertion of that day."""

    name: str
    hpo_id: str | None
    days: dict[dt.date, Assertion]

    @property
    def present(self) -> int:
        """On how many days it is there."""
        return sum(assertion is Assertion.PRESENT for assertion in self.days.values())


def tracks(journal: Journal, annotator: str = ME, *, types: Sequence[EntityType] = _TYPES) -> list[Track]:
    """The terms that the entries tell of, those on most days first; with an annotator's corrections.

    The day is the one that the text tells of, if it tells a whole date, else the one it was written, else the one
    it came into the journal.
    """
    told: dict[tuple[str, str | None], dict[dt.date, Assertion]] = defaultdict(dict)
    for entry, found in exchange.results(journal, annotator):
        day = _day(entry, found.ts_event_hint)
        for entity in found.entities:
            if entity.type in types and entity.assertion in SHOWN:
                days = told[entity.hpo_label or entity.name_canonical.lower(), entity.hpo_id]
                days[day] = min(days.get(day, entity.assertion), entity.assertion, key=list(SHOWN).index)
    made = [Track(name, hpo_id, dict(sorted(days.items()))) for (name, hpo_id), days in told.items()]
    return sorted(made, key=lambda track: (-track.present, -len(track.days), track.name))


def _day(entry: Entry, hint: str | None) -> dt.date:
    if hint and len(hint) == len("2026-11-26"):
        with suppress(ValueError):  # another server's
            return dt.date.fromisoformat(hint)
    return entry.recorded or entry.created.date()


def columns(found: Iterable[Track], most: int) -> tuple[list[dt.date], Callable[[dt.date], int]]:
    """At most so many stretches of one length that hold all days: their first days, and which one a day is in."""
    days = [day for track in found for day in track.days]
    if not days:
        return [], lambda _: 0
    first, span = min(days), (max(days) - min(days)).days + 1
    length = -(-span // max(1, most))
    starts = [first + dt.timedelta(n * length) for n in range(-(-span // length))]
    return starts, lambda day: (day - first).days // length


def cells(track: Track, number: int, column: Callable[[dt.date], int]) -> str:
    """A track as one line: the strongest mark of each column, a dot where nothing is told."""
    line, order = ["·"] * number, [*SHOWN.values(), "·"]
    for day, assertion in track.days.items():
        at = column(day)
        line[at] = min(line[at], SHOWN[assertion], key=order.index)
    return "".join(line)


def plot(found: Sequence[Track], format: str) -> bytes:
    """A plot as `png` or `svg`: a row a term, a mark a day.

    Raises:
        ModelError: matplotlib is missing.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
        figures = importlib.import_module("matplotlib.figure")
    except ImportError:
        raise ModelError("a plot needs matplotlib: pip install 'clario[eval]'") from None
    with matplotlib.rc_context({"svg.hashsalt": "clario", "svg.fonttype": "none", "font.size": 9}):
        figure = figures.Figure(figsize=(9, 1.6 + 0.26 * len(found)), layout="constrained")
        _draw(figure, found)
        out = io.BytesIO()
        figure.savefig(out, format=format, dpi=150, metadata={"Date": None} if format == "svg" else None)
    return out.getvalue()


def _draw(figure: Any, found: Sequence[Track]) -> None:
    axes = figure.add_subplot()
    for assertion, (marker, face, edge) in _MARKS.items():
        places = [(day, row) for row, t in enumerate(found) for day, told in t.days.items() if told is assertion]
        if places:
            days, rows = zip(*places, strict=True)
            axes.scatter(days, rows, 36, face, marker=marker, edgecolors=edge, label=assertion.value, zorder=2)
    axes.set_yticks(range(len(found)), [_plain(track.name) for track in found])
    axes.set_ylim(max(1, len(found)) - 0.5, -0.5)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6, zorder=0)
    axes.tick_params(axis="x", rotation=30)
    axes.set_xlabel(NOTE)
    if axes.collections:
        figure.legend(loc="outside upper right", ncols=3)


def _plain(name: str) -> str:
    """A name that matplotlib does not take for mathematics."""
    return name.replace("$", r"\$")
