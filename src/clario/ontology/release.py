"""Releases of HPO: the one that ships with Clario, and those that the user builds or downloads.

A release is a folder with `index.zip`, perhaps `terms.npz` (the vectors of its terms, see `dense.py`; those of
the shipped release lie with the model), and `manifest.json`. The manifest is written last: without it, a
folder does not count as a release. Nothing here is downloaded unless the user asks for an update.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from clario.errors import OntologyError, OutputError
from clario.ontology.index import FORMAT, Index
from clario.paths import data_dir, sha256_of, write_atomically

SHIPPED = "shipped"  # names the release inside the package, whatever its date
SHIPPED_FOLDER = Path(__file__).parent / "data"
INDEX, MANIFEST, _CHOICE = "index.zip", "manifest.json", "active"
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a release is and what it was made from. It holds no time: equal sources, equal bytes.

    `format` is the index format that it was compiled in, `source` a file name or URL.
    """

    release: str
    format: str
    source: str
    source_sha256: str
    index_sha256: str
    index_bytes: int
    counts: Mapping[str, int]
    lay_lexicon_sha256: str
    licence: str
    attribution: str
    clario_version: str

    @classmethod
    def from_json(cls, text: str | bytes, where: str = MANIFEST) -> Self:
        """Read a manifest, strictly; raises OntologyError where a field is missing, unknown or wrong."""
        try:
            record = json.loads(text)
        except ValueError as error:
            raise OntologyError(f"{where} is not JSON ({error}); build or update the release again") from None
        names = [field.name for field in fields(cls)]
        if not isinstance(record, dict) or set(record) != set(names):
            raise OntologyError(f"{where} must have the fields {', '.join(names)}; build the release again")
        wrong = [name for name in names if not _valid(name, record[name])]
        if wrong:
            raise OntologyError(f"{where}: {wrong[0]} is not valid; build or update the release again")
        return cls(**record)

    def to_json(self) -> str:
        """The manifest as it stands in a release folder."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"


def _valid(name: str, value: object) -> bool:
    if name == "counts":
        return isinstance(value, dict) and "terms" in value and all(type(n) is int for n in value.values())
    if name == "index_bytes":
        return type(value) is int and value > 0
    pattern = DATE if name == "release" else _SHA256 if name.endswith("sha256") else re.compile(r".+")
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def load(release: str | None = None) -> Index:
    """The compiled index of a release: the named one, else the chosen one (see `use`), else the shipped one.

    Reads only the manifest; the index is not hashed (see `verify`) and is read when it is first asked for.

    Raises:
        OntologyError: there is no such release, it is damaged, or another version of Clario compiled it.
    """
    folder, manifest = _find(release)
    _check_usable(folder, manifest)
    return Index(manifest.release, folder / INDEX)


def verify(release: str | None = None) -> Manifest:
    """Check a release as `load` does, and the checksum of its index too; raises OntologyError."""
    folder, manifest = _find(release)
    _check_usable(folder, manifest)
    if sha256_of(folder / INDEX) != manifest.index_sha256:
        raise OntologyError(f"the index of HPO {manifest.release} is damaged ({folder}); {_repair(manifest)}")
    return manifest


def active() -> Manifest:
    """The manifest of the release that is used where none is named."""
    return _find(None)[1]


def installed() -> list[Manifest]:
    """The manifests of the shipped release and of those the user installed, oldest release first."""
    folders = sorted(path for path in home().glob("*") if DATE.fullmatch(path.name))
    found = [_manifest(folder) for folder in (SHIPPED_FOLDER, *folders)]
    return sorted((m for m in found if m), key=lambda manifest: manifest.release)


def use(release: str) -> Manifest:
    """Choose the release that is used where none is named; `shipped` takes the choice back.

    Raises:
        OntologyError: as `load`; the choice stays as it was.
    """
    folder, manifest = _find(release)
    _check_usable(folder, manifest)
    choice = home() / _CHOICE
    if release == SHIPPED:
        try:
            choice.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {choice}: {error.strerror or error}") from None
    else:
        with write_atomically(choice) as file:
            file.write(f"{release}\n".encode())
    return manifest


def home() -> Path:
    """The folder of the releases that the user installed, each under its date."""
    return data_dir() / "ontology"


def _find(release: str | None) -> tuple[Path, Manifest]:
    """The folder and manifest of a release; a folder of the user's goes before the shipped one."""
    chosen = release is None
    release = release or _choice() or SHIPPED
    if release == SHIPPED:
        folders = [SHIPPED_FOLDER]
    elif DATE.fullmatch(release):
        folders = [home() / release, SHIPPED_FOLDER]
    else:
        raise OntologyError(f"{release[:40]!r} is not a release of HPO; expected a date such as 2026-02-16")
    for folder in folders:
        manifest = _manifest(folder)
        if manifest and release in {manifest.release, SHIPPED}:
            return folder, manifest
    if release == SHIPPED:
        raise OntologyError("the release of HPO that ships with Clario is not there; reinstall clario")
    back = " or go back with 'clario ontology use shipped'" if chosen else ""
    raise OntologyError(
        f"HPO {release} is not installed; get it with 'clario ontology update --release {release}'{back}"
    )


def _choice() -> str | None:
    try:
        return (home() / _CHOICE).read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise OntologyError(f"cannot read which release of HPO was chosen: {error}") from None


def _manifest(folder: Path) -> Manifest | None:
    path = folder / MANIFEST
    try:
        manifest = Manifest.from_json(path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OntologyError(f"{path} cannot be read: {error.strerror}") from None
    if folder != SHIPPED_FOLDER and DATE.fullmatch(folder.name) and folder.name != manifest.release:
        raise OntologyError(f"{path} is of HPO {manifest.release}, not of {folder.name}; update it again")
    return manifest


def _check_usable(folder: Path, manifest: Manifest) -> None:
    if manifest.format != FORMAT:
        raise OntologyError(
            f"HPO {manifest.release} was compiled by Clario {manifest.clario_version} in the format "
            f"{manifest.format}, and this version reads {FORMAT}; {_repair(manifest)}"
        )
    path = folder / INDEX
    try:
        size = path.stat().st_size
    except OSError as error:
        raise OntologyError(f"{path} cannot be read ({error.strerror}); {_repair(manifest)}") from None
    if size != manifest.index_bytes:
        raise OntologyError(
            f"{path} has {size:,} bytes where {manifest.index_bytes:,} were written; {_repair(manifest)}"
        )


def _repair(manifest: Manifest) -> str:
    return f"rebuild it with 'clario ontology update --release {manifest.release}', or reinstall clario"
