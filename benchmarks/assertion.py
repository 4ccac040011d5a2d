"""Clario's assertion rules beside medspaCy's ConText: scores per class, speed, time to the first answer, size.

Measured on the test sentences (tests/data/assertion_sentences.jsonl), which are written for the rules of
docs/ANNOTATION.md, and, with --corpus, on annotated diaries: lines of {"id", "text", "entities": [{"type",
"start", "end", "assertion"}]}. Mentions are given; what is asked is their assertion alone.

Against: medspaCy's ConText (https://pypi.org/project/medspacy/) in a blank English pipeline with spaCy's
sentencizer and medspaCy's own rules. Its marks are read as our classes in this order: family is `other`,
hypothetical or uncertain is `hypothetical`, negated is `absent`, historical is `past`, else `present`. It runs
in a process of its own; --python names an interpreter that has it (`pip install "medspacy>=1.3,<2"`).
"""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module, metadata
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SENTENCES = ROOT / "tests" / "data" / "assertion_sentences.jsonl"
CLASSES = ("present", "past", "absent", "other", "hypothetical")
TYPES = ("symptom", "lab_marker", "med")
CLARIO, MEDSPACY = "clario", "medspacy"
FIRST = "No fever but my mum has a cough."

Span = tuple[int, int]
Tell = Callable[[str, Sequence[Span]], list[str]]
Case = dict[str, Any]  # {"text", "spans", "gold"}


# The two systems; each runs in a fresh process, for what it imports is part of what is measured


def clario() -> Tell:
    """Clario's rules: from a text and spans to classes."""
    from clario.extraction.context import assertions

    return lambda text, spans: [assertion.value for assertion in assertions(text, spans)]


def medspacy() -> Tell:
    """medspaCy's ConText with its own rules: from a text and spans to classes."""
    import_module("medspacy.context")  # registers the pipe
    spacy = import_module("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    context = nlp.add_pipe("medspacy_context", config={"input_span_type": "group"})
    sentencizer = nlp.get_pipe("sentencizer")

    def tell(text: str, spans: Sequence[Span]) -> list[str]:
        doc = sentencizer(nlp.make_doc(text))
        found = [doc.char_span(start, end, label="M", alignment_mode="expand") for start, end in spans]
        doc.spans["medspacy_spans"] = [span for span in found if span is not None]
        context(doc)
        return ["present" if span is None else class_of(span) for span in found]

    return tell


def class_of(span: Any) -> str:
    """Our class for what medspaCy marked on a span."""
    if span._.is_family:
        return "other"
    if span._.is_hypothetical or span._.is_uncertain:
        return "hypothetical"
    if span._.is_negated:
        return "absent"
    return "past" if span._.is_historical else "present"


def answer(system: str) -> None:
    """In the process of a system: cases from stdin, answers and costs to stdout."""
    cases: list[Case] = json.load(sys.stdin)
    start = perf_counter()
    tell = {CLARIO: clario, MEDSPACY: medspacy}[system]()
    tell(FIRST, [(3, 8)])
    ready = perf_counter() - start
    start = perf_counter()
    told = [tell(case["text"], case["spans"]) for case in cases]
    seconds = perf_counter() - start
    speed = {"ready_s": ready, "texts_per_s": len(cases) / seconds}
    print(json.dumps({"told": told, "bytes": size(system), "version": metadata.version(system), **speed}))


def size(system: str) -> int:
    """Bytes that a system adds to an installation: the files of the rules, or the package and what it needs."""
    if system == MEDSPACY:
        return sum(installed_size(name) for name in required(MEDSPACY))
    folder = ROOT / "src" / "clario" / "extraction"
    return sum(path.stat().st_size for path in (*folder.glob("context*.py"), folder / "data" / "context_cues.txt"))


def required(package: str) -> set[str]:
    """A package and all that it requires, as far as installed; extras left out."""
    found, waiting = set[str](), [package]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another platform
        if name not in found:
            found.add(name)
            waiting += [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs if "extra ==" not in need]
    return found


def installed_size(package: str) -> int:
    """Bytes of the files of an installed package."""
    paths = [Path(str(file.locate())) for file in metadata.files(package) or []]
    return sum(path.stat().st_size for path in paths if path.is_file())


# Cases


def sentences() -> list[Case]:
    """The test sentences, one mention each."""
    rows = [json.loads(line) for line in SENTENCES.read_text("utf-8").splitlines()]
    starts = [row["text"].index(row["quote"]) for row in rows]
    return [
        {"text": row["text"], "spans": [(start, start + len(row["quote"]))], "gold": [row["assertion"]]}
        for row, start in zip(rows, starts, strict=True)
    ]


def diaries(path: Path, ids: str) -> list[Case]:
    """The diaries of a corpus whose ids match a pattern, with the mentions of the clinical types."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    cases = []
    for row in rows:
        entities = [entity for entity in row["entities"] if entity["type"] in TYPES]
        spans = [(entity["start"], entity["end"]) for entity in entities]
        if entities and re.match(ids, row["id"]):
            cases.append(
                {"text": row["text"], "spans": spans, "gold": [entity["assertion"] for entity in entities]}
            )
    return cases


# Scores and report


def run(system: str, cases: Sequence[Case], python: str) -> dict[str, Any]:
    """The answers and costs of a system in a fresh process; raises SystemExit where it fails."""
    command = [python, __file__, "--answer", system]
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise SystemExit(f"{system} does not run with {python}: {last[0]} (--python, or --no-peer)")
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def score(cases: Sequence[Case], told: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Precision, recall and F1 of each class, their macro mean, accuracy, and false `absent` on `present`."""
    pairs = Counter(
        pair for case, one in zip(cases, told, strict=True) for pair in zip(case["gold"], one, strict=True)
    )
    classes = {name: class_score(pairs, name) for name in CLASSES}
    return {
        "classes": classes,
        "macro_f1": sum(one["f1"] for one in classes.values()) / len(classes),
        "accuracy": sum(n for (gold, one), n in pairs.items() if gold == one) / max(1, pairs.total()),
        "false_absent": pairs["present", "absent"],
    }


def class_score(pairs: Mapping[tuple[str, str], int], name: str) -> dict[str, float]:
    """Precision, recall, F1 and number of gold mentions of a class; 0 where nothing is right."""
    right = pairs.get((name, name), 0)
    gold = sum(n for (one, _), n in pairs.items() if one == name)
    predicted = sum(n for (_, one), n in pairs.items() if one == name)
    return {
        "precision": right / max(1, predicted),
        "recall": right / max(1, gold),
        "f1": 2 * right / max(1, gold + predicted),
        "mentions": gold,
    }


def table(title: str, results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a table: a row for each class, and for each system its precision, recall and F1."""
    yield title
    yield "".join([f"{'':14}{'mentions':>9}", *(f"   {name + ' P':>12}{'R':>7}{'F1':>7}" for name in results)])
    for name in CLASSES:
        rows = [result["score"]["classes"][name] for result in results.values()]
        figures = (f"   {row['precision']:12.3f}{row['recall']:7.3f}{row['f1']:7.3f}" for row in rows)
        yield "".join([f"{name:14}{rows[0]['mentions']:9,}", *figures])
    for label, key in (
        ("macro F1", "macro_f1"),
        ("accuracy", "accuracy"),
        ("present told as absent", "false_absent"),
    ):
        scores = (result["score"][key] for result in results.values())
        yield "".join(
            [f"{label:23}", *(f"   {f'{one:.3f}' if isinstance(one, float) else one:>26}" for one in scores)]
        )


def costs(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The lines of the table of costs."""
    rows: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("version", lambda result: result["version"]),
        ("MB on disk", lambda result: f"{result['bytes'] / 1e6:,.2f}"),
        ("import and first answer, s", lambda result: f"{result['ready_s']:.2f}"),
        ("texts per second", lambda result: f"{result['texts_per_s']:,.0f}"),
    ]
    for label, figure in rows:
        yield f"{label:29}" + "".join(f"{figure(result):>20}   " + " " * 6 for result in results.values()).rstrip()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, metavar="FILE", help="annotated diaries to measure on as well")
    parser.add_argument("--ids", default="", metavar="REGEX", help="only diaries whose id begins so")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has medspacy")
    parser.add_argument("--no-peer", action="store_true", help="measure Clario alone")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--answer", choices=(CLARIO, MEDSPACY), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.answer:
        return answer(options.answer)
    sets = {f"{SENTENCES.relative_to(ROOT)}": sentences()}
    if options.corpus:
        sets[f"{options.corpus.name} {options.ids}".strip()] = diaries(options.corpus, options.ids)
    pythons = {CLARIO: sys.executable} | ({} if options.no_peer else {MEDSPACY: options.python})
    results = {title: measure(cases, pythons) for title, cases in sets.items()}
    print(json.dumps(results, indent=2) if options.json else "\n".join(report(results)))


def measure(cases: Sequence[Case], pythons: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Scores and costs of each system on some cases."""
    answers = {system: run(system, cases, python) for system, python in pythons.items()}
    return {system: {"score": score(cases, one.pop("told")), **one} for system, one in answers.items()}


def report(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """All lines of the report."""
    for title, systems in results.items():
        yield from (*table(title, systems), "", *costs(systems), "")


if __name__ == "__main__":
    main()
