"""Profiles: what a lay person could tell of, chosen so that a corpus grows where it is thin."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from clario.cli.corpus import app
from clario.corpus import noticing
from clario.corpus.associations import Association
from clario.corpus.hpoa import read_hpoa
from clario.corpus.noticing import Noticing
from clario.corpus.profiles import Profile, profiles, read_usage
from clario.errors import InputError, UnknownTermError
from clario.ontology import release
from clario.ontology.compile import compile_index
from clario.ontology.index import Index
from clario.ontology.obo import parse

HPOA = Path(__file__).parent / "data" / "sources" / "phenotype-excerpt.hpoa"
ORPHANET = HPOA.with_name("en_product4-sample.xml")

# id, label, parent, layperson synonym. Ids of branches are HPO's; the rest is made up.
TERMS = [
    ("HP:0000001", "All", "", ""),
    ("HP:0000005", "Mode of inheritance", "HP:0000001", "How it runs in the family"),
    ("HP:0000118", "Phenotypic abnormality", "HP:0000001", ""),
    ("HP:0025142", "Constitutional symptom", "HP:0000118", ""),
    ("HP:9000001", "Cephalalgia", "HP:0025142", "Headache"),
    ("HP:9000002", "Thunderclap headache", "HP:9000001", ""),
    ("HP:0001939", "Abnormality of metabolism/homeostasis", "HP:0000118", ""),
    ("HP:9000003", "Hypocalcemia", "HP:0001939", "Low calcium"),
    ("HP:9000004", "Hyperalaninemia", "HP:0001939", ""),
    ("HP:0001892", "Abnormal bleeding", "HP:0001939", ""),
    ("HP:9000005", "Epistaxis", "HP:0001892", "Nosebleed"),
    ("HP:0005930", "Abnormal epiphysis morphology", "HP:0000118", ""),
    ("HP:9000006", "Ivory epiphysis", "HP:0005930", "Increased bone density of the end part of a bone"),
    ("HP:9000007", "Cone-shaped epiphysis", "HP:0005930", ""),
    ("HP:9000008", "Liver", "HP:0000118", ""),
    ("HP:9000009", "Big liver", "HP:9000008", "Large liver"),
    ("HP:9000010", "Micronodular cirrhosis", "HP:9000009", ""),
    ("HP:9000011", "Abnormality of the wrist", "HP:0000118", "Wrist problem"),
    ("HP:9000012", "Abnormality of the elbow", "HP:0000118", "Elbow problem"),
    *((f"HP:91000{n:02}", f"Ache {n}", "HP:0025142", "") for n in range(20)),
]
RETIRED = "\n".join([
    "[Term]", "id: HP:9999998", "is_obsolete: true", "replaced_by: HP:9100000", "",
    "[Term]", "id: HP:9999999", "is_obsolete: true", "",
])  # fmt: skip
LEXICON = [("HP:9000007", "cone bones"), ("HP:9000009", "liver out to here"), ("HP:9000011", "dodgy wrist")]


def stanza(hpo_id: str, label: str, parent: str, lay: str) -> str:
    lines = ["[Term]", f"id: {hpo_id}", f"name: {label}"]
    lines += [f'synonym: "{lay}" EXACT layperson []'] if lay else []
    lines += [f"is_a: {parent}"] if parent else []
    return "\n".join(lines) + "\n\n"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    text = "format-version: 1.2\ndata-version: hp/releases/2026-01-01/hp.obo\n\n" + "".join(
        stanza(*t) for t in TERMS
    )
    path = tmp_path_factory.mktemp("index") / "index.zip"
    target = io.BytesIO()
    compile_index(parse(io.StringIO(text + RETIRED), "small.obo"), LEXICON, target)
    path.write_bytes(target.getvalue())
    return Index("2026-01-01", path)


@pytest.fixture(scope="module")
def current() -> Index:
    """The release in use, loaded once."""
    return release.load()


@pytest.fixture
def loaded(current: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets commands have it without reading it again."""
    monkeypatch.setattr(release, "load", lambda name: current)


@pytest.mark.parametrize(
    ("hpo_id", "score"),
    [
        ("HP:9000009", 1.0),  # in the lay lexicon
        ("HP:9000007", 1.0),  # in the lay lexicon, though only an X-ray shows it
        ("HP:9000001", 0.8),  # layperson synonym
        ("HP:9000005", 0.8),  # bleeding is seen, though its branch is measured
        ("HP:9000002", 0.5),  # under Constitutional symptom
        ("HP:9000003", 0.4),  # measured, and patients are told
        ("HP:9000004", 0.0),  # measured, and they are not
        ("HP:9000006", 0.0),  # imaged; the synonym is a paraphrase
        ("HP:9000010", 0.3),  # child of a term of the lexicon
        ("HP:9000011", 0.3),  # groups others, in the lexicon
        ("HP:9000012", 0.0),  # groups others
        ("HP:9000008", 0.0),
        ("HP:0000118", 0.0),
        ("HP:0000005", 0.0),  # no phenotype
    ],
)
def test_what_a_lay_person_notices(index: Index, hpo_id: str, score: float) -> None:
    assert Noticing(index).score(hpo_id) == score


def test_an_unknown_id_has_no_score(index: Index) -> None:
    with pytest.raises(UnknownTermError):
        Noticing(index).score("HP:1234567")


def test_the_branches_of_the_rule_are_terms_of_hpo_with_these_labels(current: Index) -> None:
    listed = re.findall(r'"(HP:\d{7})",  # (.+)', Path(noticing.__file__).read_text("utf-8"))
    assert len(listed) > 50
    assert [(hpo_id, current.label(hpo_id)) for hpo_id, _ in listed] == listed


def disease(name: str, hpo_ids: Iterable[str], frequency: float | None = 0.5) -> list[Association]:
    return [Association(name, f"{name} disease", hpo_id, frequency, None, None, "test") for hpo_id in hpo_ids]


def aches(*numbers: int) -> list[str]:
    return [f"HP:91000{n:02}" for n in numbers]


def ids(profile: Profile) -> list[str]:
    return [phenotype.hpo_id for phenotype in profile.phenotypes]


def test_a_profile_carries_label_frequency_and_score(index: Index) -> None:
    stated = disease("ORPHA:1", ["HP:9000009"], 0.2) + disease("ORPHA:1", ["HP:9000009"], 0.4)
    stated += disease("ORPHA:1", ["HP:9000009"], None) + disease("ORPHA:1", ["HP:9000001"], None)
    (profile,) = profiles(stated, index, fewest=2, most=2).profiles
    assert (profile.disease, profile.name) == ("ORPHA:1", "ORPHA:1 disease")
    found = {p.label: (p.frequency, p.noticeable) for p in profile.phenotypes}
    assert found == {"Big liver": (pytest.approx(0.3), 1.0), "Cephalalgia": (None, 0.8)}


def test_ids_are_brought_to_the_release_and_unknown_ones_counted(index: Index) -> None:
    stated = disease("ORPHA:1", ["HP:9999998", "HP:9999999", "HP:9999999", "HP:1234567", *aches(1)])
    made = profiles(stated, index, fewest=2)
    assert [sorted(ids(p)) for p in made.profiles] == [aches(0, 1)]
    assert made.unknown == {"HP:9999999": 2, "HP:1234567": 1}


def test_what_is_not_noticeable_is_not_written_about(index: Index) -> None:
    stated = disease(
        "ORPHA:1", ["HP:9000004", "HP:9000006", "HP:9000008", "HP:9000012", "HP:0000005", *aches(1, 2)]
    )
    assert sorted(ids(profiles(stated, index, fewest=1).profiles[0])) == aches(1, 2)


def test_diseases_with_too_few_are_counted(index: Index) -> None:
    made = profiles(disease("ORPHA:1", aches(1, 2, 3)) + disease("ORPHA:2", ["HP:9000004"]), index, fewest=4)
    assert (made.profiles, made.too_few) == ((), 2)


def test_no_term_stands_above_another(index: Index) -> None:
    stated = disease("ORPHA:1", ["HP:9000001", "HP:9000002", "HP:0025142", *aches(1)])
    for seed in range(20):
        (profile,) = profiles(stated, index, fewest=1, most=4, seed=seed).profiles
        chosen = set(ids(profile))
        assert not any(index.ancestors(hpo_id) & chosen for hpo_id in chosen)


def test_the_rarest_in_the_corpus_come_first(index: Index) -> None:
    used = {hpo_id: n for n, hpo_id in enumerate(aches(7, 3, 5, 1))}
    (profile,) = profiles(disease("ORPHA:1", aches(1, 3, 5, 7)), index, used=used, fewest=4, most=4).profiles
    assert ids(profile) == aches(7, 3, 5, 1)


def often(index: Index, stated: list[Association], used: dict[str, int] | None = None) -> Counter[str]:
    drawn = (profiles(stated, index, used=used, fewest=1, most=1, seed=seed).profiles[0] for seed in range(200))
    return Counter(hpo_id for profile in drawn for hpo_id in ids(profile))


def test_the_chance_of_a_phenotype_goes_by_frequency(index: Index) -> None:
    drawn = often(index, disease("ORPHA:1", aches(1), 0.9) + disease("ORPHA:1", aches(2), 0.1))
    assert drawn[aches(1)[0]] == pytest.approx(
        180, abs=17
    )  # four standard deviations: sqrt(200 * 0.9 * 0.1) = 4.2


def test_the_chance_of_a_phenotype_goes_by_rarity_in_the_corpus(index: Index) -> None:
    drawn = often(index, disease("ORPHA:1", aches(1, 2)), {aches(1)[0]: 9})
    assert drawn[aches(2)[0]] == pytest.approx(200 * 10 / 11, abs=17)


def test_the_disease_that_adds_most_comes_first(index: Index) -> None:
    stated = [*disease("ORPHA:1", aches(0, 1, 2), 0.4), *disease("ORPHA:2", aches(3, 4, 5), 0.5)]
    stated += disease("ORPHA:3", aches(3, 4, 5), 0.5)
    made = profiles(stated, index, fewest=3, most=3).profiles
    # ORPHA:2 uses up what ORPHA:3 would add.
    assert [p.disease for p in made] == ["ORPHA:2", "ORPHA:1", "ORPHA:3"]
    used = dict.fromkeys(aches(3, 4, 5), 20)
    assert next(p.disease for p in profiles(stated, index, used=used, fewest=3).profiles) == "ORPHA:1"


def test_diseases_can_be_left_out_and_limited(index: Index) -> None:
    stated = [a for n in range(1, 6) for a in disease(f"ORPHA:{n}", aches(n, n + 5, n + 10))]
    made = profiles(stated, index, fewest=3, exclude={"ORPHA:1", "ORPHA:4"}, limit=2)
    assert len(made.profiles) == 2
    assert not {"ORPHA:1", "ORPHA:4"} & {p.disease for p in made.profiles}


def test_the_callers_counts_stay_as_they_are(index: Index) -> None:
    used = Counter({aches(1)[0]: 2})
    profiles(disease("ORPHA:1", aches(1, 2)), index, used=used, fewest=1)
    assert used == {aches(1)[0]: 2}


@pytest.mark.parametrize(("fewest", "most"), [(0, 3), (4, 3)])
def test_impossible_bounds_are_refused(index: Index, fewest: int, most: int) -> None:
    with pytest.raises(ValueError, match="fewest"):
        profiles([], index, fewest=fewest, most=most)


DISEASES = st.dictionaries(st.integers(1, 9), st.sets(st.integers(0, 19), min_size=1), max_size=6)


@settings(max_examples=40, deadline=None)
@given(DISEASES, st.integers(0, 5), st.integers(1, 6), st.integers(0, 6), st.randoms())
def test_profiles_are_a_function_of_what_is_stated(
    index: Index, stated: dict[int, set[int]], seed: int, fewest: int, more: int, order: Random
) -> None:
    rows = [a for n, numbers in sorted(stated.items()) for a in disease(f"ORPHA:{n}", aches(*sorted(numbers)))]
    made = profiles(rows, index, fewest=fewest, most=fewest + more, seed=seed)
    order.shuffle(rows)
    assert profiles(rows, index, fewest=fewest, most=fewest + more, seed=seed) == made
    assert len(made.profiles) + made.too_few == len(stated)
    for profile in made.profiles:
        assert fewest <= len(profile.phenotypes) <= fewest + more
        assert set(ids(profile)) <= set(aches(*stated[int(profile.disease.partition(":")[2])]))
        assert len(set(ids(profile))) == len(profile.phenotypes)


def test_a_real_excerpt_with_the_shipped_release(current: Index) -> None:
    made = profiles(read_hpoa(HPOA), current, fewest=6, most=12)
    assert {p.disease for p in made.profiles} == {"ORPHA:816", "ORPHA:1401"}
    assert made.unknown == {"HP:0025237": 1}
    for profile in made.profiles:
        assert 6 <= len(profile.phenotypes) <= 12
        assert all(current.label(p.hpo_id) == p.label and p.frequency and p.noticeable for p in profile.phenotypes)


def diary(disease: str | None, *hpo_ids: str | None) -> str:
    entities = [{"type": "symptom", "hpo_id": hpo_id} for hpo_id in hpo_ids]
    return json.dumps({"id": "1", "text": "", "disease": disease, "entities": entities}) + "\n"


def test_the_usage_of_a_corpus(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "diaries.jsonl"
    one = diary("ORPHA:1", "HP:9000001", "HP:9000001", None, "HP:9999998", "HP:1234567")
    path.write_text(one + "\n" + diary(None, "HP:9000001"), "utf-8")
    usage = read_usage(path, index)
    assert usage.diseases == {"ORPHA:1"}
    assert usage.mentions == {"HP:9000001": 3, "HP:9100000": 1}


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"disease": null}', '{"disease": [], "entities": []}', "[" * 100_000]
)
def test_a_broken_line_of_a_corpus_is_named(index: Index, tmp_path: Path, line: str) -> None:
    (tmp_path / "diaries.jsonl").write_text(diary(None) + line, "utf-8")
    with pytest.raises(InputError, match=r"diaries\.jsonl, line 2: expected a diary"):
        read_usage(tmp_path / "diaries.jsonl", index)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_corpus_that_cannot_be_read_is_named(index: Index, tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "diaries.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"diaries\.jsonl cannot be read"):
        read_usage(tmp_path / "diaries.jsonl", index)


@pytest.mark.usefixtures("loaded")
def test_the_command_writes_profiles_that_name_the_release(tmp_path: Path, current: Index) -> None:
    output = tmp_path / "profiles.jsonl"
    result = CliRunner().invoke(app, ["profiles", str(HPOA), "--output", str(output)])
    assert result.exit_code == 0
    made = profiles(read_hpoa(HPOA), current).profiles
    records = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [r["disease"] for r in records] == [p.disease for p in made]
    assert [[q["hpo_id"] for q in r["phenotypes"]] for r in records] == [ids(p) for p in made]
    assert {r["hpo_release"] for r in records} == {release.active().release}
    assert "2 profiles with" in result.stderr
    assert "warning: 1 associations left out" in result.stderr


@pytest.mark.usefixtures("loaded")
def test_the_command_leaves_out_used_diseases_and_other_databases(tmp_path: Path) -> None:
    corpus = tmp_path / "diaries.jsonl"
    corpus.write_text(diary("ORPHA:816"), "utf-8")
    common = ["profiles", str(HPOA), str(ORPHANET), "--corpus", str(corpus), "--min-phenotypes", "3"]

    def made(*options: str) -> set[str]:
        result = CliRunner().invoke(app, [*common, *options])
        assert result.exit_code == 0
        return {json.loads(line)["disease"] for line in result.stdout.splitlines()}

    orpha = {"ORPHA:816", "ORPHA:1401", "ORPHA:58", "ORPHA:117"}
    assert made("--database", "ORPHA") == orpha
    assert made("--database", "ORPHA", "--exclude-used") == orpha - {"ORPHA:816"}
    assert len(made("--limit", "2")) == 2


@pytest.mark.usefixtures("loaded")
def test_the_command_shows_a_table() -> None:
    options = ["--format", "table", "--min-phenotypes", "3"]
    result = CliRunner().invoke(app, ["profiles", str(ORPHANET), *options], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert {"disease", "ORPHA:58", "ORPHA:117", "ORPHA:816"} <= set(result.stdout.split())
    assert "Behçet disease" in result.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--exclude-used"],
        ["--min-phenotypes", "7", "--max-phenotypes", "6"],
        ["--format", "table", "--output", "profiles.txt"],
        ["--limit", "0"],
    ],
)
def test_bad_use_of_the_command(options: list[str]) -> None:
    result = CliRunner().invoke(app, ["profiles", str(HPOA), *options])
    assert result.exit_code == 2
