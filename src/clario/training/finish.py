"""From trained weights to the folder that is served: ONNX, vectors of the terms, confidences, manifest."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clario.extraction.mini import MiniExtractor
from clario.ontology import dense
from clario.ontology import release as releases
from clario.ontology.encoder import Encoder
from clario.ontology.resolver import Resolver
from clario.paths import sha256_of
from clario.training import calibration, dense_threshold, export
from clario.training.encoder import load
from clario.training.tagging import forbidden
from clario.training.texts import read

KEPT = 128  # dimensions of the vectors that are served
_SAMPLE = 4000  # phrases that the directions of most variance are told from


def finish(
    prepared: Path, trained: Path, output: Path, hold_out: bool = False, smoke: bool = False
) -> dict[str, Any]:
    """Write the served folder; gives its manifest. Without a trained tagger the folder serves vectors only.

    Args:
        prepared: see `data.prepare`.
        trained: the folder that `encoder.train` wrote.
        hold_out: leave the phrases that a benchmark asks for out of the vectors, as out of the training.
        smoke: take the terms of the first validation diaries only.
    """
    output.mkdir(parents=True, exist_ok=True)
    linker, tagger = load(trained, "linker"), load(trained, "tagger")
    shared = _graphs(linker, tagger, output)
    with np.load(prepared / "base.npz") as base:
        np.savez(output / "words.npz", **export.words_of(base["words"].astype(np.float32)))
    shutil.copy(prepared / "tokenizer.json", output)
    heads = _heads(linker, tagger)
    np.savez(output / "heads.npz", **heads)
    phrases = [p for p in read(prepared / "phrases.jsonl") if not hold_out or p["part"] == "known"]
    sample = [p["phrase"] for p in phrases[:: max(1, len(phrases) // (_SAMPLE // 20 if smoke else _SAMPLE))]]
    np.savez(output / "heads.npz", **heads | _fewer(heads, dense.encoded(Encoder(output), sample)))
    _vectors(prepared, output, [(p["hpo_id"], p["phrase"]) for p in phrases], hold_out, smoke)
    return _manifest(prepared, trained, output, shared, bool(tagger))


def _graphs(linker: dict[str, Any], tagger: dict[str, Any], output: Path) -> int:
    """Write the graphs; gives how many layers are shared."""
    shared = _shared(linker, tagger) if tagger else 0
    graphs = {"linker": (linker, range(shared, export.layers_of(linker)))}
    if tagger:
        graphs["tagger"] = (tagger, range(shared, export.layers_of(tagger)))
    if shared:
        graphs["lower"] = (linker, range(shared))
    for name in ("linker", "tagger", "lower"):
        (output / f"{name}.onnx").unlink(missing_ok=True)
    for name, (arrays, layers) in graphs.items():
        (output / f"{name}.onnx").write_bytes(export.onnx_of(arrays, True, layers))
    return shared


def _shared(linker: Mapping[str, Any], tagger: Mapping[str, Any]) -> int:
    """How many layers both have in common, from the first on."""
    names = [name for name in ("positions", "norm.weight", "norm.bias") if name in tagger]
    if not all(np.array_equal(linker[name], tagger[name]) for name in names):
        return 0
    count = 0
    while count < export.layers_of(tagger) and all(
        np.array_equal(linker[name], tagger[name]) for name in tagger if name.startswith(f"layers.{count}.")
    ):
        count += 1
    return count


def _heads(linker: Mapping[str, Any], tagger: Mapping[str, Any]) -> dict[str, Any]:
    heads = {name.removeprefix("head."): value for name, value in tagger.items() if name.startswith("head.")}
    if heads:
        heads["moves"] = heads["moves"] + forbidden().numpy()
    return heads | {f"project.{kind}": linker[f"head.project.{kind}"] for kind in ("weight", "bias")}


def _fewer(heads: Mapping[str, Any], vectors: Any) -> dict[str, Any]:
    """The projection onto the directions in which the vectors of phrases vary most."""
    directions = np.linalg.svd(vectors, full_matrices=False)[2][:KEPT]
    return {
        f"project.{kind}": (directions @ heads[f"project.{kind}"]).astype(np.float32)
        for kind in ("weight", "bias")
    }


def _vectors(
    prepared: Path, output: Path, phrases: Iterable[tuple[str, str]], hold_out: bool, smoke: bool
) -> None:
    encoder, index = Encoder(output), releases.load()
    unseen = {p["hpo_id"] for p in read(prepared / "phrases.jsonl") if p["part"] == "term"} if hold_out else set()
    told = (
        {e["hpo_id"] for d in read(prepared / "validation.jsonl")[:20] for e in d["entities"]} if smoke else None
    )
    said = [
        (entity["hpo_id"], entity["name_colloquial"])
        for diary in read(prepared / "train.jsonl")
        for entity in diary["entities"]
        if entity["hpo_id"] and entity["hpo_id"] not in unseen and (told is None or entity["hpo_id"] in told)
    ]
    said += [
        (sentence["hpo_id"], sentence["text"][sentence["start"] : sentence["end"]])
        for sentence in read(prepared / "sentences.jsonl")
        if sentence["hpo_id"] not in unseen and (told is None or sentence["hpo_id"] in told)
    ]
    vectors = dense.encoded(encoder, [quote for _, quote in said])
    mentions = dense.Said(vectors, [hpo_id for hpo_id, _ in said])
    made = dense.build(index, index.sha256, encoder, mentions, phrases, told)
    made.save(output / dense.FILE)


def _manifest(prepared: Path, trained: Path, output: Path, shared: int, tagger: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "version": _version(output),
        "shared_layers": shared,
        "training": json.loads((trained / "training.json").read_text("utf-8")),
        "index_sha256": dense.load(output / dense.FILE).index_sha256,
    }
    calibration.write(output, record)
    if tagger:
        judged = calibration.judge(MiniExtractor(Resolver(releases.load()), output), prepared / "validation.jsonl")
        record["calibration"] = calibration.calibrate(judged)
        calibration.write(output, record)
        record["calibration"]["dense"] = dense_threshold.calibrate(output, prepared / "validation.jsonl")
        record["version"] = _version(output, record["calibration"])
        record["expected_calibration_error_of_terms"] = round(calibration.error_of(judged), 4)
        calibration.write(output, record)
    return record


def _version(output: Path, calibration: Mapping[str, Any] | None = None) -> str:
    """Twelve hex digits of all that the answers come from."""
    digest = hashlib.sha256(json.dumps(calibration, sort_keys=True).encode())
    for name in ("words.npz", "lower.onnx", "linker.onnx", "tagger.onnx", "heads.npz", "terms.npz"):
        if (output / name).exists():
            digest.update(sha256_of(output / name).encode())
    return digest.hexdigest()[:12]
