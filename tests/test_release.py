"""Releases: built, updated, chosen, compared; whatever fails, what was there before stays usable."""

import gzip
import hashlib
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DATA, NEW, OLD, Server

from clario.errors import ClarioError, DownloadError, InputError, OntologyError, OutputError
from clario.ontology import install, release
from clario.ontology.compare import Difference, diff
from clario.ontology.index import FORMAT, Index, NameKind
from clario.ontology.release import Manifest
from clario.ontology.sources import read_obo

OLD_OBO, NEW_OBO = DATA / f"hp-small-{OLD}.obo", DATA / f"hp-small-{NEW}.obo"
ROOT = Path(__file__).parents[1]
SHIPPED_FOLDER = release.SHIPPED_FOLDER


def _files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, hidden ones included."""
    paths = [Path(top, name) for top, _, names in os.walk(folder) for name in names]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _members(folder: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(folder / "index.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped release, compiled anew from its sources."""
    folder = tmp_path_factory.mktemp("rebuilt") / "data"
    lay = ROOT / "data" / "lexicon" / "lay_phrases.jsonl"
    install.build(ROOT / "data" / "hpo" / "hp-2026-02-16.obo.gz", folder, lay)
    return folder


class TestShipped:
    """The release inside the package."""

    def test_is_whole_and_in_use(self) -> None:
        manifest = release.verify()
        assert manifest == release.active() == release.verify("2026-02-16")
        assert release.installed() == [manifest]
        assert manifest.format == FORMAT
        assert manifest.licence == "https://hpo.jax.org/app/license"
        assert release.load().label("HP:0000217") == "Xerostomia"

    def test_is_what_its_sources_compile_to(self, rebuilt: Path) -> None:
        """Member by member, as other versions of zlib pack the same content into other bytes."""
        ours, shipped = _members(rebuilt), _members(SHIPPED_FOLDER)
        assert list(ours) == list(shipped)
        assert [name for name in ours if ours[name] != shipped[name]] == []
        ignored = {"index_sha256": "", "index_bytes": 0, "clario_version": ""}
        manifests = [Manifest.from_json((f / "manifest.json").read_bytes()) for f in (rebuilt, SHIPPED_FOLDER)]
        assert replace(manifests[0], **ignored) == replace(manifests[1], **ignored)

    def test_is_loaded_without_reading_the_index(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError

        monkeypatch.setattr(zipfile, "ZipFile", refuse)
        monkeypatch.setattr(hashlib, "file_digest", refuse)
        assert release.load().release == "2026-02-16"

    def test_damage_is_found(self, shipped: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        content = bytearray((release.SHIPPED_FOLDER / "index.zip").read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "index.zip").write_bytes(content)
        (tmp_path / "manifest.json").write_text(shipped.to_json(), "utf-8")
        monkeypatch.setattr(release, "SHIPPED_FOLDER", tmp_path)
        release.load()
        with pytest.raises(OntologyError, match="damaged"):
            release.verify()
        (tmp_path / "index.zip").write_bytes(content[:-1])
        with pytest.raises(OntologyError, match=r"bytes where .* were written; rebuild it"):
            release.load()
        (tmp_path / "index.zip").unlink()
        with pytest.raises(OntologyError, match="cannot be read"):
            release.load()
        (tmp_path / "manifest.json").unlink()
        with pytest.raises(OntologyError, match="reinstall clario"):
            release.load()


class TestManifest:
    def test_comes_back_as_it_was(self, shipped: Manifest) -> None:
        assert Manifest.from_json(shipped.to_json()) == shipped

    @pytest.mark.parametrize(
        "change",
        [
            {"release": "latest"}, {"release": "2025-01-01/../x"}, {"index_bytes": "1"}, {"index_bytes": True},
            {"index_bytes": 0}, {"source": ""}, {"counts": {}}, {"counts": {"terms": "1"}},
            {"index_sha256": "0" * 63}, {"source_sha256": None}, {"built_at": "2025-01-01"},
        ],
    )  # fmt: skip
    def test_is_read_strictly(self, shipped: Manifest, change: dict[str, object]) -> None:
        with pytest.raises(OntologyError, match=f"m.json.*({next(iter(change))}|must have the fields)"):
            Manifest.from_json(json.dumps(json.loads(shipped.to_json()) | change), "m.json")

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", b"\xff"])
    def test_rubbish_is_named(self, text: str | bytes) -> None:
        with pytest.raises(OntologyError, match=r"m\.json"):
            Manifest.from_json(text, "m.json")


class TestBuild:
    def test_twice_gives_equal_bytes(self, shipped: Manifest, small_lay: Path, tmp_path: Path) -> None:
        install.build(OLD_OBO, tmp_path / "copy", small_lay)
        assert _files(tmp_path / "copy") == _files(release.SHIPPED_FOLDER)

    def test_carries_the_lay_phrases_over_to_live_terms(self, new: Index, shipped: Manifest) -> None:
        manifest = next(m for m in release.installed() if m.release == NEW)
        assert sorted(new.lay) == [
            ("creaky joints", "HP:0002829", NameKind.LAY), ("mouth like sandpaper", "HP:0000217", NameKind.LAY),
        ]  # fmt: skip
        assert (manifest.counts["lay_phrases"], manifest.counts["lay_left_out"]) == (2, 1)
        assert manifest.lay_lexicon_sha256 == shipped.lay_lexicon_sha256

    def test_names_the_file_that_has_no_phenotypes(self, shipped: Manifest, tmp_path: Path) -> None:
        path = tmp_path / "go.obo"
        path.write_text("data-version: 2025-01-01\n\n[Term]\nid: GO:0000001\nname: x\n")
        with pytest.raises(OntologyError, match=r"go\.obo: no term HP:0000118"):
            install.build(path)

    @pytest.mark.parametrize(
        "line",
        ["", "{", '{"hpo_id": "HP:0000217"}', '{"hpo_id": "217", "phrases": []}', "[]",
         '{"hpo_id": "HP:0000217", "phrases": "dry"}', '{"hpo_id": "HP:0000217", "phrases": [1]}', '{"hpo_id'],
    )  # fmt: skip
    def test_names_the_line_of_a_broken_lexicon(self, small_lay: Path, tmp_path: Path, line: str) -> None:
        lay = tmp_path / "lay.jsonl"
        lay.write_text(small_lay.read_text() + line + "\n")
        with pytest.raises(InputError, match=r"lay\.jsonl, line 4: not an entry"):
            install.build(OLD_OBO, tmp_path / "out", lay)
        assert not (tmp_path / "out").exists()

    def test_does_not_touch_a_folder_with_other_files(self, shipped: Manifest, tmp_path: Path) -> None:
        (tmp_path / "diary.txt").write_text("mine")
        with pytest.raises(OutputError, match="holds other files"):
            install.build(OLD_OBO, tmp_path)
        assert _files(tmp_path) == {"diary.txt": b"mine"}


class TestUse:
    def test_chooses_and_goes_back(self, new: Index, home: Path) -> None:
        assert release.active().release == OLD
        release.use(NEW)
        assert release.active().release == release.load().release == NEW
        release.use(OLD)
        assert release.load().release == OLD
        release.use(NEW)
        release.use("shipped")
        assert release.load().release == OLD
        assert not (home / "data" / "ontology" / "active").exists()

    def test_the_users_own_build_goes_before_the_shipped_one_of_that_name(
        self, shipped: Manifest, small_lay: Path, tmp_path: Path
    ) -> None:
        lay = tmp_path / "lay.jsonl"
        lay.write_text(small_lay.read_text().replace("creaky", "rusty"))
        own = install.build(OLD_OBO, lay=lay)
        assert release.active() == shipped
        assert [name.text for name in release.load(OLD).lay if "joints" in name.text] == ["rusty joints"]
        assert release.use(OLD) == release.active() == own != shipped
        assert release.use("shipped") == release.active() == shipped

    def test_a_release_that_is_not_there_changes_nothing(self, new: Index) -> None:
        release.use(NEW)
        with pytest.raises(OntologyError, match="clario ontology update --release 2020-01-01"):
            release.use("2020-01-01")
        assert release.active().release == NEW

    @pytest.mark.parametrize("name", ["../../etc", "latest", "", "2025-01-01/.."])
    def test_a_name_is_a_date_and_never_a_path(self, shipped: Manifest, name: str) -> None:
        if name:
            with pytest.raises(OntologyError, match="expected a date"):
                release.load(name)
        with pytest.raises(OntologyError, match="expected a date"):
            install.update(name or "x")

    def test_a_chosen_release_that_is_gone_is_an_error(self, new: Index, home: Path) -> None:
        """Silently using another release would give other ids."""
        release.use(NEW)
        (home / "data" / "ontology" / NEW / "manifest.json").unlink()
        with pytest.raises(OntologyError, match="clario ontology use shipped"):
            release.load()
        release.use("shipped")
        assert release.load().release == OLD

    def test_a_release_of_another_format_asks_to_be_rebuilt(self, new: Index, home: Path) -> None:
        path = home / "data" / "ontology" / NEW / "manifest.json"
        stale = replace(Manifest.from_json(path.read_text("utf-8")), format="0.9")
        path.write_text(stale.to_json(), "utf-8")
        with pytest.raises(OntologyError, match=r"in the format 0\.9.*rebuild it with"):
            release.load(NEW)
        with pytest.raises(OntologyError, match="rebuild it with"):
            release.use(NEW)
        assert release.active().release == OLD
        assert stale in release.installed()

    def test_a_folder_under_another_name_is_refused(self, new: Index, home: Path) -> None:
        (home / "data" / "ontology" / NEW).rename(home / "data" / "ontology" / "2026-01-02")
        with pytest.raises(OntologyError, match="is of HPO 2026-01-01, not of 2026-01-02"):
            release.load("2026-01-02")


@pytest.fixture
def before(new: Index, home: Path) -> dict[str, bytes]:
    """The files of a home where the newer release is installed and in use."""
    release.use(NEW)
    return _files(home)


class TestUpdate:
    def test_installs_the_official_release_beside_the_others(
        self, shipped: Manifest, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = NEW_OBO.read_bytes()
        server.serve(f"/v{NEW}/hp.obo", content)
        monkeypatch.setattr(install, "RELEASE_URL", server.url + "/v{release}/hp.obo")
        told = list[int]()
        manifest = install.update(NEW, progress=lambda count, _: told.append(count))
        assert told[-1] == len(content)
        assert manifest.source == f"{server.url}/v{NEW}/hp.obo"
        assert manifest.source_sha256 == hashlib.sha256(content).hexdigest()
        assert release.verify(NEW) == manifest
        assert release.installed() == [shipped, manifest]
        assert release.active() == shipped

    def test_gets_the_latest_and_replaces_one_of_the_same_name(
        self, before: dict[str, bytes], server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        changed = NEW_OBO.read_bytes().replace(b"name: Dry lips", b"name: Parched lips")
        monkeypatch.setattr(install, "LATEST_URL", server.serve("/hp.obo", gzip.compress(changed)))
        install.update()
        assert release.load().label("HP:0200001") == "Parched lips"
        assert _files(home).keys() == before.keys()

    @pytest.mark.parametrize(
        ("case", "error", "message"),
        [
            ("truncated", DownloadError, "was cut after"),
            ("stalled", DownloadError, "stalled"),
            ("corrupt", DownloadError, "SHA-256"),
            ("missing", DownloadError, "404"),
            ("large", DownloadError, "not at most"),
            ("another", OntologyError, "holds HPO 2025-01-01, not 2026-01-01"),
            ("page", OntologyError, "/hp.obo, line 1: not a line"),
            ("half", OntologyError, "/hp.obo, line 1.: cannot be read on"),
            ("rootless", OntologyError, "/hp.obo: no term HP:0000118"),
        ],
    )
    def test_that_fails_leaves_everything_as_it_was(
        self, before: dict[str, bytes], home: Path, server: Server, monkeypatch: pytest.MonkeyPatch,
        case: str, error: type[ClarioError], message: str,
    ) -> None:  # fmt: skip
        content, packed = NEW_OBO.read_bytes(), gzip.compress(NEW_OBO.read_bytes())
        body = {
            "another": OLD_OBO.read_bytes(), "page": b"<!DOCTYPE html>\n<html>", "half": packed[:200],
            "rootless": content.replace(b"HP:0000118", b"HP:0000119"),
        }.get(case, content)  # fmt: skip
        length = len(body) + 1 if case in {"truncated", "stalled"} else None
        url = server.serve("/hp.obo", body, length, stall=case == "stalled")
        monkeypatch.setattr(install, "TIMEOUT", 0.2)
        monkeypatch.setattr(install, "MAX_DOWNLOAD", 100 if case == "large" else 10**6)
        with pytest.raises(error, match=message):
            install.update(
                NEW, url + ("x" if case == "missing" else ""), sha256="0" * 64 if case == "corrupt" else None
            )
        assert _files(home) == before
        assert release.load().label("HP:0200001") == "Dry lips"

    def test_interrupted_before_the_manifest_leaves_everything_as_it_was(
        self, before: dict[str, bytes], home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_: Manifest) -> str:
            (part,) = (home / "data" / "ontology").glob(f".{NEW}.*")
            assert "index.zip" in os.listdir(part)
            assert "manifest.json" not in os.listdir(part)
            raise KeyboardInterrupt

        monkeypatch.setattr(Manifest, "to_json", interrupt)
        with pytest.raises(KeyboardInterrupt):
            install.update(url=server.serve("/hp.obo", NEW_OBO.read_bytes()))
        assert _files(home) == before

    def test_that_cannot_be_moved_in_puts_the_old_one_back(
        self, before: dict[str, bytes], home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename = Path.rename

        def fail(self: Path, target: Path) -> Path:
            if target.name == NEW and (self / "manifest.json").stat().st_mtime_ns > moment:
                raise PermissionError(13, "Permission denied")
            return rename(self, target)

        moment = (home / "data" / "ontology" / NEW / "manifest.json").stat().st_mtime_ns
        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(OutputError, match="Permission denied"):
            install.update(url=server.serve("/hp.obo", NEW_OBO.read_bytes()))
        assert _files(home) == before

    def test_killed_before_the_manifest_does_not_count(self, shipped: Manifest, home: Path) -> None:
        install.build(NEW_OBO)
        (home / "data" / "ontology" / NEW / "manifest.json").unlink()
        assert release.installed() == [shipped]
        with pytest.raises(OntologyError, match="is not installed"):
            release.load(NEW)


EXPECTED = Difference(
    OLD,
    NEW,
    added=(("HP:0200001", "Dry lips"),),
    renamed=(("HP:0001945", "Fever", "Fièvre"),),
    merged=(("HP:0100001", "Aching joints", "HP:0002829"), ("HP:0100002", "Lassitude", "HP:0012378")),
    obsoleted=(("HP:0100003", "Vague feeling"), ("HP:0100004", "Withdrawn by mistake")),
)


def test_diff_tells_what_changed(old: Index, new: Index) -> None:
    assert diff(old, new) == EXPECTED
    assert diff(read_obo(OLD_OBO), new) == diff(old, read_obo(NEW_OBO)) == EXPECTED
    assert diff(new, new) == Difference(NEW, NEW, (), (), (), ())
