"""Read Orphanet's `en_product4.xml`, the rare diseases with their phenotypes (Orphadata, CC-BY-4.0).

Source of the format: https://www.orphadata.com/phenotypes/; the file comes from there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from clario.corpus import associations
from clario.corpus.associations import Association, opened
from clario.errors import OntologyError
from clario.ontology.obo import HP_ID

FREQUENCY_CLASSES = {
    "Obligate (100%)": associations.OBLIGATE,
    "Very frequent (99-80%)": associations.VERY_FREQUENT,
    "Frequent (79-30%)": associations.FREQUENT,
    "Occasional (29-5%)": associations.OCCASIONAL,
    "Very rare (<4-1%)": associations.VERY_RARE,
    "Excluded (0%)": associations.EXCLUDED,
}
_LIST = "HPODisorderSetStatusList"
_CHUNK, _PROLOG_CHUNK = 1 << 16, 64  # bytes


def read_orphanet(path: Path) -> Iterator[Association]:
    """Stream the associations of an `en_product4.xml`, plain or gzipped; one disorder is in memory at a time.

    A frequency class becomes the middle of its interval. Associations of the class "Excluded (0%)" and those
    that are an exclusion criterion say that patients do not have it, and are left out.

    Raises:
        OntologyError: the file cannot be read, is not well-formed or another file, has a document type
            (Orphanet's has none, and entities are a way to attack), or a disorder breaks the format.
    """
    with opened(path) as stream:
        for disorder in _disorders(stream, path.name):
            try:
                yield from _associations(disorder, path.name)
            except ValueError as error:
                code = _text(disorder, "OrphaCode") or "without a code"
                raise OntologyError(f"{path.name}, disorder {code[:40]}: {error}") from None


class _Disorders:
    """Target of the XML parser: keeps each Disorder when it is whole, and drops all else."""

    def __init__(self) -> None:
        self.whole: list[Element] = []
        self.root: str | None = None
        self.in_list = False
        self._builder: TreeBuilder | None = None
        self._depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.root = self.root or tag
        self.in_list = self.in_list or tag == _LIST
        if self._builder is None and self.in_list and tag == "Disorder":
            self._builder, self._depth = TreeBuilder(), 0
        if self._builder is not None:
            self._builder.start(tag, attributes)
            self._depth += 1

    def data(self, text: str) -> None:
        if self._builder is not None:
            self._builder.data(text)

    def end(self, tag: str) -> None:
        if self._builder is not None:
            self._builder.end(tag)
            self._depth -= 1
            if not self._depth:
                self.whole.append(self._builder.close())
                self._builder = None

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        raise OntologyError("has a document type (<!DOCTYPE>), which Orphanet's files have not")

    def close(self) -> None:
        if self.root != "JDBOR" or not self.in_list:
            raise OntologyError(f"has no {_LIST}; is this Orphanet's en_product4.xml?")


def _disorders(stream: IO[bytes], name: str) -> Iterator[Element]:
    target = _Disorders()
    parser = XMLParser(target=target)
    try:
        # Little by little until the root is there: a document type is refused before its entities are read.
        while chunk := stream.read(_CHUNK if target.root else _PROLOG_CHUNK):
            parser.feed(chunk)
            yield from target.whole
            target.whole.clear()
        parser.close()
    except ParseError as error:
        line, _ = error.position
        raise OntologyError(f"{name}, line {line}: not well-formed XML ({error}); is it cut off?") from None
    except (LookupError, ValueError) as error:
        raise OntologyError(f"{name}: not XML in an encoding that can be read ({error})") from None
    except OntologyError as error:
        raise OntologyError(f"{name} {error}") from None


def _associations(disorder: Element, source: str) -> Iterator[Association]:
    code, name = _text(disorder, "OrphaCode"), _text(disorder, "Name")
    if not (code.isascii() and code.isdecimal() and name):
        raise ValueError("it must have an OrphaCode, a number, and a Name")
    for stated in disorder.iterfind("HPODisorderAssociationList/HPODisorderAssociation"):
        hpo_id = _text(stated, "HPO/HPOId")
        if not HP_ID.fullmatch(hpo_id):
            raise ValueError(f"{hpo_id[:40]!r} is not an HPO id")
        frequency = _frequency(_text(stated, "HPOFrequency/Name"))
        excluded = _text(stated, "DiagnosticCriteria/Name").casefold().startswith("exclusion")
        if frequency != associations.EXCLUDED and not excluded:
            yield Association(f"ORPHA:{code}", name, hpo_id, frequency, None, None, f"{source} ORPHA:{code}")


def _frequency(name: str) -> float | None:
    if name and name not in FREQUENCY_CLASSES:
        raise ValueError(f"unknown frequency {name[:40]!r}")
    return FREQUENCY_CLASSES[name] if name else None


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
