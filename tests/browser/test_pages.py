"""Every page in a real browser: charts drawn, nothing refused, usable by everybody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.browser.site import Site

pytestmark = pytest.mark.deep

AXE = (Path(__file__).parent / "axe-core" / "axe.min.js").read_text()

RUNS = "/admin/redisdict/benchmarkrun/"
DICTS = "/admin/redisdict/storeddict/"
AUDITS = "/admin/redisdict/auditcount/"

#: Each page by what leads to it.
PAGES = {
    "list": RUNS,
    "run": f"{RUNS}1/change/",
    "compare": f"{RUNS}compare/?run=1&run=2",
    "trend": f"{RUNS}trend/",
    "start": f"{RUNS}add/",
    "delete": f"{RUNS}1/delete/",
    "dicts": DICTS,
    "audits": AUDITS,
    "items": f"{DICTS}_5B_22default_22_2C%20_22hash_22_2C%20_22visits_22_5D/change/",
    "item": (
        f"{DICTS}_5B_22default_22_2C%20_22hash_22_2C%20_22visits_22_5D/item/?field=" + b"sync".hex()
    ),
    "delete-item": (
        f"{DICTS}_5B_22default_22_2C%20_22hash_22_2C%20_22visits_22_5D/delete-item/?field="
        + b"sync".hex()
    ),
    "site": "/",
    "sync": "/sync/",
    "async": "/async/",
}

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

WITH_CHARTS = ("run", "trend", "audits")

#: What a page of these may be high, in pixels, on a screen 1280 pixels wide.
GREATEST_HEIGHT = 2400


def violations(page: Page) -> list[str]:
    """What axe-core finds, each with the first element it is about."""
    page.evaluate(AXE)
    # A colour that is on its way from one theme to the other has neither one's contrast.
    page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(result => result.violations)")
    return [f"{one['id']} ({one['impact']}): {one['nodes'][0]['html']}" for one in found]


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


@pytest.fixture(scope="module")
def full_runs(site: Site) -> tuple[str, str]:
    """The addresses of a run of everything, and of its comparison with one that is twice as fast.

    All is decided in them, on however busy a machine.
    """
    code = (
        "from tests.admin.factories import make_full_run as make\n"
        "print('pks', make('full').pk, make('faster', faster_by=1.0).pk)"
    )
    first, second = re.findall(r"\d+", site.manage("shell", "-c", code).rpartition("pks")[2])
    return f"{RUNS}{first}/change/", f"{RUNS}compare/?run={first}&run={second}"


def test_pages_of_full_runs_are_read_at_a_glance(
    open_admin: Opener, full_runs: tuple[str, str]
) -> None:
    page = open_admin()
    for address in full_runs:
        page.goto(address)
        assert page.locator(".redisdict-marks:visible").count() > 7
        assert page.evaluate("document.documentElement.scrollHeight") <= GREATEST_HEIGHT


@pytest.mark.parametrize("name", ["run", "compare"])
def test_page_is_read_at_a_glance(open_admin: Opener, name: str) -> None:
    """What decides nothing is folded away; the picture stands on the first screen."""
    page = open_admin()
    page.goto(PAGES[name])
    assert page.evaluate("document.documentElement.scrollHeight") <= GREATEST_HEIGHT
    assert page.locator("details[open]:has(table)").count() == 0
    for summary in page.locator("#content-main summary").all():
        summary.press("Enter")
    assert page.locator("#content-main details:not([open])").count() == 0


def test_conclusions_stand_on_the_first_screen(open_admin: Opener) -> None:
    page = open_admin()
    page.goto(PAGES["run"])
    marks = page.locator(".redisdict-marks path")
    assert marks.count() > 0
    expect(marks.first).to_be_in_viewport()
    expect(page.locator(".redisdict-axis").first).to_be_in_viewport()
    # Each mark lies within its picture.
    for picture in page.locator(".redisdict-marks:visible").all():
        box = picture.bounding_box()
        assert box is not None
        for mark in picture.locator("path").all():
            inner = mark.bounding_box()
            assert inner is not None
            assert box["x"] <= inner["x"]
            assert inner["x"] + inner["width"] <= box["x"] + box["width"] + 1


@pytest.mark.parametrize("name", ["run", "trend", "dicts", "items"])
def test_figures_are_on_a_narrow_screen(open_admin: Opener, name: str) -> None:
    """Not only names: nobody has to scroll sideways to a figure."""
    page = open_admin(viewport={"width": 390, "height": 800})
    page.goto("/sync/")
    page.goto(PAGES[name])
    figures = page.locator("#content-main td.figure:visible")
    assert figures.count() > 0
    for figure in figures.all():
        box = figure.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


@pytest.mark.parametrize("name", [*WITH_CHARTS, "compare", "dicts", "list"])
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
    details = page.locator("#content-main details:has(figure)").first
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
