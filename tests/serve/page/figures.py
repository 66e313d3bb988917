"""Takes the pictures of docs/page.md: `python tests/serve/page/figures.py`, in a checkout with chromium."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import test_browser as shown  # noqa: E402
from page_client import fill  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from slowwave import Memory  # noqa: E402

FIGURES = HERE.parents[2] / "docs" / "figures"
WIDE, TALL = {"width": 1180, "height": 800}, {"width": 390, "height": 800}


class Later:
    """A clock that stands until it is put forward."""

    now = datetime(2024, 6, 3, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def main() -> None:
    clock = Later()
    with Memory(":memory:", clock=clock) as memory, sync_playwright() as playwright:
        fill(memory)
        browser = playwright.chromium.launch(executable_path=shown.CHROMIUM, args=["--no-sandbox"])
        site = shown.Site(memory, browser)
        try:
            page = site.open("/nights", viewport=WIDE)
            page.get_by_role("button", name="What would a night change?").click()
            page.get_by_text("Accept: sleep and write it").wait_for()
            page.screenshot(path=FIGURES / "page-night.png")
            memory.sleep(user_id="ana")
            take(site, "page-timeline.png", "/timeline")
            take(site, "page-search-dark.png", "/search?query=Where+does+Ana+live%3F", light="dark", opened=True)
            home = next(e for e in memory.list(kinds=["fact"], user_id="ana") if "Lisbon" in e.text)
            take(site, "page-memory.png", f"/memory/{home.id}", whole=True)
            take(site, "page-phone.png", f"/nights/{memory.log(verb='sleep', user_id='ana')[0]['op']}", size=TALL)
            take(site, "page-phone-dark.png", "/timeline", size=TALL, light="dark")
            memory.search("What did we eat by the sea?", user_id="ana")
            clock.now = datetime(2024, 8, 20, 8, tzinfo=UTC)
            memory.sleep(user_id="ana")
            take(site, "page-fading.png", "/fading")
        finally:
            site.stop()
            browser.close()


def take(site, name, path, size=WIDE, light="light", opened=False, whole=False):  # type: ignore[no-untyped-def]
    """One picture."""
    page = site.open(path, viewport=size, color_scheme=light)
    if opened:
        page.get_by_text("Why this").first.click()
    page.mouse.move(0, 0)
    page.screenshot(path=FIGURES / name, full_page=whole)
    page.context.close()


if __name__ == "__main__":
    main()
