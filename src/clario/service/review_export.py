"""Reviewed diaries as files, and how far two annotators agree.

What nobody has decided on is a model's opinion: it is left out unless it is asked for. What was rejected is never
written.
"""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from importlib.util import find_spec
from typing import Any

from clario.corpus.agreement import agreement
from clario.corpus.dataset import Annotation, GoldDiary, GoldEntity
from clario.entities import Extraction
from clario.journal.records import Item, Status, View
from clario.journal.store import Journal

WRITER = "unknown"
_NEEDS = {"corpus": None, "csv": None, "phenopacket": "phenopackets", "fhir": "fhir"}


def formats() -> list[str]:
    """The formats whose packages are installed."""
    return [name for name, package in _NEEDS.items() if package is None or find_spec(package)]


@dataclass(frozen=True, slots=True)
class Paper:
    """A reviewed diary as it is exported."""

    text: str
    recorded: date | None
    view: View
    undecided: bool

    @classmethod
    def of(cls, desk: Journal, name: str, annotator: str, undecided: bool) -> "Paper":
        """An annotator's review of an entry; raises UnknownEntryError."""
        entry = desk.entry(name)
        return cls(entry.text, entry.recorded, desk.effective(name, annotator), undecided)

    @property
    def items(self) -> list[Item]:
        """The findings that stand."""
        out = {Status.REJECTED} if self.undecided else {Status.REJECTED, Status.PROPOSED}
        return [item for item in self.view.items if item.status not in out]

    def extraction(self) -> Extraction:
        """The findings that stand, as a result."""
        kept = self.view.model_copy(update={"items": tuple(self.items)})
        return kept.extraction()

    def gold(self) -> GoldDiary:
        """The findings that stand, as a line of the corpus."""
        entities = tuple(map(_gold, self.items))
        return GoldDiary(id=self.view.id, entities=entities, text=self.text, disease=None, writer=WRITER)


def written(papers: Sequence[Paper], format: str, *, quotes: bool) -> tuple[str, str, str]:
    """A file's content, its media type, and the end of its name.

    Args:
        format: one of `formats()`.
        quotes: whether Phenopackets and FHIR tell the patient's words; the corpus and CSV always do.

    Raises:
        InputError: the package of the format is not installed.
    """
    if format == "corpus":
        lines = "".join(paper.gold().model_dump_json() + "\n" for paper in papers)
        return lines, "application/x-ndjson", ".jsonl"
    if format == "csv":
        return _csv(papers), "text/csv; charset=utf-8", ".csv"
    convert = {"phenopacket": _packet, "fhir": _bundle}[format]
    indent = 2 if len(papers) == 1 else None
    bodies = [convert(paper, quotes, indent) for paper in papers]
    if len(bodies) == 1:
        return bodies[0] + "\n", "application/json", f".{format}.json"
    return "\n".join(bodies) + "\n", "application/x-ndjson", f".{format}.jsonl"


def finishers(desk: Journal, name: str, annotator: str) -> list[str]:
    """Who else has finished an entry."""
    return [who for who in desk.annotators() if who != annotator and name in desk.finished(who)]


def compared(desk: Journal | None, names: Sequence[str], first: str, second: str) -> dict[str, Any]:
    """The figures of `clario.corpus.agreement` over the entries that both have finished."""
    mine = _annotations(desk, names, first)
    return asdict(agreement(mine, _annotations(desk, names, second)))


def _annotations(desk: Journal | None, names: Sequence[str], who: str) -> list[Annotation]:
    if desk is None:
        return []
    done = set(desk.finished(who))
    papers = [Paper.of(desk, name, who, undecided=False) for name in names if name in done]
    return [Annotation(id=paper.view.id, entities=paper.gold().entities) for paper in papers]


def _gold(item: Item) -> GoldEntity:
    shared = set(GoldEntity.model_fields) - {"alt_ids"}
    return GoldEntity(**{name: getattr(item.entity, name) for name in shared}, alt_ids=item.alt_ids)


def _record(paper: Paper) -> Any:
    from clario.export.records import About, Record

    return Record(paper.extraction(), About(recorded=paper.recorded))


def _csv(papers: Sequence[Paper]) -> str:
    from clario.export import table
    from clario.export.records import Tally

    file = io.StringIO()
    table.write_csv(file, table.rows(map(_record, papers), True, Tally()))
    return file.getvalue()


def _packet(paper: Paper, quotes: bool, indent: int | None) -> str:
    from clario.export import phenopacket

    return phenopacket.as_json(phenopacket.packet([_record(paper)], created=_now(), quotes=quotes), indent)


def _bundle(paper: Paper, quotes: bool, indent: int | None) -> str:
    from clario.export import fhir

    return fhir.as_json(fhir.bundle([_record(paper)], created=_now(), quotes=quotes), indent)


def _now() -> datetime:
    return datetime.now(UTC)
