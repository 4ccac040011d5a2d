"""The report of an evaluation: a JSON record, a Markdown page, and a run folder that holds both."""

import json
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clario import __version__
from clario.errors import OutputError
from clario.evaluation import bootstrap, plots
from clario.evaluation.figures import FIGURES
from clario.evaluation.run import Difference, Estimate, Evaluation, Scored
from clario.paths import write_atomically

JSON, MARKDOWN, PREDICTIONS = "report.json", "report.md", "predictions.jsonl"
FORMAT = 1
_NAMED = 10  # ids that the page lists


def record(evaluation: Evaluation, command: str) -> dict[str, Any]:
    """Everything as JSON values. `command` is what was run."""
    return {
        "format": FORMAT,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "clario": __version__,
        "python": platform.python_version(),
        "hpo_release": evaluation.hpo_release,
        "gold": {
            "file": evaluation.gold_file, "sha256": evaluation.gold_sha256,
            "diaries": evaluation.documents, "entities": evaluation.entities,
        },
        "split": _split(evaluation),
        "settings": {
            "resamples": bootstrap.RESAMPLES, "shuffles": bootstrap.SHUFFLES, "seed": bootstrap.SEED,
            "level": bootstrap.LEVEL,
        },
        "systems": [_system(scored) for scored in evaluation.scored],
        "comparison": _comparison(evaluation),
        "second_annotator": [_system(scored) for scored in evaluation.ceiling],
    }  # fmt: skip


def _split(evaluation: Evaluation) -> dict[str, str] | None:
    split = evaluation.split
    return {"file": split.file, "sha256": split.sha256, "part": split.part} if split else None


def _system(scored: Scored) -> dict[str, Any]:
    system = scored.system
    return {
        "name": system.name, "model": system.model, "shape": system.shape, "file": system.file,
        "sha256": system.sha256, "diaries": len(system.documents), "missing": system.missing,
        "failed": system.failed, "remarks": system.remarks,
        "figures": {
            name: {part: _rounded(e.value, e.low, e.high) for part, e in parts.items()}
            for name, parts in scored.figures.items()
        },
        "reliability": [
            {"entities": b.entities, "confidence": round(b.confidence, 6), "accuracy": round(b.accuracy, 6)}
            for b in scored.reliability
        ],
    }  # fmt: skip


def _comparison(evaluation: Evaluation) -> dict[str, Any] | None:
    if not evaluation.compared:
        return None
    figures = {
        name: {"difference": round(d.difference, 6), "interval": _rounded(d.low, d.high), "p": d.p}
        for name, d in evaluation.differences.items()
    }
    return {"systems": evaluation.compared, "figures": figures}


def _rounded(*values: float | None) -> list[float | None]:
    return [None if value is None else round(value, 6) for value in values]


# The page


def markdown(evaluation: Evaluation, command: str, pictures: Sequence[str] = (), note: str | None = None) -> str:
    """The report as a page. `pictures` are file names beside it; `note` tells why there are none."""
    parts = [
        "# Evaluation", _provenance(evaluation, command), "## Figures", headline_table(evaluation.scored), _LEGEND,
        *(["## Against each other", _differences(evaluation)] if evaluation.differences else []),
        "## Precision and recall", _precision_recall(evaluation),
        *_families(evaluation),
        *(["## Second annotator", _CEILING, headline_table(evaluation.ceiling)] if evaluation.ceiling else []),
        "## Outputs", _outputs(evaluation),
        *(["## Plots", *(f"![{name}]({name})" for name in pictures)] if pictures else []),
        *([f"No plots: {note}"] if note else []),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


_LEGEND = (
    f"In brackets: {bootstrap.LEVEL:.0%} percentile bootstrap intervals over diaries "
    f"({bootstrap.RESAMPLES:,} resamples). A dash: the system does not tell what the figure needs. "
    "Averages are micro over diaries unless named macro; each is defined in `clario.evaluation.metrics`."
)
_CEILING = (
    "The second annotator, blind to the first, scored as if a system, and the systems on the same diaries: "
    "what a model can be expected to reach."
)


def _provenance(evaluation: Evaluation, command: str) -> str:
    split = evaluation.split
    lines = [
        f"- Command: `{command}`",
        f"- Gold: {evaluation.gold_file} (sha256 {evaluation.gold_sha256}), {evaluation.documents:,} diaries, "
        f"{evaluation.entities:,} entities",
        f"- Split: {split.part} of {split.file} (sha256 {split.sha256})" if split else "- Split: all diaries",
        f"- HPO release: {evaluation.hpo_release}; Clario {__version__}",
        *(f"- System: {_described(scored)}" for scored in evaluation.scored),
    ]
    return "\n".join(lines)


def _described(scored: Scored) -> str:
    system = scored.system
    told = [f"model {system.model}"] if system.model else []
    told += [f"{system.file} (sha256 {system.sha256})"] if system.file else []
    return f"{system.name}: " + "; ".join(told)


def headline_table(scored: Sequence[Scored]) -> str:
    """A Markdown table of the headline figures, a system a column."""
    names = [name for name, figure in FIGURES.items() if figure.headline]
    rows = [[FIGURES[name].title, *(cell(s, name) for s in scored)] for name in names]
    gold = next((s.figures["entities"]["gold"].value for s in scored), None)
    rows = [[f"{title} (gold: {gold:.2f})" if title.startswith("Entities") else title, *r] for title, *r in rows]
    return _table(["", *(s.system.name for s in scored)], rows)


def cell(scored: Scored, figure: str, part: str | None = None) -> str:
    """A value with its interval, as tables show it; a dash where there is none."""
    estimates = scored.figures.get(figure)
    return shown(estimates[part or FIGURES[figure].parts[0]]) if estimates else "–"


def shown(estimate: Estimate) -> str:
    """0.512 [0.480, 0.551]"""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _differences(evaluation: Evaluation) -> str:
    first, second = evaluation.compared or ("", "")
    rows = [[FIGURES[name].title, *change(d)] for name, d in evaluation.differences.items()]
    text = (
        f"{first} less {second}, on the same diaries: paired bootstrap intervals, and two-sided p of "
        f"approximate randomisation ({bootstrap.SHUFFLES:,} shuffles; Noreen 1989)."
    )
    return text + "\n\n" + _table(["", "difference", "p"], rows)


def change(difference: Difference) -> tuple[str, str]:
    """A difference with its interval, and p, as tables show them."""
    value = shown(Estimate(difference.difference, difference.low, difference.high))
    return value if value.startswith("-") else f"+{value}", f"{difference.p:.4f}"


def _precision_recall(evaluation: Evaluation) -> str:
    names = [n for n, f in FIGURES.items() if f.headline and "precision" in f.parts]
    rows = [
        [FIGURES[name].title, part, *(cell(s, name, part) for s in evaluation.scored)]
        for name in names
        for part in ("precision", "recall")
    ]
    return _table(["", "", *(s.system.name for s in evaluation.scored)], rows)


def _families(evaluation: Evaluation) -> Iterable[str]:
    for heading, prefixes in (
        ("## Mentions by type", ("mention_exact.", "mention_overlap.")),
        ("## Assertions by class", ("assertion.", "document_assertion.")),
    ):
        names = [name for name in FIGURES if name.startswith(prefixes)]
        if any(name in s.figures for s in evaluation.scored for name in names):
            rows = [[FIGURES[n].title, *(cell(s, n) for s in evaluation.scored)] for n in names]
            yield heading
            yield _table(["", *(s.system.name for s in evaluation.scored)], rows)


def _outputs(evaluation: Evaluation) -> str:
    lines = []
    for scored in evaluation.scored:
        system = scored.system
        lines.append(f"- {system.name}: {_listed('missing', system.missing)}; {_listed('failed', system.failed)}")
        lines += [f"  - {number} {remark}" for remark, number in system.remarks.items()]
    return "\n".join(lines)


def _listed(what: str, ids: Sequence[str]) -> str:
    more = ", ..." if len(ids) > _NAMED else ""
    return f"{len(ids)} {what}" + (f" ({', '.join(ids[:_NAMED])}{more})" if ids else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# The run folder


def write(evaluation: Evaluation, folder: Path, command: str) -> dict[str, Any]:
    """Write the run folder; `report.json` comes last, so that its presence means that the rest is there.

    Returns:
        The record, with the names of the plots or why there are none.

    Raises:
        OutputError: the folder holds other files than an earlier report's, or cannot be written.
    """
    claim(folder)
    pictures, note = plots.draw(evaluation, folder)
    result = record(evaluation, command) | {"plots": pictures, "no_plots": note}
    runs = [s.system for s in evaluation.scored if s.system.extractions]
    for number, system in enumerate(runs):
        name = PREDICTIONS if number == 0 else f"against.{PREDICTIONS}"
        lines = (found.model_dump_json() + "\n" for found in system.extractions)
        _write(folder / name, "".join(lines))
    _write(folder / MARKDOWN, markdown(evaluation, command, pictures, note))
    _write(folder / JSON, json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    return result


def claim(folder: Path) -> None:
    """Make the folder, or take over an earlier report's; raises OutputError for any other."""
    ours = {JSON, MARKDOWN, PREDICTIONS, f"against.{PREDICTIONS}", *plots.NAMES}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
        if others:
            raise OutputError(f"{folder} holds other files ({others[0]}); name a new or empty folder")
        for name in ours:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from None


def _write(path: Path, text: str) -> None:
    with write_atomically(path) as file:
        file.write(text.encode())
