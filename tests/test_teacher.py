"""Distillation: profile, prompt, diary; what is kept whatever ends a run; profiles and styles."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from chat_server import PROFILES, Json, Teacher, answer, distill, entity, failures, good, lines

from clario.corpus import prompting, teacher
from clario.corpus.ledger import Ledger
from clario.errors import InputError, OutputError
from clario.ontology.index import Index

pytestmark = pytest.mark.usefixtures("quick_teaching")


@pytest.mark.parametrize("api", ["ollama", "openai"])
def test_a_diary_of_each_profile(teaching: Teacher, tmp_path: Path, api: str, index: Index) -> None:
    output = tmp_path / "new" / "taught.jsonl"
    code, said = distill(teaching.url, output, "--price-in", "1", "--price-out", "10", number=3, api=api)
    assert code == 0, said
    found = lines(output)
    assert [d["disease"] for d in found] == ["ORPHA:378", "ORPHA:3452", "OMIM:154700"]
    assert set(found[0]) == {"id", "text", "disease", "entities", "provenance"}
    (dry, tired) = found[0]["entities"]
    assert dry == {
        "type": "symptom", "name_colloquial": "mouth like sandpaper", "start": found[0]["text"].index("mouth"),
        "end": found[0]["text"].index("mouth") + 20, "hpo_id": "HP:0000217", "hpo_label": "Xerostomia",
        "alt_ids": [], "assertion": "present",
    }  # fmt: skip
    assert tired["hpo_id"] == "HP:0012378"
    made = found[0]["provenance"]
    assert (made["teacher"], made["server_api"], made["seed"], made["attempts"]) == ("teacher:1b", api, 0, 1)
    assert (made["tokens_in"], made["tokens_out"], made["hpo_release"]) == (700, 90, index.release)
    assert len(made["prompt_sha256"]) == len(made["profile_sha256"]) == 64
    assert "2,100 tokens in, 270 out; cost 0.0048" in said
    assert failures(output) == []


def test_the_prompt_has_names_and_definitions_but_no_ids(teaching: Teacher, tmp_path: Path) -> None:
    distill(teaching.url, tmp_path / "a.jsonl", number=9)
    prompts = [json.dumps(request["messages"]) for request in teaching.requests]
    assert not any(re.search(r"HP:?\d|ORPHA:|OMIM:", prompt) for prompt in prompts)
    assert any("Dryness of the mouth" in prompt for prompt in prompts)  # HPO's definition of Xerostomia
    assert all("never to be named" in prompt for prompt in prompts)


def test_more_diaries_than_profiles_take_further_seeds(teaching: Teacher, tmp_path: Path) -> None:
    distill(teaching.url, tmp_path / "a.jsonl", "--seed", "5", number=7, concurrency=3)
    found = lines(tmp_path / "a.jsonl")
    assert Counter(d["provenance"]["seed"] for d in found) == {5: 3, 6: 3, 7: 1}
    assert len({d["id"] for d in found}) == 7
    again = distill(teaching.url, tmp_path / "b.jsonl", "--seed", "6", number=1)
    assert again[0] == 0
    assert lines(tmp_path / "b.jsonl")[0]["id"] in {d["id"] for d in found}


def test_a_text_like_an_accepted_one_is_refused_also_after_resuming(teaching: Teacher, tmp_path: Path) -> None:
    output = tmp_path / "a.jsonl"
    teaching.line += [answer(good(1)), answer(good(1, text=good(1)["text"].replace("by four", "by four now")))]
    distill(teaching.url, output, number=2)
    assert "nearly the same" in teaching.asked(2)
    teaching.line.append(answer(good(1)))
    distill(teaching.url, output, "--resume", number=3)
    assert "nearly the same" in teaching.asked(4)
    assert [d["provenance"]["attempts"] for d in lines(output)] == [1, 2, 2]


def test_a_profile_that_is_given_up_is_recorded_without_its_text(teaching: Teacher, tmp_path: Path) -> None:
    output, bad = tmp_path / "a.jsonl", good(70, entities=[entity("secret words", "Xerostomia")])
    teaching.line += [answer(bad)] * 3
    code, said = distill(teaching.url, output, "--retries", "2", number=2)
    assert code == 1
    assert "1 given up, see" in said
    (failure,) = failures(output)
    assert failure["reason"] == "the quote of entity 1 is not in the text"
    assert (failure["attempts"], failure["tokens_in"], failure["disease"]) == (3, 2100, "ORPHA:378")
    assert "secret" not in json.dumps(failure) + said
    left = output.with_name("a.jsonl.failures.jsonl").read_bytes()
    # The next run tries again, with other seeds of the server's sampling, and makes up for it.
    code, _ = distill(teaching.url, output, "--resume", number=2)
    assert code == 0
    assert failures(output) == []
    assert {d["id"]: d["provenance"]["attempts"] for d in lines(output)}[failure["id"]] == 4
    assert len({r["options"]["seed"] for r in teaching.requests}) == 5
    # Had it been killed before it could tidy up, the one after would do that.
    output.with_name("a.jsonl.failures.jsonl").write_bytes(left)
    with Ledger(output, lines(output)[0]["provenance"]["hpo_release"], resume=True) as ledger:
        assert ledger.given_up == {}
    assert failures(output) == []


def start(server: Teacher, output: Path, number: int) -> "subprocess.Popen[bytes]":
    arguments = [
        "corpus",
        "distill",
        str(PROFILES),
        "--server",
        server.url,
        "--model",
        "t",
        "--output",
        str(output),
    ]
    return subprocess.Popen(
        [sys.executable, "-c", "from clario.cli import main; main()", *arguments, "--number", str(number)],
        stderr=subprocess.PIPE,
    )


def wait_for(output: Path, written: int) -> None:
    for _ in range(1000):
        if output.exists() and output.read_bytes().count(b"\n") >= written:
            return
        time.sleep(0.01)
    raise AssertionError("nothing was written")


def test_a_killed_run_goes_on_where_it_ended(teaching: Teacher, tmp_path: Path) -> None:
    teaching.delay, output = 0.05, tmp_path / "a.jsonl"
    process = start(teaching, output, 60)
    wait_for(output, 5)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with output.open("ab") as file:
        file.write(b'{"id":"ORPHA:378-0123456789","text":"half a li')
    before = lines_but_last(output)
    assert 5 <= len(before) < 60
    teaching.delay, asked = 0.0, len(teaching.requests)
    code, said = distill(teaching.url, output, "--resume", number=60, concurrency=4)
    assert code == 0, said
    after = lines(output)
    assert after[: len(before)] == before
    assert len(after) == len({d["id"] for d in after}) == 60
    assert len(teaching.requests) - asked == 60 - len(before)
    assert list(tmp_path.iterdir()) == [output]


def lines_but_last(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()[:-1]]


def test_an_interrupted_run_keeps_what_is_done(teaching: Teacher, tmp_path: Path) -> None:
    teaching.delay, output = 0.05, tmp_path / "a.jsonl"
    process = start(teaching, output, 60)
    wait_for(output, 3)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 130
    assert re.search(r"interrupted; what is done is kept \(\d+ diaries\), continue with --resume", said)
    assert "Traceback" not in said
    assert len(lines(output)) >= 3


def test_an_output_is_not_written_over(teaching: Teacher, tmp_path: Path) -> None:
    output = tmp_path / "a.jsonl"
    distill(teaching.url, output)
    before = output.read_bytes()
    code, said = distill(teaching.url, output)
    assert (code, output.read_bytes()) == (1, before)
    assert "continue with --resume" in said


@pytest.mark.parametrize(
    "content", [b"my own notes", b"my own\nnotes\n", b'{"id":"1","text":"x"}\n', b"\xff\xfe\n"]
)
def test_a_file_of_others_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(OutputError, match="line 1: --resume continues only"):
        Ledger(tmp_path / "a.jsonl", "2026-02-16", resume=True)
    assert (tmp_path / "a.jsonl").read_bytes() == content


def test_a_file_of_another_release_is_not_continued(teaching: Teacher, tmp_path: Path) -> None:
    distill(teaching.url, tmp_path / "a.jsonl")
    with pytest.raises(OutputError, match="not 2000-01-01; name that release"):
        Ledger(tmp_path / "a.jsonl", "2000-01-01", resume=True)


def test_a_device_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    with pytest.raises(OutputError, match="not a regular file"):
        Ledger(tmp_path / "null", "2026-02-16")
    assert Path(os.devnull).exists()


def test_an_output_that_cannot_be_written(teaching: Teacher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = distill(teaching.url, tmp_path / "file" / "a.jsonl")
    assert (code, len(teaching.requests)) == (1, 0)
    assert "a.jsonl: " in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: not a profile"),
        ('{"disease": "ORPHA:1", "name": "A", "phenotypes": []}', "line 2: not a profile"),
        ('{"disease": "ORPHA:1", "name": "", "phenotypes": [{"hpo_id": "HP:0000217"}]}', "line 2: not a profile"),
        (
            '{"disease": "ORPHA:1", "name": "A", "phenotypes": [{"hpo_id": "HP:9999999"}]}',
            "line 2: 'HP:9999999' is not",
        ),
    ],
)
def test_what_is_no_profile(index: Index, tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "profiles.jsonl"
    path.write_text(PROFILES.read_text("utf-8").splitlines()[0] + "\n" + line + "\n", "utf-8")
    with pytest.raises(InputError, match=words):
        teacher.read_profiles(path, index)


def test_profiles_are_brought_to_the_release(index: Index, tmp_path: Path) -> None:
    retired, live = next((old, new) for old, new in index.retired.items() if new and index.is_phenotypic(new))
    path = tmp_path / "profiles.jsonl"
    path.write_text(
        json.dumps({"disease": "ORPHA:1", "name": "A", "phenotypes": [{"hpo_id": retired}, {"hpo_id": live}]})
    )
    (profile,) = teacher.read_profiles(path, index)
    assert [(p.hpo_id, p.label) for p in profile.phenotypes] == [(live, index.label(live))]
    path.write_text("")
    with pytest.raises(InputError, match="no profile"):
        teacher.read_profiles(path, index)


def test_a_style_is_a_function_of_seed_and_profile(index: Index) -> None:
    profile = teacher.read_profiles(PROFILES, index)[0]
    assert prompting.style(profile, 3) == prompting.style(replace(profile), 3)
    assert len({prompting.style(profile, seed) for seed in range(50)}) > 45
    assert teacher.Job(profile, 1).id == teacher.Job(replace(profile), 1).id != teacher.Job(profile, 2).id


def test_a_disorder_of_children_has_young_patients(index: Index) -> None:
    profile = replace(teacher.read_profiles(PROFILES, index)[0], name="Neonatal Marfan syndrome")
    assert max(prompting.style(profile, seed).age for seed in range(300)) in range(12, 18)


def test_styles_are_spread_as_the_tables_say(index: Index) -> None:
    profile = teacher.read_profiles(PROFILES, index)[0]
    drawn = [prompting.style(profile, seed) for seed in range(2000)]
    assert sum(s.blank for s in drawn) / 2000 == pytest.approx(prompting.BLANK, abs=0.016)  # four deviations
    assert {s.voice for s in drawn} == {row[0] for row in prompting.VOICES}
    assert {s.register for s in drawn} == {row[0] for row in prompting.REGISTERS}
    assert all(
        ages[0] <= s.age <= ages[1] for s in drawn for voice, ages, _ in prompting.VOICES if voice == s.voice
    )
    told = [s for s in drawn if not s.blank]
    assert all(set(s.tell) <= set(profile.phenotypes) and len(set(s.tell)) == len(s.tell) >= 2 for s in told)
    wanted = Counter(extra for s in told for extra in s.extras)
    denied = wanted[prompting.ASSERTIONS[0][2]] / len(told)
    assert 0.2 < denied <= prompting.ASSERTIONS[0][1] + 0.04
    assert all(not s.extras and not s.tell for s in drawn if s.blank)
