"""What the readers of Orphanet and of the HPO annotations share: an association, and how often it is seen."""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from clario.errors import OntologyError

DISEASE_ID = re.compile(r"(ORPHA|OMIM|DECIPHER):\d+", re.ASCII)

# The middle of each class's interval. Source of the intervals: Orphadata, "Rare diseases with associated
# phenotypes", and the terms under Frequency (HP:0040279) of HPO: 99-80 %, 79-30 %, 29-5 %, 4-1 %.
OBLIGATE: Final = 1.0
VERY_FREQUENT: Final = 0.895
FREQUENT: Final = 0.545
OCCASIONAL: Final = 0.17
VERY_RARE: Final = 0.025
EXCLUDED: Final = 0.0

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Association:
    """One phenotype of one disease, as a source states it; the term's id may be of an older release.

    `frequency` is the share of patients who have it, 0 to 1, or None where the source does not tell; `onset`
    an HPO term id or None; `sex` is "female", "male" or None; `source` the file and the reference in it.
    """

    disease: str
    disease_name: str
    hpo_id: str
    frequency: float | None
    onset: str | None
    sex: str | None
    source: str


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, plain or gzipped (told by its first bytes, not by its name).

    Raises:
        OntologyError: the file cannot be read, or its gzip stream is broken or cut off.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            with cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw as stream:
                yield stream
    except OSError as error:
        raise OntologyError(f"{path.name} cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise OntologyError(f"{path.name} is cut off or damaged ({error}); get it again") from None
