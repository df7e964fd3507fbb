"""Every page in a real browser: charts drawn, nothing refused, usable by everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener

pytestmark = pytest.mark.deep

AXE = (Path(__file__).parent / "axe-core" / "axe.min.js").read_text()

RUNS = "/admin/redisdict/benchmarkrun/"
DICTS = "/admin/redisdict/storeddict/"

#: Each page by what leads to it.
PAGES = {
    "list": RUNS,
    "run": f"{RUNS}1/change/",
    "compare": f"{RUNS}compare/?run=1&run=2",
    "trend": f"{RUNS}trend/",
    "start": f"{RUNS}add/",
    "delete": f"{RUNS}1/delete/",
    "dicts": DICTS,
    "items": f"{DICTS}_5B_22default_22_2C%20_22hash_22_2C%20_22visits_22_5D/change/",
    "delete-item": (
        f"{DICTS}_5B_22default_22_2C%20_22hash_22_2C%20_22visits_22_5D/delete-item/?field="
        + b"sync".hex()
    ),
    "site": "/",
    "sync": "/sync/",
    "async": "/async/",
}

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

WITH_CHARTS = ("run", "compare", "trend")


def violations(page: Page) -> list[str]:
    """What axe-core finds serious or critical, each with the first element it is about."""
    page.evaluate(AXE)
    # A colour that is on its way from one theme to the other has neither one's contrast.
    page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(result => result.violations)")
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html']}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def undrawn_charts(page: Page) -> list[str]:
    """Titles of charts that are hidden, empty or unknown to the library."""
    titles: list[str] = page.eval_on_selector_all(
        "figure[data-chart]",
        """figures => figures.filter(figure => {
          const chart = Chart.getChart(figure.querySelector("canvas"));
          return figure.hidden || !chart || chart.data.datasets.length === 0;
        }).map(figure => figure.querySelector("figcaption").textContent)""",
    )
    return titles


@pytest.mark.parametrize("name", PAGES)
def test_page_keeps_the_policy(open_admin: Opener, name: str) -> None:
    """What it would refuse is an error of the console, and so fails the test."""
    page = open_admin()
    page.goto("/sync/")  # so that there is a dict
    response = page.goto(PAGES[name])
    assert response is not None
    assert response.status == 200
    assert response.headers["content-security-policy"].startswith("default-src 'none'; ")
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
    if name in WITH_CHARTS:
        assert page.locator("figure[data-chart]").count() > 0
        assert undrawn_charts(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible(open_admin: Opener, name: str) -> None:
    # axe-core itself uses inline styles, which the policy would refuse.
    page = open_admin(bypass_csp=True)
    page.goto("/sync/")
    page.goto(PAGES[name])
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == [], scheme


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_narrow_screen(open_admin: Opener, name: str) -> None:
    page = open_admin(viewport={"width": 390, "height": 800})
    page.goto("/sync/")
    page.goto(PAGES[name])
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    assert undrawn_charts(page) == [] if name in WITH_CHARTS else True


@pytest.mark.parametrize("name", [*WITH_CHARTS, "dicts", "list"])
def test_page_without_scripts_shows_its_tables(open_admin: Opener, name: str) -> None:
    page = open_admin(java_script_enabled=False)
    page.goto(PAGES[name])
    assert page.locator("table:visible").count() > 0
    assert page.locator("figure:visible").count() == 0


def test_charts_follow_the_theme(open_admin: Opener) -> None:
    page = open_admin(color_scheme="light")
    page.goto(PAGES["run"])

    def colour() -> str:
        text: str = page.evaluate(
            "Chart.getChart(document.querySelector('figure canvas')).data.datasets[0].borderColor"
        )
        return text

    light = colour()
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    dark = colour()
    assert dark != light
    page.evaluate("document.documentElement.dataset.theme = 'auto'")
    assert colour() == light
    # With "auto" they follow the system, of whose change the page learns a moment later.
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "dark => Chart.getChart(document.querySelector('figure canvas'))"
        ".data.datasets[0].borderColor === dark",
        arg=dark,
    )


def test_keyboard_reaches_tables_and_details(open_admin: Opener) -> None:
    page = open_admin()
    page.goto(PAGES["run"])
    details = page.locator("details:has(figure)").first
    details.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert details.evaluate("one => one.open")
    # A chart that was drawn while it was hidden has its size now.
    expect(details.locator("canvas").first).not_to_have_js_property("clientHeight", 0)
    region = page.locator(".redisdict-scroll").first
    region.focus()
    assert region.evaluate("one => one === document.activeElement")
    assert region.get_attribute("role") == "region"


def test_every_chart_names_itself_and_its_table(open_admin: Opener) -> None:
    page = open_admin()
    page.goto(PAGES["run"])
    for canvas in page.locator("figure canvas").all():
        assert canvas.get_attribute("role") == "img"
        label = canvas.get_attribute("aria-label") or ""
        assert label.startswith("Chart: ")
        assert label.endswith("Its numbers are in the table that follows.")
