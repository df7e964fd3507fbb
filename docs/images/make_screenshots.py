"""Makes the screenshots of the documentation, from a site with runs that are really measured.

    python docs/images/make_screenshots.py

It needs what the browser tests need: the packages of requirements.txt, and /usr/bin/chromium.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parent
sys.path.insert(0, str(IMAGES.parents[1]))

from tests.browser.conftest import ARGUMENTS, CHROMIUM  # noqa: E402
from tests.browser.site import PASSWORD, USER, Site, running_site  # noqa: E402

RUNS = "/admin/redisdict/benchmarkrun/"
DICTS = "/admin/redisdict/storeddict/"

NOTES = ("Buy milk", "Water the plants", "Call the plumber about the tap")


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        with running_site(Path(directory), f"embedded://{directory}/valkey") as site:
            for label in ("before", "after"):
                # A busy machine takes longer than the half minute of a quiet one.
                site.manage("redisbench", "--quick", "--label", label, timeout_s=900)
            with sync_playwright() as playwright:
                with playwright.chromium.launch(
                    executable_path=CHROMIUM, args=ARGUMENTS
                ) as browser:
                    take_all(browser, site)


def take_all(browser: Browser, site: Site) -> None:
    light = logged_in(browser, site, is_dark=False)
    for text in NOTES:
        light.goto("/sync/")
        light.fill("#text", text)
        light.click("text=Add")
    take(light, "notes", height=560)
    light.goto(RUNS)
    take(light, "runs", height=560)
    light.goto(f"{RUNS}1/change/")
    take(light, "run")
    light.goto(f"{RUNS}compare/?run=1&run=2")
    light.locator("#content-main summary").first.click()  # so that there are cells to be seen
    take(light, "compare")
    light.goto(DICTS)
    light.click("section >> text=notes")
    take(light, "dict", height=560)
    light.locator(".redisdict-items th a").first.click()
    take(light, "item", height=560)

    dark = logged_in(browser, site, is_dark=True)
    dark.goto(f"{RUNS}1/change/")
    dark.locator("details:has(figure) > summary").first.click()
    dark.evaluate("document.querySelector('figure').scrollIntoView()")
    take(dark, "charts-dark")


def logged_in(browser: Browser, site: Site, *, is_dark: bool) -> Page:
    page = browser.new_page(
        base_url=site.url,
        color_scheme="dark" if is_dark else "light",
        viewport={"width": 1280, "height": 900},
    )
    page.goto("/admin/")
    page.fill("#id_username", USER)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    return page


def take(page: Page, name: str, height: int = 900) -> None:
    page.set_viewport_size({"width": 1280, "height": height})
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"{name}.png")
    sys.stdout.write(f"{name}.png\n")


if __name__ == "__main__":
    main()
