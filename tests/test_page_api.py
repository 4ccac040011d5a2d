"""What the review page may ask of the server: reviews are kept, apart from each other, and never overwritten."""

import asyncio
import csv
import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib import parse

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

import httpx
from page.serving import DIARY, serving

from clario.corpus.dataset import GoldDiary
from clario.errors import InputError
from clario.journal.records import UnknownEntryError
from clario.journal.store import Journal
from clario.ontology.resolver import Resolver
from clario.service import review_desk
from clario.service.review_desk import Drafts, FullError
from clario.service.state import State

PAGE = Path(review_desk.__file__).parent / "page"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "journal.sqlite3"


@pytest.fixture(scope="module")
def client(resolver: Resolver, journal: Path) -> Iterator[httpx.Client]:
    with serving(resolver, journal=journal) as client:
        yield client


@pytest.fixture(scope="module")
def blind(client: httpx.Client, resolver: Resolver, journal: Path) -> Iterator[httpx.Client]:
    with serving(resolver, journal=journal, blind=True) as client:
        yield client


def _paste(client: httpx.Client, annotator: str = "A", **more: object) -> Json:
    answer = client.post("/review/api/documents", json={"text": DIARY, "annotator": annotator, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def _change(client: httpx.Client, document: Json, version: int | None = None, **change: object) -> httpx.Response:
    view = document["view"]
    seen = view["version"] if version is None else version
    given = {"annotator": view["annotator"], "version": seen, "change": change}
    return client.post(f"/review/api/documents/{document['id']}/changes", json=given)


def _item(document: Json, quote: str) -> Json:
    return next(dict(i) for i in document["view"]["items"] if i["entity"]["name_colloquial"] == quote)


def _load(client: httpx.Client, document: Json, annotator: str = "A") -> httpx.Response:
    return client.get(f"/review/api/documents/{document['id']}", params={"annotator": annotator})


def _export(client: httpx.Client, document: Json | None, format: str, annotator: str = "A", **more: object) -> str:
    given = {"document": document and document["id"], "annotator": annotator, "format": format, **more}
    answer = client.post("/review/api/export", json=given)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="clario-review')
    return answer.text


def test_a_pasted_diary_is_read_and_kept_in_memory_only(client: httpx.Client, journal: Path) -> None:
    document = _paste(client, recorded="2026-11-20")
    assert [i["entity"]["hpo_label"] for i in document["view"]["items"]][:3] == [
        "Xerostomia",
        "Knee pain",
        "Fever",
    ]
    assert not document["kept"]
    for path in journal.parent.iterdir():
        assert b"couldn't eat" not in path.read_bytes()


def test_a_change_is_there_after_it_is_answered(client: httpx.Client) -> None:
    document = _paste(client)
    key = _item(document, "mouth so dry")["key"]
    answer = _change(client, document, action="assertion", item=key, assertion="past")
    assert answer.status_code == 200
    assert _load(client, document).json() == answer.json()
    assert _item(answer.json(), "mouth so dry")["entity"]["assertion"] == "past"


def test_an_outdated_window_overwrites_nothing_and_is_told_both_versions(client: httpx.Client) -> None:
    document = _paste(client)
    key = _item(document, "fever")["key"]
    _change(client, document, action="accept", item=key)
    late = _change(client, document, action="reject", item=key)
    assert late.status_code == 409
    assert late.json()["error"]["code"] == "stale"
    assert _item(late.json()["document"], "fever")["status"] == "accepted"
    assert _load(client, document).json() == late.json()["document"]
    again = _change(client, late.json()["document"], action="reject", item=key)
    assert _item(again.json(), "fever")["status"] == "rejected"


def test_undo_goes_back_step_by_step_and_redo_forth(client: httpx.Client) -> None:
    first = _paste(client)
    key = _item(first, "knees ache")["key"]
    second = _change(client, first, action="reject", item=key).json()
    third = _change(client, second, action="span", item=key, start=0, end=8).json()
    back = _change(client, third, action="undo").json()
    assert back["view"]["items"] == second["view"]["items"]
    start = _change(client, back, action="undo").json()
    assert start["view"]["items"] == first["view"]["items"]
    assert not start["view"]["can_undo"]
    assert _change(client, start, action="undo").status_code == 422
    forth = _change(client, start, action="redo").json()
    assert forth["view"]["items"] == second["view"]["items"]


def test_what_was_missed_gets_the_term_of_its_words(client: httpx.Client) -> None:
    document = _paste(client)
    start = DIARY.index("Fingers go white")
    added = _change(client, document, action="add", type="symptom", start=start, end=start + 16).json()
    item = _item(added, "Fingers go white")
    assert item["status"] == "added"
    assert item["proposed"] is None
    text = DIARY[item["entity"]["start"] : item["entity"]["end"]]
    assert text == "Fingers go white"
    named = _change(client, added, action="term", item=item["key"], hpo_id="HP:0030880").json()
    assert _item(named, "Fingers go white")["entity"]["hpo_label"] == "Raynaud phenomenon"


@pytest.mark.parametrize(
    "change",
    [
        {"action": "span", "item": "m1", "start": 5, "end": 4},
        {"action": "add", "type": "symptom", "start": 0, "end": 10_000},
        {"action": "add", "type": "symptom", "start": -5, "end": -1},
        {"action": "assertion", "item": "m1", "assertion": "maybe"},
        {"action": "drop"},
        {},
    ],
)
def test_a_change_that_does_not_fit_changes_nothing_and_repeats_no_words(
    client: httpx.Client, change: Json
) -> None:
    document = _paste(client)
    if "item" in change:
        change = {**change, "item": document["view"]["items"][0]["key"]}
    answer = _change(client, document, **change)
    assert answer.status_code == 422
    assert "mouth" not in answer.text
    assert _load(client, document).json() == document


def test_keeping_takes_everything_into_the_journal(client: httpx.Client, journal: Path) -> None:
    document = _paste(client)
    key = _item(document, "mouth so dry")["key"]
    changed = _change(client, document, action="assertion", item=key, assertion="past").json()
    changed = _change(client, changed, action="reject", item=_item(changed, "fever")["key"]).json()
    kept = client.post(f"/review/api/documents/{document['id']}/keep", json={"annotator": "A"}).json()
    assert kept["kept"]
    assert [i["entity"] for i in kept["view"]["items"]] == [i["entity"] for i in changed["view"]["items"]]
    assert [i["status"] for i in kept["view"]["items"]] == [i["status"] for i in changed["view"]["items"]]
    assert _load(client, document).status_code == 404
    undone = _change(client, kept, action="undo").json()
    assert _item(undone, "fever")["status"] == "proposed"
    with Journal(journal) as other:
        view = other.effective(kept["id"].removeprefix("j."), "A")
    assert view.version == undone["view"]["version"]


def test_two_windows_that_keep_a_diary_make_one_entry(client: httpx.Client, journal: Path) -> None:
    document = _paste(client)
    with Journal(journal) as other:
        before = len(other.entries())
        path = f"/review/api/documents/{document['id']}/keep"
        with ThreadPoolExecutor(4) as windows:
            answers = list(windows.map(lambda _: client.post(path, json={"annotator": "A"}), range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]
        assert len(other.entries()) == before + 1


def test_a_diary_that_nobody_waits_for_any_more_is_forgotten(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_desk, "MOST_DRAFTS", 1)
    given = {"text": DIARY, "annotator": "A"}
    with serving(resolver) as client:
        with monkeypatch.context() as patch:
            patch.setattr(State, "read", _for_ever)
            with pytest.raises(httpx.ReadTimeout):
                client.post("/review/api/documents", json=given, timeout=0.5)
        until = monotonic() + 10
        while (answer := client.post("/review/api/documents", json=given)).status_code == 507:
            assert monotonic() < until
            sleep(0.02)
        assert answer.status_code == 201


async def _for_ever(*_: object) -> None:
    await asyncio.sleep(60)


def test_an_id_may_be_the_path_of_a_file(client: httpx.Client, journal: Path) -> None:
    for id in ("old/monday.txt", "old/read"):
        with Journal(journal) as other:
            other.add("So thirsty. No fever.", id=id)
        path = f"/review/api/documents/{parse.quote(f'j.{id}', safe='')}"
        assert client.get(path, params={"annotator": "A"}).json()["id"] == f"j.{id}"
        assert client.post(f"{path}/read", json={"annotator": "A"}).json()["read"]


def test_candidates_of_another_release_do_not_hide_a_diary(client: httpx.Client, journal: Path) -> None:
    document = _paste(client, keep=True)
    with Journal(journal) as other:
        id = document["id"].removeprefix("j.")
        found = other.extraction(id)
        assert found
        match = found.entities[0].match.model_copy(update={"candidates": ("HP:9999999", "HP:0001945")})
        first = found.entities[0].model_copy(update={"match": match})
        other.again([id])
        job = next(job for job in iter(other.claim, None) if job.entry == id)
        other.complete(job, found.model_copy(update={"entities": (first, *found.entities[1:])}))
    assert _load(client, document).json()["labels"] == {"HP:0001945": "Fever"}


def test_forgetting_leaves_nothing(client: httpx.Client) -> None:
    document = _paste(client)
    assert client.delete(f"/review/api/documents/{document['id']}").status_code == 204
    for answer in (_load(client, document), client.delete(f"/review/api/documents/{document['id']}")):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_diary"


def test_the_page_does_not_delete_from_the_journal(client: httpx.Client) -> None:
    document = _paste(client, keep=True)
    assert client.delete(f"/review/api/documents/{document['id']}").status_code == 422
    assert _load(client, document).status_code == 200


def test_an_export_holds_what_a_person_decided(client: httpx.Client) -> None:
    document = _paste(client)
    document = _change(client, document, action="accept", item=_item(document, "mouth so dry")["key"]).json()
    document = _change(client, document, action="reject", item=_item(document, "knees ache")["key"]).json()
    decided = GoldDiary.model_validate_json(_export(client, document, "corpus"))
    assert [entity.name_colloquial for entity in decided.entities] == ["mouth so dry"]
    assert decided.text == DIARY
    everything = GoldDiary.model_validate_json(_export(client, document, "corpus", undecided=True))
    quotes = [entity.name_colloquial for entity in everything.entities]
    assert quotes == ["mouth so dry", "fever", "migraines", "Cancelled choir"]
    rows = list(csv.DictReader(io.StringIO(_export(client, document, "csv", undecided=True))))
    assert [row["name_colloquial"] for row in rows] == quotes
    assert {row["model"] for row in rows} == {"known 1, corrected by A"}


@pytest.mark.parametrize(("format", "package"), [("phenopacket", "phenopackets"), ("fhir", "fhir.resources")])
def test_exports_for_other_programs_have_words_only_on_demand(
    client: httpx.Client, format: str, package: str
) -> None:
    pytest.importorskip(package)
    document = _paste(client)
    for quote in ("mouth so dry", "fever"):
        document = _change(client, document, action="accept", item=_item(document, quote)["key"]).json()
    plain = _export(client, document, format)
    assert "HP:0000217" in plain
    assert "HP:0001945" in plain
    assert "Migraine" not in plain
    assert "mouth so dry" not in plain
    assert "mouth so dry" in _export(client, document, format, quotes=True)
    assert json.loads(plain)


def test_annotators_are_blind_to_the_model_and_to_each_other(blind: httpx.Client, client: httpx.Client) -> None:
    document = _paste(client, "A", keep=True)
    for who in ("first", "second"):
        seen = _load(blind, document, who).json()
        assert seen["view"]["items"] == []
        assert seen["view"]["model"] is None
        assert "Xerostomia" not in json.dumps(seen)
        for quote, hpo_id in (("mouth so dry", "HP:0000217"), ("knees ache", "HP:0030839")):
            start = DIARY.index(quote)
            term = hpo_id if who == "first" or quote == "mouth so dry" else "HP:0002829"
            seen = _change(
                blind, seen, action="add", type="symptom", start=start, end=start + len(quote), hpo_id=term
            ).json()
        assert seen["others"] == []
        done = _change(blind, seen, action="finish").json()
    assert done["others"] == ["first"]
    figures = blind.post("/review/api/agreement", json={"first": "first", "second": "second"}).json()
    assert (figures["diaries"], figures["mentions"], figures["same_id"]) == (1, 1.0, 0.5)
    assert len(_export(blind, None, "corpus", "first").splitlines()) == 1


def test_blind_nothing_is_proposed_for_what_is_marked(blind: httpx.Client) -> None:
    document = _paste(blind)
    start = DIARY.index("fever")
    added = _change(blind, document, action="add", type="symptom", start=start, end=start + 5).json()
    assert _item(added, "fever")["entity"]["hpo_id"] is None


def test_entries_of_the_journal_can_be_picked_and_read(client: httpx.Client, journal: Path) -> None:
    with Journal(journal) as other:
        entry = other.add("So thirsty. No fever.", id="picked")
    listed = client.get("/review/api/entries", params={"annotator": "A"}).json()
    mine = next(one for one in listed if one["id"] == f"j.{entry.id}")
    assert mine["opening"] == "So thirsty. No fever."
    before = _load(client, mine).json()
    assert not before["read"]
    after = client.post(f"/review/api/documents/{mine['id']}/read", json={"annotator": "A"}).json()
    assert after["read"]
    assert [i["entity"]["hpo_label"] for i in after["view"]["items"]] == ["Fever"]


@pytest.mark.parametrize(
    ("query", "label"),
    [
        ("HP:0000217", "Xerostomia"),
        ("dry mouth", "Xerostomia"),
        ("xerost", "Xerostomia"),
        ("knee pain", "Knee pain"),
    ],
)
def test_terms_are_found_by_id_name_and_half_a_name(client: httpx.Client, query: str, label: str) -> None:
    hits = client.post("/review/api/terms", json={"query": query}).json()
    assert hits[0]["label"] == label


def test_wrong_requests_are_told_apart_without_repeating_them(client: httpx.Client) -> None:
    secret = "my secret rash"
    for body in (
        {"text": secret},
        {"text": secret, "annotator": " "},
        {"text": secret, "annotator": "A", "x": secret},
    ):
        answer = client.post("/review/api/documents", json=body)
        assert answer.status_code == 422
        assert secret not in answer.text
    assert client.get("/review/api/documents/d.none", params={"annotator": "A"}).status_code == 404
    assert client.get("/review/api/documents/x", params={"annotator": "A"}).status_code == 404


def test_only_the_files_of_the_page_are_served(client: httpx.Client) -> None:
    for name in ("page.js", "page.css", "icon.svg"):
        assert client.get(f"/review/{name}").status_code == 200
    for name in ("index.html", "../review.py", "..%2freview.py", "%2e%2e/review.py", "none.js", ""):
        assert client.get(f"/review/{name}").status_code == 404


def test_the_page_needs_no_unsafe_policy_and_no_other_server(client: httpx.Client) -> None:
    answer = client.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", answer.text)
    for path in PAGE.iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//\w+\.\w|innerHTML|outerHTML|insertAdjacentHTML|eval\(", text), path.name
    assert "Not a diagnosis." in answer.text


def test_drafts_are_dropped_when_idle_and_refused_when_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    drafts = Drafts(clock=lambda: now[0])
    monkeypatch.setattr(review_desk, "MOST_DRAFTS", 2)
    first, second = drafts.put("one", None), drafts.put("two", None)
    with pytest.raises(FullError):
        drafts.put("three", None)
    now[0] += review_desk.IDLE_HOURS * 3600 - 1
    drafts.touch(second.id)
    now[0] += 2
    drafts.put("three", None)
    drafts.touch(second.id)
    with pytest.raises(UnknownEntryError):
        drafts.touch(first.id)
    with pytest.raises(InputError):
        drafts.put("   ", None)
    drafts.close()
