"""The review page in a browser: paste, see, correct, undo, reload, two windows, export, keyboard, axe."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("playwright.sync_api")

import httpx
from page.browsing import FLAGS, axe, chromium
from page.serving import DIARY, serving
from playwright import sync_api as playwright

from clario.corpus.dataset import GoldDiary
from clario.journal.store import Journal
from clario.ontology.resolver import Resolver

pytestmark = pytest.mark.browser

Page = Any
PATIENCE = 20_000  # milliseconds: a machine may be busy
WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = chromium()
    playwright.expect.set_options(timeout=PATIENCE)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "journal.sqlite3"


@pytest.fixture(scope="module")
def service(resolver: Resolver, journal: Path) -> Iterator[httpx.Client]:
    chromium()
    with serving(resolver, journal=journal) as client:
        client.post("/review/api/terms", json={"query": "warm the model up"})
        yield client


@pytest.fixture
def context(browser: Any, service: httpx.Client) -> Iterator[Any]:
    """A browser of its own; what its pages complain of fails the test."""
    context = browser.new_context(base_url=str(service.base_url), viewport=WIDE)
    context.set_default_timeout(PATIENCE)
    complaints = list[str]()
    context.on("console", lambda message: complaints.append(message.text) if _complains(message) else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context
    context.close()
    assert complaints == []


def _complains(message: Any) -> bool:
    # Chromium notes every 409 and refused connection by itself; what the page makes of them is tested.
    return message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource")


@pytest.fixture
def page(context: Any) -> Page:
    return _opened(context)


def _opened(context: Any, address: str = "/") -> Page:
    page = context.new_page()
    page.goto(address)
    return page


def _paste(page: Page, text: str = DIARY) -> None:
    page.get_by_label("What the patient").fill(text)
    page.get_by_role("button", name="Read it").click()
    page.wait_for_selector("#diary >> text=Woke with")


def _finding(page: Page, words: str) -> Any:
    return page.locator("#list [role=option]", has_text=words)


def _pick(page: Page, words: str) -> None:
    _finding(page, words).click()
    page.wait_for_selector("#editor:not([hidden])")


def _says(page: Page, words: str, status: str) -> None:
    playwright.expect(_finding(page, words).locator(".state")).to_contain_text(status)


def _marks(page: Page) -> list[str]:
    return list(page.locator("#diary mark").all_inner_texts())


def test_paste_see_correct_undo_reload(page: Page) -> None:
    _paste(page)
    assert _marks(page) == ["mouth so dry", "knees ache", "fever", "migraines", "Cancelled choir"]
    page.locator("#diary mark", has_text="mouth so dry").click()
    page.get_by_role("button", name="Accept").click()
    _says(page, "mouth so dry", "Accepted")
    _pick(page, "fever")
    page.locator("#assertions label", has_text="Past").click()
    _says(page, "fever", "Corrected")
    page.get_by_role("button", name="Undo").click()
    _says(page, "fever", "Open")
    page.get_by_role("button", name="Redo").click()
    _says(page, "fever", "Corrected")
    page.reload()
    _says(page, "fever", "Corrected")
    _says(page, "mouth so dry", "Accepted")


def test_types_assertions_and_doubt_are_told_without_colour(page: Page) -> None:
    _paste(page)
    marks = page.locator("#diary mark")
    told = [(m.get_attribute("data-before"), m.get_attribute("data-after")) for m in marks.all()]
    assert told == [("S", None), ("S", "?"), ("S", "not"), ("S", "other"), ("B", None)]
    assert "unsure, 31 %" in _finding(page, "knees ache").inner_text()
    heard = page.get_by_role("option", name=re.compile("Symptom: .*Fever .*Absent.*fever.*Open.*confidence 99 %"))
    playwright.expect(heard).to_have_count(1)


def test_script_in_a_diary_is_text(page: Page) -> None:
    _paste(page)
    assert page.locator("#diary").inner_text() == DIARY
    assert page.title() == "Clario review"


def test_what_was_missed_is_added_by_selecting_it(page: Page) -> None:
    _paste(page)
    box = page.evaluate(
        """() => { const node = document.querySelector('#diary').lastChild, range = document.createRange();
        const at = node.textContent.indexOf('Fingers'); range.setStart(node, at); range.setEnd(node, at + 16);
        const box = range.getBoundingClientRect(); return [box.left, box.right, box.top + box.height / 2]; }"""
    )
    left, right, middle = box
    page.mouse.move(left + 1, middle)
    page.mouse.down()
    page.mouse.move(right - 1, middle, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Mark as missed").click()
    _says(page, "Fingers go white", "Added")
    assert "Fingers go white" in _marks(page)


def test_everything_by_keyboard_alone(page: Page) -> None:
    press = page.keyboard.press
    playwright.expect(page.locator("#text")).to_be_focused()
    page.keyboard.insert_text(DIARY)
    press("Control+Enter")
    page.wait_for_selector("#list [role=option]")
    press("j")
    press("a")
    _says(page, "mouth so dry", "Accepted")
    press("j")
    press("t")
    page.wait_for_selector("#picker[open]")
    page.keyboard.type("arthralgia")
    page.wait_for_selector("#hits [aria-selected=true] >> text=Arthralgia")
    press("Enter")
    _says(page, "knees ache", "Corrected")
    assert "Arthralgia" in _finding(page, "knees ache").inner_text()
    press("[")
    playwright.expect(page.locator("#quote")).to_have_text("Both knees ache")
    press("}")
    playwright.expect(page.locator("#quote")).to_have_text("Both knees")
    press("j")
    press("5")
    _says(page, "fever", "Corrected")
    press("r")
    _says(page, "fever", "Rejected")
    press("Control+z")
    _says(page, "fever", "Corrected")
    press("m")
    press("Shift+ArrowRight")
    press("Enter")
    _says(page, "Mum has", "Added")
    press("y")
    press("ArrowDown")
    press("ArrowDown")
    playwright.expect(page.locator("#editor-title")).to_have_text("Medicine")
    page.locator("#list").focus()
    press("f")
    playwright.expect(page.get_by_role("button", name="Finished")).to_have_attribute("aria-pressed", "true")
    press("?")
    assert page.locator("#help").is_visible()
    press("Escape")
    press("x")
    with page.expect_download():
        press("Enter")


def test_single_letters_can_be_switched_off(page: Page) -> None:
    _paste(page)
    page.get_by_role("button", name="Help").click()
    page.get_by_label("Single-letter keys are on").uncheck()
    page.keyboard.press("Escape")
    page.locator("#list").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("r")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#list [aria-selected=true] >> text=Knee pain")
    _says(page, "mouth so dry", "Open")


def test_the_hierarchy_leads_to_a_broader_term(page: Page) -> None:
    _paste(page)
    _pick(page, "knees ache")
    page.get_by_role("button", name="Change term").click()
    playwright.expect(page.locator("#around-name")).to_contain_text("Knee pain")
    page.locator("#parents").get_by_role("button").first.click()
    playwright.expect(page.locator("#around-name")).not_to_contain_text("Knee pain")
    parent = page.locator("#around-name").inner_text().rpartition(" ")[0]
    page.get_by_role("button", name="Take this term").click()
    _says(page, "knees ache", "Corrected")
    assert parent in _finding(page, "knees ache").inner_text()


def test_two_windows_show_both_versions_and_overwrite_nothing(context: Any, page: Page) -> None:
    _paste(page)
    other = _opened(context, page.url)
    _pick(other, "fever")
    _pick(page, "fever")
    page.get_by_role("button", name="Accept").click()
    _says(page, "fever", "Accepted")
    other.get_by_role("button", name="Reject").click()
    conflict = other.get_by_role("dialog", name="Changed in another window")
    playwright.expect(conflict.locator("#theirs")).to_contain_text("accepted")
    playwright.expect(conflict.locator("#yours")).to_contain_text("reject")
    other.get_by_role("button", name="Leave mine out").click()
    _says(other, "fever", "Accepted")
    page.get_by_role("button", name="Reject").click()
    _says(page, "fever", "Rejected")
    other.locator("#assertions label", has_text="Past").click()
    other.get_by_role("button", name="Make my change on top").click()
    _says(other, "fever", "Corrected")
    page.reload()
    _says(page, "fever", "Corrected")


def test_a_change_that_does_not_reach_the_server_waits_and_is_not_lost(page: Page) -> None:
    _paste(page)
    _pick(page, "fever")
    page.route("**/changes", lambda route: route.abort())
    page.get_by_role("button", name="Reject").click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("Your change is not kept yet")
    page.unroute("**/changes")
    page.get_by_role("button", name="Try again").click()
    _says(page, "fever", "Rejected")


def test_export_saves_what_was_decided(page: Page) -> None:
    _paste(page)
    _pick(page, "mouth so dry")
    page.get_by_role("button", name="Accept").click()
    _says(page, "mouth so dry", "Accepted")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the file").click()
    assert saved.value.suggested_filename == "clario-review.jsonl"
    diary = GoldDiary.model_validate_json(Path(saved.value.path()).read_text("utf-8"))
    assert [entity.hpo_label for entity in diary.entities] == ["Xerostomia"]


def test_keep_in_the_journal_and_pick_it_there(page: Page, journal: Path) -> None:
    _paste(page)
    _pick(page, "fever")
    page.get_by_role("button", name="Reject").click()
    _says(page, "fever", "Rejected")
    page.get_by_role("button", name="Keep in journal").click()
    playwright.expect(page.locator("#facts")).to_contain_text("In the journal")
    page.get_by_role("button", name="New diary").click()
    page.locator("#entries a").first.click()
    _says(page, "fever", "Rejected")
    with Journal(journal) as kept:
        assert [entry.text for entry in kept.entries()] == [DIARY]


def test_forget_asks_and_forgets(page: Page) -> None:
    _paste(page)
    address = page.url
    page.get_by_role("button", name="Forget", exact=True).click()
    page.get_by_role("button", name="Forget it").click()
    page.get_by_role("heading", name="Read a diary").wait_for()
    page.goto(address)
    playwright.expect(page.get_by_role("alert")).to_contain_text("not here any more")


def test_a_blind_review_shows_no_proposals(browser: Any, resolver: Resolver) -> None:
    with serving(resolver, blind=True) as client:
        context = browser.new_context(base_url=str(client.base_url), viewport=WIDE)
        page = _opened(context)
        _paste(page)
        assert _marks(page) == []
        page.keyboard.press("m")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        _says(page, "with", "Added")
        assert "no term" in _finding(page, "with").inner_text()
        context.close()


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["1280", "390"])
def test_axe_finds_nothing(browser: Any, service: httpx.Client, size: dict[str, int], scheme: str) -> None:
    script = axe()
    context = browser.new_context(
        base_url=str(service.base_url), viewport=size, color_scheme=scheme, bypass_csp=True
    )
    page = _opened(context)
    page.evaluate(script)
    page.get_by_role("heading", name="Read a diary").wait_for()
    found = _violations(page, "start")
    _paste(page)
    page.get_by_text("What the marks mean").click()
    page.locator("#list").focus()
    for key in ("ArrowDown", "a", "ArrowDown", "r", "ArrowDown"):
        page.keyboard.press(key)
    _says(page, "knees ache", "Rejected")
    found += _violations(page, "review")
    for key, ready in (("t", "#around:not([hidden])"), ("x", "#export[open]"), ("?", "#help[open]")):
        page.keyboard.press(key)
        page.wait_for_selector(ready)
        found += _violations(page, key)
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog[open]", state="hidden")
    context.close()
    assert found == []


def _violations(page: Page, where: str) -> list[str]:
    results = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
    return [f"{where}: {one['id']} {[node['target'] for node in one['nodes']]}" for one in results["violations"]]


def test_a_phone_has_room_for_everything(browser: Any, service: httpx.Client) -> None:
    context = browser.new_context(base_url=str(service.base_url), viewport=NARROW, has_touch=True, is_mobile=True)
    page = _opened(context)
    fits: Callable[[], bool] = lambda: page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # noqa: E731
    assert fits()
    _paste(page)
    assert fits()
    page.locator("#diary mark", has_text="fever").tap()
    for name in ("Accept", "Reject", "Change term", "Next finding"):
        playwright.expect(page.get_by_role("button", name=name)).to_be_in_viewport()
    playwright.expect(page.locator("#diary mark.selected")).to_be_in_viewport()
    playwright.expect(page.locator("#safety")).to_be_in_viewport()
    page.get_by_role("button", name="Next finding").tap()
    page.get_by_role("button", name="Accept").tap()
    page.get_by_role("button", name="Close the finding").tap()
    _says(page, "migraines", "Accepted")
    assert fits()
    context.close()
