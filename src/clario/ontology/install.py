"""Make releases of HPO: build one from a file, or download, compile and install an official one.

A release is made aside and put in place when it is whole, its manifest last.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from clario import __version__
from clario.errors import OntologyError, OutputError
from clario.ontology import dense
from clario.ontology.compile import compile_index
from clario.ontology.encoder import Encoder
from clario.ontology.index import FORMAT, Index
from clario.ontology.obo import Ontology
from clario.ontology.release import DATE, INDEX, MANIFEST, SHIPPED, Manifest, home, load, verify
from clario.ontology.sources import Lexicon, read_lexicon, read_obo
from clario.paths import Progress, aside, download, sha256_of, shown, sync_folder, write_atomically

LATEST_URL = "https://purl.obolibrary.org/obo/hp.obo"
RELEASE_URL = "https://github.com/obophenotype/human-phenotype-ontology/releases/download/v{release}/hp.obo"
LICENCE = "https://hpo.jax.org/app/license"
ATTRIBUTION = (
    "Human Phenotype Ontology, content unaltered: Köhler S. et al., Nucleic Acids Res. "
    "2021;49(D1):D1207-D1217. Lay lexicon written for Clario, CC-BY-4.0."
)
MAX_DOWNLOAD = 256 * 2**20  # bytes; hp.obo has about 10 MB
TIMEOUT = 30.0  # seconds


def build(
    obo_path: Path,
    folder: Path | None = None,
    lay: Path | None = None,
    model: Path | None = None,
    encoding: Progress | None = None,
) -> Manifest:
    """Compile an OBO file of HPO (.obo or .obo.gz) into a release folder.

    Args:
        folder: a new, empty or release folder; by default that of the release among the user's.
        lay: the lay lexicon, JSON Lines of {"hpo_id", "hpo_label", "phrases"}; by default that of the
            shipped release.
        model: the folder of the encoder to make vectors of the release's terms with, which the extractor `mini`
            and the dense stage of the resolver need; by default none are made.
        encoding: called as names are encoded: how many so far, and how many in all.

    Raises:
        OntologyError: the file is broken or is not HPO; the message names file and line.
        ModelError: there is no such model, or it cannot make vectors, see `clario.ontology.dense.rebuild`.
        InputError: the lay lexicon cannot be read.
        OutputError: the folder cannot be written.
    """
    ontology = read_obo(obo_path)
    vectors = _Vectors(model, encoding)
    return _install(ontology, obo_path.name, sha256_of(obo_path), _lexicon(lay), vectors, folder)


def update(
    release: str | None = None,
    url: str | None = None,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    model: Path | None = None,
    encoding: Progress | None = None,
) -> Manifest:
    """Download a release of HPO, compile it and install it beside the others; `use` then chooses it.

    Args:
        release: the date of an official release; by default the latest.
        url: another place of an OBO file.
        sha256, size, progress: as in `clario.paths.download`.
        model, encoding: as in `build`.

    Raises:
        DownloadError: see `clario.paths.download`.
        OntologyError: what came is not HPO, or not the release that was asked for.
        ModelError: as in `build`.
    """
    if release is not None and not DATE.fullmatch(release):
        raise OntologyError(f"{release!r} is not a release of HPO; expected a date such as 2026-02-16")
    url = url or (RELEASE_URL.format(release=release) if release else LATEST_URL)
    lexicon = _lexicon(None)
    part = aside(home() / "hp.obo")
    try:
        digest = download(
            url, part, sha256=sha256, size=size, max_bytes=MAX_DOWNLOAD, timeout=TIMEOUT, progress=progress
        )
        ontology = read_obo(part, shown(url))
    finally:
        with suppress(OSError):
            part.unlink()
    if release is not None and ontology.release != release:
        raise OntologyError(f"{shown(url)} holds HPO {ontology.release}, not {release}; not installed")
    return _install(ontology, shown(url), digest, lexicon, _Vectors(model, encoding))


class _Vectors(NamedTuple):
    """The model that makes the vectors of a release's terms, if any."""

    model: Path | None
    progress: Progress | None

    def write(self, folder: Path, release: str) -> None:
        """Put vectors beside the index in a folder, unless the model's own are of that very index."""
        if self.model is None:
            return
        index = Index(release, folder / INDEX)
        if dense.owners(self.model / dense.FILE)[0] != index.sha256:
            dense.rebuild(index, Encoder(self.model), self.progress).save(folder / dense.FILE)


def _install(
    ontology: Ontology,
    source: str,
    source_sha256: str,
    lexicon: Lexicon,
    vectors: _Vectors,
    folder: Path | None = None,
) -> Manifest:
    target = Path(os.path.realpath(folder or home() / ontology.release))
    with _writing(target):
        if target.exists() and any(path.name not in {INDEX, dense.FILE, MANIFEST} for path in target.iterdir()):
            raise OutputError(f"{target} holds other files; name a new or empty folder")
        with _replacing(target) as part:
            try:
                with write_atomically(part / INDEX) as file:
                    counts = compile_index(ontology, lexicon.phrases, file)
            except OntologyError as error:
                raise OntologyError(f"{source}: {error}") from None
            vectors.write(part, ontology.release)
            manifest = Manifest(
                ontology.release, FORMAT, source, source_sha256, sha256_of(part / INDEX),
                (part / INDEX).stat().st_size, counts, lexicon.sha256, LICENCE, ATTRIBUTION, __version__,
            )  # fmt: skip
            with write_atomically(part / MANIFEST) as file:
                file.write(manifest.to_json().encode())
    return manifest


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """An empty folder that becomes `target` when the block ends without an error; else all is as before."""
    part, old = aside(target), aside(target)
    try:
        part.mkdir(parents=True)
        yield part
        if target.exists():
            target.rename(old)
        part.rename(target)
        sync_folder(target.parent)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for folder in (part, old):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None


def _lexicon(path: Path | None) -> Lexicon:
    if path is not None:
        return read_lexicon(path)
    shipped, names = verify(SHIPPED), load(SHIPPED).lay
    return Lexicon(shipped.lay_lexicon_sha256, [(name.hpo_id, name.text) for name in names])
