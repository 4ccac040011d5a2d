"""Read `phenotype.hpoa`, the HPO annotations of ORPHA, OMIM and DECIPHER diseases.

Source of the format: https://obophenotype.github.io/human-phenotype-ontology/annotations/phenotype_hpoa/
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from clario.corpus import associations
from clario.corpus.associations import DISEASE_ID, Association, opened
from clario.errors import OntologyError
from clario.ontology.obo import HP_ID

COLUMNS = (
    "database_id", "disease_name", "qualifier", "hpo_id", "reference", "evidence", "onset", "frequency", "sex",
    "modifier", "aspect", "biocuration",
)  # fmt: skip
FREQUENCY_TERMS = {
    "HP:0040280": associations.OBLIGATE,
    "HP:0040281": associations.VERY_FREQUENT,
    "HP:0040282": associations.FREQUENT,
    "HP:0040283": associations.OCCASIONAL,
    "HP:0040284": associations.VERY_RARE,
    "HP:0040285": associations.EXCLUDED,
}
_ASPECTS = frozenset("PICMH")
_FRACTION = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)
_PERCENTAGE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)%", re.ASCII)


def read_hpoa(path: Path) -> Iterator[Association]:
    """Stream the associations of a `phenotype.hpoa`, plain or gzipped.

    Only phenotypes (aspect P) that patients have: rows with the qualifier NOT and rows whose frequency is
    zero ("0/5", Excluded) say that patients do not have it, and are left out.

    Raises:
        OntologyError: the file cannot be read or is cut off, or a line breaks the format.
    """
    with opened(path) as lines:
        yield from _associations(lines, path)


def parse_frequency(value: str) -> float | None:
    """A frequency as the share of patients, 0 to 1: "3/7", "45%", or an HPO frequency term; None for "".

    Raises:
        ValueError: none of these, or more than all patients.
    """
    if not value:
        return None
    if value in FREQUENCY_TERMS:
        return FREQUENCY_TERMS[value]
    if fraction := _FRACTION.fullmatch(value):
        having, patients = int(fraction[1]), int(fraction[2])
        share = having / patients if patients else math.inf
    elif percentage := _PERCENTAGE.fullmatch(value):
        share = float(percentage[1]) / 100
    else:
        raise ValueError(f"unknown frequency {value[:40]!r}")
    if share > 1:
        raise ValueError(f"frequency {value!r} is not a share of all patients")
    return share


def _associations(lines: Iterable[bytes], path: Path) -> Iterator[Association]:
    header_seen = False
    for number, line in enumerate(lines, 1):
        if line.startswith(b"#") or not line.strip():
            continue
        try:
            row = _row(line.decode())  # a UnicodeDecodeError is a ValueError
            if not header_seen:
                _check_header(row)
                header_seen = True
            elif association := _association(row, path.name):
                yield association
        except ValueError as error:
            raise OntologyError(f"{path.name}, line {number}: {error}") from None
    if not header_seen:
        raise OntologyError(f"{path.name}: no column line; is this phenotype.hpoa?")


def _row(line: str) -> dict[str, str]:
    values = line.rstrip("\r\n").split("\t")
    if len(values) != len(COLUMNS):
        raise ValueError(f"{len(values)} columns instead of {len(COLUMNS)}")
    return dict(zip(COLUMNS, values, strict=True))


def _check_header(row: Mapping[str, str]) -> None:
    wrong = [value for column, value in row.items() if value.strip().casefold() != column]
    if wrong:
        raise ValueError(f"unknown column {wrong[0][:40]!r}; expected {', '.join(COLUMNS)}")


def _association(row: Mapping[str, str], source: str) -> Association | None:
    """The association that a row states, or None where patients do not have it or it is no phenotype."""
    if not DISEASE_ID.fullmatch(row["database_id"]):
        raise ValueError(f"{row['database_id'][:40]!r} is not an ORPHA, OMIM or DECIPHER id")
    if not HP_ID.fullmatch(row["hpo_id"]):
        raise ValueError(f"{row['hpo_id'][:40]!r} is not an HPO id")
    if row["aspect"] not in _ASPECTS or row["qualifier"] not in {"", "NOT"}:
        raise ValueError(f"unknown aspect {row['aspect'][:40]!r} or qualifier {row['qualifier'][:40]!r}")
    frequency = parse_frequency(row["frequency"])
    if row["aspect"] != "P" or row["qualifier"] == "NOT" or frequency == associations.EXCLUDED:
        return None
    return Association(
        row["database_id"], row["disease_name"], row["hpo_id"], frequency,
        row["onset"] or None, row["sex"].lower() or None, f"{source} {row['reference']}".strip(),
    )  # fmt: skip
