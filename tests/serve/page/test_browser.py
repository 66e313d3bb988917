"""The page in a real Chromium: phone and desktop, light and dark, by keyboard, without JavaScript, with axe-core.

It needs the system's chromium (`apt-get install chromium`) or SLOWWAVE_CHROMIUM; without one it is skipped.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from page_client import Markup, encoder, fill

from slowwave import Memory
from slowwave.serve import create_app

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("SLOWWAVE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium; apt-get install chromium, or set SLOWWAVE_CHROMIUM")

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LOOKS = [(DESKTOP, "light"), (PHONE, "dark")]  # both widths, both lights
VIEWS = ["/timeline", "/search?query=Where+does+Ana+live%3F", "/nights", "/fading", "/held", "/stats", "/move", "/keys"]


class Site:
    """A served memory and a browser on it; what the pages complain about is in `complaints`."""

    def __init__(self, memory: Memory, browser: Any) -> None:
        import uvicorn

        self.memory, self.browser, self.complaints = memory, browser, []
        self.asked: list[str] = []
        self.server = uvicorn.Server(uvicorn.Config(create_app(memory), port=0, log_level="error", ws="none"))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def open(self, path: str, **how: Any) -> Any:
        context = self.browser.new_context(**{"viewport": DESKTOP, **how})
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on(
            "console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text)
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(self.url + self.of_ana(path))
        return page

    @staticmethod
    def of_ana(path: str) -> str:
        return f"{path}{'&' if '?' in path else '?'}user_id=ana"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def site(open_memory: Callable[..., Memory], browser: Any) -> Iterator[Site]:
    memory = open_memory(embedder=encoder())
    fill(memory)
    running = Site(memory, browser)
    yield running
    running.stop()
    assert not running.complaints
    strange = [url for url in running.asked if not url.startswith(running.url)]
    assert not strange, "the page asks elsewhere"


def accessible(page: Any, where: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    told = [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found]
    assert not told, (where, told)


def test_every_view_is_accessible_and_fits_at_every_width_and_in_both_lights(site: Site) -> None:
    site.memory.sleep(user_id="ana")
    fact = site.memory.list(kinds=["fact"], user_id="ana")[0].id
    op = site.memory.log(verb="sleep", user_id="ana")[0]["op"]
    views = [*VIEWS, "/", "/login", f"/memory/{fact}", f"/memory/{fact}?correct=yes&erase=yes", f"/nights/{op}"]
    page = site.open("/timeline")
    for size, light in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=light)
        for view in views:
            page.goto(site.url + (site.of_ana(view) if view not in ("/", "/login") else view))
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
            accessible(page, f"{view} {size['width']} {light}")
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{view} is {wide} pixels too wide at {size['width']}"
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.emulate_media(color_scheme="light")
    assert dark != page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def test_all_is_done_by_keyboard_alone(site: Site) -> None:
    page = site.open("/timeline")
    press = page.keyboard.press
    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    press("/")
    page.wait_for_url("**/search?*")
    press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("Who plays the cello?")
    press("Enter")
    page.wait_for_selector("text=My sister Clara plays the cello.")
    walk(page, "Why this")
    press("Enter")
    assert page.locator("details[open] .why").first.is_visible()
    page.goto(site.url + site.of_ana("/nights"))
    walk(page, "What would a night change?")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"
    press("Enter")
    page.wait_for_selector("text=Accept: sleep and write it")
    walk(page, "Accept: sleep and write it")
    press("Enter")
    page.wait_for_selector("text=Take the whole night back")
    assert site.memory.list(kinds=["fact"], user_id="ana")
    walk(page, "Take the whole night back")
    press("Enter")
    page.wait_for_selector("text=Taken back")
    assert not site.memory.list(kinds=["fact"], user_id="ana")


def test_a_night_is_gone_through_change_by_change(site: Site) -> None:
    page = site.open("/nights")
    page.get_by_role("button", name="What would a night change?").click()
    page.get_by_text("Accept: sleep and write it").wait_for()
    for size, light in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=light)
        page.reload()  # colours change slowly
        accessible(page, f"a proposal {size['width']} {light}")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"the proposal is {wide} pixels too wide at {size['width']}"
    clara = page.get_by_role("checkbox", name="Clara").first
    assert clara.is_checked()
    clara.focus()
    page.keyboard.press("Space")
    assert not clara.is_checked()
    page.get_by_role("button", name="Accept: sleep and write it").click()
    page.get_by_role("button", name="Take back what is marked").wait_for()
    facts = [engram.text for engram in site.memory.list(kinds=["fact"], user_id="ana")]
    assert "Ana's home is Lisbon" in facts
    assert not [text for text in facts if "Clara" in text]
    sync_api.expect(page.get_by_text("left out by whoever reviewed the night").first).to_be_visible()
    page.get_by_role("checkbox", name="written down, Ana's home is Lisbon").check()
    page.get_by_role("button", name="Take back what is marked").click()
    page.get_by_text("taken back; the rest stays").wait_for()
    accessible(page, "a night in part taken back")
    held = [engram.text for engram in site.memory.list(kinds=["fact"], user_id="ana") if engram.until is None]
    assert "Ana's home is Porto" in held
    assert "Ana's home is Lisbon" not in held


def walk(page: Any, text: str) -> None:
    """Press Tab until the focus is on what says this."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == text:
            return
    raise AssertionError(f"no Tab leads to {text!r}")


def until(page: Any, holds: str) -> None:
    """Wait for an expression; the page's policy lets Playwright's own waiting evaluate none."""
    for _ in range(100):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(50)
    raise AssertionError(holds)


def test_the_search_follows_the_typing_and_older_days_are_loaded_in_place(site: Site) -> None:
    page = site.open("/search")
    page.locator("#query").press_sequentially("cello")
    page.wait_for_selector("text=My sister Clara plays the cello.")
    page.wait_for_url("**query=cello*")
    site.memory.add([f"Turn number {n}." for n in range(120)], at="2022-01-01", user_id="ana")
    page.goto(site.url + site.of_ana("/timeline"))
    before = page.locator(".entry").count()
    page.get_by_role("link", name="Older").focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator(".entry")).not_to_have_count(before)
    assert page.url.endswith("/timeline?user_id=ana"), "the page stayed"
    until(page, "document.activeElement.matches('.entry a.text')")
    assert page.get_by_role("link", name="Older").count() == 1


def test_it_works_without_javascript(site: Site) -> None:
    page = site.open("/timeline", java_script_enabled=False)
    page.get_by_role("link", name="Search").click()
    page.get_by_label("A question, or some words").fill("cello")
    page.keyboard.press("Enter")
    page.get_by_text("My sister Clara plays the cello.").wait_for()
    page.get_by_role("link", name="Nights").click()
    page.get_by_role("button", name="Sleep now").click()
    page.get_by_role("button", name="Take the whole night back").wait_for()
    page.get_by_role("link", name="Timeline").click()
    page.get_by_role("button", name="Dark").first.click()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_hostile_records_run_nothing(site: Site) -> None:
    from test_safety import hostile

    id_ = hostile(site.memory)
    page = site.open("/timeline")
    page.on("dialog", lambda dialog: site.complaints.append(dialog.message))
    for path in ("/timeline?kind=all&", "/search?query=script&weak=yes&", f"/memory/{id_}?", "/nights?verb=all&"):
        page.goto(f"{site.url}{path}user_id=%3Cb%3Eana%3C%2Fb%3E")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        page.wait_for_load_state("networkidle")
        assert "owned" not in page.title()
        assert page.locator("main img").count() == 0
    page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
    )
    assert page.evaluate("window.ran") is None, "the policy lets no script of a page run"
    assert site.complaints
    site.complaints.clear()


def test_signing_in_with_a_key(site: Site) -> None:
    from page_client import key_for

    from slowwave import Scope

    secret = key_for(site.memory, Scope(user_id="ana"))
    page = site.open("/search?query=cello")
    assert "/login" in page.url
    page.get_by_label("Key").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?query=cello*")
    assert "Clara" in Markup(page.content()).text
    assert page.evaluate("document.cookie") == "", "no script reads the key"
    page.get_by_role("button", name="Sign out").first.click()
    page.wait_for_url("**/login")
