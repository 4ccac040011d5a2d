"""A system under test: its output for every gold diary, from an installed model or from a file."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clario.entities import Extraction, Failure
from clario.errors import InputError, UnknownTermError
from clario.evaluation import baseline, read
from clario.evaluation.figures import Document
from clario.evaluation.metrics import Annotation
from clario.evaluation.read import GoldDiary, Prediction
from clario.ontology.index import Index
from clario.ontology.resolver import Resolver
from clario.paths import sha256_of

Watch = Callable[[Iterable[GoldDiary]], Iterable[GoldDiary]]

AS_GIVEN, NORMALISED = "as given", "normalised"
_NAMED = 5  # unknown ids that an error names


@dataclass(frozen=True, slots=True)
class System:
    """One system's documents, in the order of the gold diaries, and where they come from.

    `missing` are ids without an output, `failed` those where the system gave up or wrote nothing that can be
    read; both count as empty. `remarks` counts what else was noticed.
    """

    name: str
    documents: list[Document]
    model: str | None = None
    shape: str | None = None
    file: str | None = None
    sha256: str | None = None
    missing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    remarks: dict[str, int] = field(default_factory=dict)
    extractions: list[Extraction | Failure] = field(default_factory=list)


def from_model(name: str, diaries: Sequence[GoldDiary], watch: Watch = iter) -> System:
    """Run an installed model over the diaries.

    Args:
        watch: is given the diaries' iterator to pass on, and may show the progress.

    Raises:
        ModelError: no such model, or it cannot be loaded.
    """
    from clario.pipeline import Clario, Diary

    results = list(Clario(name).extract_many(Diary(d.id, d.text) for d in watch(diaries)))
    documents = [_extracted(result, diary) for result, diary in zip(results, diaries, strict=True)]
    models = {result.model for result in results if isinstance(result, Extraction)}
    failed = [result.id for result in results if isinstance(result, Failure)]
    return System(name, documents, _only(models), failed=failed, extractions=results)


def _extracted(result: Extraction | Failure, diary: GoldDiary) -> Document:
    found = () if isinstance(result, Failure) else result.entities
    predicted = tuple(
        Annotation(
            e.type, e.start, e.end, e.assertion, e.hpo_id, frozenset(), e.name_colloquial, e.name_canonical,
            e.confidence,
        )
        for e in found
    )  # fmt: skip
    return Document(diary.entities, predicted, isinstance(result, Extraction))


def from_file(
    path: Path, gold: Mapping[str, GoldDiary], diaries: Sequence[GoldDiary], index: Index
) -> list[System]:
    """Read predictions: one system, or two for raw model outputs, as given and normalised.

    Args:
        gold: every diary of the gold file: predictions for others are an error.
        diaries: those to be scored.

    Raises:
        InputError: a line cannot be read, or ids are not the gold file's; it names them.
    """
    found = read.predictions(path)
    unknown = [name for name in found if name not in gold]
    if unknown:
        shown = ", ".join(repr(name[:80]) for name in unknown[:_NAMED])
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise InputError(f"{path}: {shown}{more}: no such ids in the gold file")
    common = System(
        path.stem, [], _only({p.model for p in found.values() if p.model}), file=path.name,
        sha256=sha256_of(path), missing=[d.id for d in diaries if d.id not in found],
    )  # fmt: skip
    lines = [found.get(d.id, Prediction(d.id)) for d in diaries]
    if any(p.raw is not None for p in found.values()):
        return _raw(common, lines, diaries, Resolver(index))
    return [_plain(common, lines, diaries, index)]


def _plain(common: System, lines: Sequence[Prediction], diaries: Sequence[GoldDiary], index: Index) -> System:
    remarks = Counter[str]()
    entities = [
        tuple(_live(a, diary.text, index, remarks) for a in line.entities or ())
        for line, diary in zip(lines, diaries, strict=True)
    ]
    documents = [
        # Tools that give ids only were not asked for Extractions.
        Document(d.entities, found, line.valid if _whole(lines) else None)
        for d, found, line in zip(diaries, entities, lines, strict=True)
    ]
    others = sum(line.hpo_release not in (None, index.release) for line in lines)
    remarks["lines made with another HPO release"] = others
    failed = [p.id for p in lines if p.entities is None and p.id not in common.missing]
    return replace(common, documents=documents, failed=failed, remarks=_some(remarks))


def _whole(lines: Sequence[Prediction]) -> bool:
    """Whether the file claims to hold Extractions, valid or not: any line that names its model or a place."""
    spans = any(a.start is not None for line in lines for a in line.entities or ())
    return spans or any(line.model for line in lines)


def _live(annotation: Annotation, text: str, index: Index, remarks: Counter[str]) -> Annotation:
    if annotation.start is not None and annotation.quote is not None:
        misplaced = text[annotation.start : annotation.end] != annotation.quote
        remarks["quotes that are not text[start:end]"] += misplaced
    if annotation.hpo_id is None:
        return annotation
    try:
        return replace(annotation, hpo_id=index.live(annotation.hpo_id))
    except UnknownTermError:
        remarks["ids that the release does not know"] += 1
        return annotation


def _raw(
    common: System, lines: Sequence[Prediction], diaries: Sequence[GoldDiary], resolver: Resolver
) -> list[System]:
    systems = []
    for shape, reader in ((AS_GIVEN, baseline.as_given), (NORMALISED, baseline.normalised)):
        outputs = [None if line.raw is None else reader(line.raw) for line in lines]
        entities = [baseline.annotations(o, d.text, resolver) for o, d in zip(outputs, diaries, strict=True)]
        unread = [line.id for line, o in zip(lines, outputs, strict=True) if o is None]
        nowhere = sum(a.start is None for found in entities for a in found)
        documents = [
            Document(d.entities, found, o is not None)
            for d, found, o in zip(diaries, entities, outputs, strict=True)
        ]
        systems.append(
            replace(
                common, name=f"{common.name}, {shape}", documents=documents, shape=shape,
                failed=[name for name in unread if name not in common.missing],
                remarks=_some(Counter({"quotes that are not in the text": nowhere})),
            )
        )  # fmt: skip
    return systems


def second_annotator(diaries: Sequence[GoldDiary]) -> System:
    """The second annotator as a system against the first: the ceiling to expect. Only diaries with both."""
    documents = [Document(d.entities, d.second, None) for d in diaries if d.second is not None]
    return System("second annotator", documents)


def _some(counts: Counter[str]) -> dict[str, int]:
    return {remark: number for remark, number in counts.items() if number}


def _only(names: set[str]) -> str | None:
    return ", ".join(sorted(names)) or None
