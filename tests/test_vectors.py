"""Vectors of terms for any release: made from a model's own, kept beside the index, and only where they belong."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA, NEW, OLD
from test_ontology_cli import run

from clario.errors import ModelError
from clario.extraction.mini import MiniExtractor
from clario.ontology import dense, encoder, install, release
from clario.ontology.dense import Said
from clario.ontology.encoder import Encoder
from clario.ontology.index import Index
from clario.ontology.release import Manifest
from clario.ontology.resolver import Resolver

np = pytest.importorskip("numpy")
NEW_OBO = DATA / f"hp-small-{NEW}.obo"
SAID = [
    ("spit has gone", "HP:0000217"),
    ("knees and wrists ache", "HP:0100001"),  # merged into HP:0002829 in the newer release
    ("not quite right", "HP:0100003"),  # retired there without a successor
]


def _linked(folder: Path) -> Path:
    """A model's folder with the files of the one that ships, but no vectors."""
    folder.mkdir()
    for path in encoder.FOLDER.iterdir():
        if path.name != dense.FILE:
            os.symlink(path, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, small_shipped: Path) -> Path:
    """The encoder that ships, with vectors of the older small release."""
    folder = _linked(tmp_path_factory.mktemp("model") / "mini")
    reader, index = Encoder(folder), Index(OLD, small_shipped / release.INDEX)
    said = Said(reader.phrases([text for text, _ in SAID]), [hpo_id for _, hpo_id in SAID])
    dense.build(index, index.sha256, reader, said).save(folder / dense.FILE)
    return folder


@pytest.fixture
def built(shipped: Manifest, model: Path) -> Index:
    """The newer small release, installed with vectors."""
    return release.load(install.build(NEW_OBO, model=model).release)


def test_a_build_puts_vectors_beside_the_index(built: Index, model: Path) -> None:
    assert dense.owners(built.folder / dense.FILE) == (built.sha256, Encoder(model).sha256)
    assert Resolver(built, model).meaning.file == built.folder / dense.FILE
    install.build(NEW_OBO, model=model)  # again, over what stands there


def test_what_patients_said_goes_over_to_live_terms(built: Index, model: Path) -> None:
    own, made = dense.load(model / dense.FILE).said, dense.load(built.folder / dense.FILE).said
    assert own
    assert made
    assert sorted(own.ids) == ["HP:0000217", "HP:0100001", "HP:0100003"]
    assert made.ids == ["HP:0000217", "HP:0002829"]
    assert np.array_equal(made.vectors, own.vectors[[own.ids.index(i) for i in ("HP:0000217", "HP:0100001")]])


def test_only_what_is_new_is_encoded_and_nothing_else_differs(built: Index, old: Index, model: Path) -> None:
    told = list[tuple[int, int | None]]()
    reader, own = Encoder(model), dense.load(model / dense.FILE)
    dense.rebuild(built, reader, lambda count, total: told.append((count, total)))
    known = {name.text for table in (old.names, old.lay) for name in table}
    fresh = [name.text for table in (built.names, built.lay) for name in table if name.text not in known]
    assert fresh
    assert told == [(len(fresh), len(fresh))]
    assert own.said
    scratch = dense.build(built, built.sha256, reader, own.said)
    queries = reader.phrases(["dry lips", "spit has gone", "so tired"])
    found = dense.load(built.folder / dense.FILE)
    assert found.nearest(queries) == scratch.nearest(queries)


def test_mini_and_the_resolver_work_with_that_release(built: Index, model: Path) -> None:
    resolver = Resolver(built, model)
    answer = resolver.resolve("all of the spit has gone", dense=True)
    assert (answer.label, answer.method) == ("Xerostomia", "dense")
    mini = MiniExtractor(resolver, model)
    assert mini.meaning is resolver.meaning
    labels = {mention.name_canonical for mention in mini.extract(["Spit has gone, and my joints ache."])[0]}
    assert "Xerostomia" in labels


def test_without_vectors_mini_says_what_to_do(new: Index, model: Path) -> None:
    assert not Resolver(new, model).has_dense
    with pytest.raises(ModelError, match=r"build or update that release again.*--model lexicon"):
        MiniExtractor(Resolver(new, model), model)


def test_vectors_of_another_encoder_or_index_are_not_used(built: Index, model: Path) -> None:
    made = dense.load(built.folder / dense.FILE)
    for field in ("encoder_sha256", "index_sha256"):
        before = getattr(made, field)
        setattr(made, field, "0" * 64)
        made.save(built.folder / dense.FILE)
        assert not Resolver(built, model).has_dense
        setattr(made, field, before)
    made.save(built.folder / dense.FILE)
    assert Resolver(built, model).has_dense


def test_of_its_own_index_the_model_has_vectors_already(shipped: Manifest, model: Path, small_lay: Path) -> None:
    own = install.build(DATA / f"hp-small-{OLD}.obo", lay=small_lay, model=model)
    index = release.load(own.release)
    assert not (index.folder / dense.FILE).exists()
    assert Resolver(index, model).has_dense


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_that_does_not_keep_apart_what_was_said_installs_nothing(
    new: Index, model: Path, tmp_path: Path, home: Path
) -> None:
    unmarked = _linked(tmp_path / "mini")
    made = dense.load(model / dense.FILE)
    made._marks = None
    made.save(unmarked / dense.FILE)
    assert dense.can_rebuild(model)
    assert not dense.can_rebuild(unmarked)
    before = _files(home)
    with pytest.raises(ModelError, match="--no-vectors"):
        install.build(NEW_OBO, model=unmarked)
    assert _files(home) == before


def test_interrupted_while_names_are_encoded_leaves_everything_as_it_was(
    built: Index, model: Path, home: Path
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = _files(home)
    with pytest.raises(KeyboardInterrupt):
        install.build(NEW_OBO, model=model, encoding=interrupt)
    assert _files(home) == before


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"no zip", lambda b: b[: len(b) // 2]])
def test_a_broken_file_is_named(built: Index, model: Path, damage: Callable[[bytes], bytes]) -> None:
    path = built.folder / dense.FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=r"terms\.npz: no vectors of terms .* build the release again"):
        Resolver(built, model).resolve("my heart flutters", dense=True)
    with pytest.raises(ModelError, match=r"terms\.npz"):
        dense.load(path)


class TestCommand:
    """`clario ontology build`, with the model that ships put aside for the small one."""

    @pytest.fixture(autouse=True)
    def _small_model(self, shipped: Manifest, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encoder, "FOLDER", model)

    def test_makes_vectors_unless_told_otherwise(self, home: Path) -> None:
        vectors = home / "data" / "ontology" / NEW / dense.FILE
        run("build", NEW_OBO)
        assert vectors.exists()
        run("build", NEW_OBO, "--no-vectors")
        assert not vectors.exists()

    def test_makes_none_into_a_named_folder_unless_asked(self, tmp_path: Path) -> None:
        run("build", NEW_OBO, "--output", tmp_path / "out")
        assert sorted(os.listdir(tmp_path / "out")) == ["index.zip", "manifest.json"]
        run("build", NEW_OBO, "--output", tmp_path / "out", "--vectors")
        assert sorted(os.listdir(tmp_path / "out")) == ["index.zip", "manifest.json", "terms.npz"]

    def test_goes_without_them_and_says_so_where_the_model_cannot(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(encoder, "FOLDER", _linked(tmp_path / "mini"))
        assert "No vectors of terms are made" in run("build", NEW_OBO).stderr
        assert release.installed()[-1].release == NEW
        with pytest.raises(ModelError):
            run("build", NEW_OBO, "--vectors")
