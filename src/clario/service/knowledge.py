"""`CLARIO_KNOWLEDGE_PATH`: a folder of HPO releases to answer with, instead of those in the user's data folder."""

from pathlib import Path

from clario.errors import OntologyError
from clario.ontology.index import FORMAT, Index
from clario.ontology.release import DATE, INDEX, MANIFEST, Manifest


def load(folder: Path, release: str | None = None) -> Index:
    """The compiled index of a release that `clario ontology build --output` or `update` made.

    Args:
        folder: the folder of one release, or one with releases under their dates.
        release: the date of the wanted one; None is the latest.

    Raises:
        OntologyError: there is no such release, or it is damaged or made for another version of Clario.
    """
    found = {path.name: path for path in folder.glob("*") if DATE.fullmatch(path.name) and _is_release(path)}
    if _is_release(folder):
        found = {_manifest(folder).release: folder}
    wanted = release or max(found, default="")
    if wanted not in found:
        what = f"HPO {release}" if release else "a release of HPO"
        raise OntologyError(
            f"CLARIO_KNOWLEDGE_PATH: {folder} does not hold {what}; name a folder that 'clario ontology build' "
            "wrote with --output, or unset it to use the release that ships with Clario"
        )
    return _checked(found[wanted])


def _is_release(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        return Manifest.from_json(path.read_bytes(), str(path))
    except OSError as error:
        raise OntologyError(f"{path} cannot be read: {error.strerror}") from None


def _checked(folder: Path) -> Index:
    manifest, path = _manifest(folder), folder / INDEX
    size = path.stat().st_size if path.is_file() else 0
    if manifest.format != FORMAT or size != manifest.index_bytes:
        raise OntologyError(f"the release in {folder} is damaged or of another version of Clario; build it again")
    return Index(manifest.release, path)
