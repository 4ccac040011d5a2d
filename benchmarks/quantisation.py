"""What int8 costs `mini`: the served model against the same weights in float32, on the validation diaries.

Measured: the headline figures of `clario evaluate` for both (mention F1, HPO id F1, assertions ...) with 95 %
bootstrap intervals over diaries, their paired difference (int8 less float) with its interval and p, how far the
states of the two lie apart, and the size of each. In the float model the layers, the embedding of the words and
the queries are float32, and the vectors of the terms are made anew by it (they are kept as int8 by both);
thresholds and calibration are those of the served model.
Against: ONNX in float32, which agrees with PyTorch (tests/test_mini.py).

Usage: python benchmarks/quantisation.py TRAINED PREPARED [--model FOLDER] [--keep-vectors] [--json], the folders
being written by `clario train mini`; --model is by default `model` beside TRAINED.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import common
from clario.entities import Failure
from clario.evaluation import report, run
from clario.evaluation.figures import FIGURES
from clario.extraction.mini import MiniExtractor
from clario.ontology import dense
from clario.ontology import release as releases
from clario.ontology.encoder import LINKER, TAGGER, Encoder
from clario.ontology.resolver import Resolver
from clario.pipeline import Clario, Diary

INT8, FLOAT = "int8", "float32"
GRAPHS = {"lower": LINKER, LINKER: LINKER, TAGGER: TAGGER}  # each file, and whose weights are in it
VALIDATION = "validation.jsonl"


def float_model(trained: Path, prepared: Path, served: Path, folder: Path, keep_vectors: bool) -> Path:
    """The served model in float32, written to `folder`."""
    # What needs the extra `train` is imported where it is used.
    from clario.training import encoder as training
    from clario.training import export

    shutil.copytree(served, folder)
    shared = Encoder(served).manifest["shared_layers"]
    for name, part in GRAPHS.items():
        if (served / f"{name}.onnx").exists():
            arrays = training.load(trained, part)
            layers = range(shared) if name == "lower" else range(shared, export.layers_of(arrays))
            (folder / f"{name}.onnx").write_bytes(export.onnx_of(arrays, False, layers))
    with np.load(prepared / "base.npz") as base:
        words = base["words"].astype(np.float32)
    np.savez(folder / "words.npz", words=words, scales=np.ones(len(words), np.float32))
    if not keep_vectors:
        _vectors(prepared, folder)
    return folder


def _vectors(prepared: Path, folder: Path) -> None:
    """The terms' vectors by the float encoder, as `clario.training.finish` makes those of the served one."""
    common.note("making the vectors of the terms in float32 (minutes)")
    encoder, index = Encoder(folder), releases.load()
    taken = set(dense.load(folder / dense.FILE).ids)
    said = [
        (entity["hpo_id"], entity["name_colloquial"])
        for diary in _read(prepared / "train.jsonl")
        for entity in diary["entities"]
        if entity["hpo_id"] in taken
    ]
    mentions = dense.Said(dense.encoded(encoder, [quote for _, quote in said]), [hpo_id for hpo_id, _ in said])
    phrases = [(phrase["hpo_id"], phrase["phrase"]) for phrase in _read(prepared / "phrases.jsonl")]
    dense.build(index, index.sha256, encoder, mentions, phrases, taken).save(folder / dense.FILE)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def predict(model: Path, diaries: Sequence[dict[str, Any]], output: Path) -> Path:
    """Write what a model finds in the diaries, for `clario.evaluation`."""
    clario = Clario(MiniExtractor(Resolver(releases.load(), model), model))
    found = list(clario.extract_many(Diary(diary["id"], diary["text"]) for diary in diaries))
    if failed := next((one for one in found if isinstance(one, Failure)), None):
        raise common.BenchmarkError(f"{failed.id}: {failed.error}")
    output.write_text("".join(one.model_dump_json() + "\n" for one in found), "utf-8")
    return output


def apart(models: dict[str, Path], diaries: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each use, how alike the states of a word piece are: the mean and the least cosine, and the largest
    difference of a number."""
    encoders = [Encoder(folder) for folder in models.values()]
    cosines, most = dict[str, list[Any]](), dict[str, float]()
    for diary in diaries:
        reading = encoders[0].read(diary["text"])
        for use in (LINKER, TAGGER):
            one, other = (encoder.states(reading, use)[0] for encoder in encoders)
            lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
            cosines.setdefault(use, []).append((one * other).sum(1) / lengths)
            most[use] = max(most.get(use, 0.0), float(np.abs(one - other).max()))
    joined = {use: np.concatenate(rows) for use, rows in cosines.items()}
    return {
        use: {"mean_cosine": float(row.mean()), "least_cosine": float(row.min()), "largest": most[use]}
        for use, row in joined.items()
    }


def measure(models: dict[str, Path], gold: Path, folder: Path) -> dict[str, Any]:
    """Everything that is told of the two models."""
    diaries = _read(gold)
    one, other = (predict(model, diaries, folder / f"{name}.jsonl") for name, model in models.items())
    evaluation = run.evaluate(gold, run.Source(file=one), run.Source(file=other))
    record = report.record(evaluation, "benchmarks/quantisation.py")
    sizes = {name: sum(path.stat().st_size for path in model.iterdir()) for name, model in models.items()}
    return {
        "systems": {system["name"]: system["figures"] for system in record["systems"]},
        "differences": record["comparison"]["figures"],
        "states": apart(models, diaries),
        "bytes": sizes,
    }


def sections(results: dict[str, Any]) -> list[common.Section]:
    """The results as tables."""
    names = [name for name in FIGURES if name in results["differences"]]
    rows = [
        (FIGURES[name].title, *(_value(results["systems"][one][name]) for one in (INT8, FLOAT)), *_change(found))
        for name, found in ((name, results["differences"][name]) for name in names)
    ]
    sizes = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in results["bytes"].items())
    states = [
        (use, *(f"{row[part]:.5f}" for part in ("mean_cosine", "least_cosine", "largest")))
        for use, row in results["states"].items()
    ]
    return [
        common.Section("Validation", ("", INT8, FLOAT, "difference", "p"), rows, [f"sizes: {sizes}"]),
        common.Section("States of word pieces", ("", "mean cosine", "least cosine", "largest difference"), states),
    ]


def _value(figure: dict[str, list[float | None]]) -> str:
    value = next(iter(figure.values()))[0]
    return "–" if value is None else f"{value:.4f}"


def _change(found: dict[str, Any]) -> tuple[str, str]:
    low, high = found["interval"]
    within = f" ({low:+.4f} to {high:+.4f})" if low is not None and high is not None else ""
    return f"{found['difference']:+.4f}{within}", f"{found['p']:.4f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its report."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("trained", type=Path, metavar="TRAINED", help="the folder of linker-0.npz and so on")
    parser.add_argument("prepared", type=Path, metavar="PREPARED", help="the folder of prepared.json")
    parser.add_argument("--model", type=Path, help="the served folder (default: `model` beside TRAINED)")
    parser.add_argument("--keep-vectors", action="store_true", help="use the served vectors of the terms in both")
    options = parser.parse_args(argv)
    served = options.model or options.trained.resolve().parent / "model"
    with TemporaryDirectory(prefix="clario-bench-") as name:
        folder = Path(name)
        made = float_model(options.trained, options.prepared, served, folder / "model", options.keep_vectors)
        results = measure({INT8: served, FLOAT: made}, options.prepared / VALIDATION, folder)
    made_with = common.provenance([], {}) | {"model": Encoder(served).manifest["version"]}
    common.show(options.json, made_with, results, sections(results))


if __name__ == "__main__":
    common.run(main)
