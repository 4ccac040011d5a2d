"""The plots of a report, as SVG: figures with their intervals, and confidence against accuracy.

matplotlib comes with the extra `eval`; without it a report has no plots and says so.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clario.evaluation.figures import FIGURES
from clario.evaluation.run import Estimate, Evaluation, Scored

FIGURES_SVG, RELIABILITY_SVG = "figures.svg", "reliability.svg"
NAMES = (FIGURES_SVG, RELIABILITY_SVG)
# Colours that stay apart for colour-blind readers (Okabe and Ito 2008).
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def draw(evaluation: Evaluation, folder: Path) -> tuple[list[str], str | None]:
    """Draw the plots into a folder: the names of the files, or none and the reason."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        return [], "matplotlib is missing; install clario[eval]"
    names = [FIGURES_SVG]
    with matplotlib.rc_context({"svg.hashsalt": "clario", "svg.fonttype": "none", "font.size": 9}):
        _save(_bars(evaluation.scored), folder / FIGURES_SVG)
        sure = [s for s in evaluation.scored if s.reliability]
        if sure:
            _save(_reliability(sure), folder / RELIABILITY_SVG)
            names.append(RELIABILITY_SVG)
    return names, None


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure that no window or global state knows of."""
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})


def _bars(scored: Sequence[Scored]) -> Any:
    names = [n for n, f in FIGURES.items() if f.headline and n != "entities"]
    names = [n for n in names if any(n in s.figures for s in scored)]
    figure, axes = _figure(7, 0.8 + 0.22 * len(names) * (len(scored) + 0.6))
    thickness = 0.8 / len(scored)
    for column, system in enumerate(scored):
        _bars_of(system, names, column * thickness, thickness, axes, _COLOURS[column % len(_COLOURS)])
    middle = 0.4 - thickness / 2
    axes.set_yticks([row + middle for row in range(len(names))], [FIGURES[n].title for n in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _bars_of(scored: Scored, names: Sequence[str], shift: float, thickness: float, axes: Any, colour: str) -> None:
    headlines = [(row, headline(scored, name)) for row, name in enumerate(names)]
    known = [(row + shift, e) for row, e in headlines if e and e.value is not None]
    places = [place for place, _ in known]
    axes.barh(places, [e.value for _, e in known], thickness, color=colour, label=scored.system.name)
    for place, e in known:
        if e.low is not None:
            axes.plot([e.low, e.high], [place, place], color="black", linewidth=1)


def headline(scored: Scored, name: str) -> Estimate | None:
    """The first part of a figure, where the system has the figure."""
    return scored.figures[name][FIGURES[name].parts[0]] if name in scored.figures else None


def _reliability(scored: Sequence[Scored]) -> Any:
    """Mean confidence against accuracy, bin by bin, with the number of entities at each point."""
    figure, axes = _figure(4.5, 4.8)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for column, system in enumerate(scored):
        bins = system.reliability
        confidence, accuracy = [b.confidence for b in bins], [b.accuracy for b in bins]
        colour, total = _COLOURS[column % len(_COLOURS)], sum(b.entities for b in bins)
        axes.plot(confidence, accuracy, color=colour, label=_with_error(system))
        axes.scatter(confidence, accuracy, [8 + 300 * b.entities / total for b in bins], colour)
        beside = (6, -10) if column % 2 == 0 else (-6, 6)
        for b in bins:
            axes.annotate(
                str(b.entities), (b.confidence, b.accuracy), beside, textcoords="offset points",
                ha="left" if column % 2 == 0 else "right", color=colour, fontsize=7,
            )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean confidence", ylabel="accuracy", aspect="equal")
    figure.legend(loc="outside upper center", ncols=1 if len(scored) < 3 else 2)
    return figure


def _with_error(scored: Scored) -> str:
    """The system's name with its expected calibration error."""
    error, name = headline(scored, "calibration"), scored.system.name
    return name if error is None or error.value is None else f"{name}, ECE {error.value:.3f}"
