"""What people do with the admin, from a measured run to a deleted item."""

from __future__ import annotations

import csv
import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.browser.site import PASSWORD, USER
from tests.waiting import LIMIT_S

RUNS = "/admin/redisdict/benchmarkrun/"
FINISHED = 2 * LIMIT_S * 1000  # milliseconds within which a short run is over

pytestmark = pytest.mark.usefixtures("no_notes")


def test_visitor_logs_in(open_admin: Opener) -> None:
    page = open_admin(storage_state=None)
    page.goto(RUNS)
    page.fill("#id_username", USER)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    expect(page.get_by_role("heading", name="Select benchmark run to view")).to_be_visible()


def test_runs_are_listed_opened_compared_and_followed(open_admin: Opener) -> None:
    page = open_admin()
    page.goto(RUNS)
    rows = page.locator("#result_list tbody tr")
    expect(rows.filter(has_text="before")).to_have_count(1)

    page.click("#result_list >> text=before")
    expect(page.get_by_role("heading", name="Conclusions")).to_be_visible()
    expect(page.get_by_role("heading", name="Services and pools")).to_be_visible()
    first = page.locator("table.redisdict-results").first
    expect(first.locator("thead th").nth(3)).to_have_text("SET (ops/s)")
    assert re.search(r"Valkey\s+SYNC\s+ConnectionPool\s+[\d,]+\s+1\.000", first.inner_text())

    page.goto(RUNS)
    for label in ("before", "after"):
        rows.filter(has_text=label).locator("input.action-select").check()
    page.select_option("select[name=action]", "compare")
    page.click("button[name=index]")
    expect(page.get_by_role("heading", name=re.compile("^after .* against before"))).to_be_visible()
    for summary in page.locator("#content-main summary").all():
        summary.click()
    verdicts = page.locator("td[class^=verdict-]").all_inner_texts()
    assert len(verdicts) > 10
    known = ("faster", "slower", "same", "undecided", "not comparable")
    assert all(verdict.startswith(known) for verdict in verdicts)

    page.goto(RUNS)
    page.click("text=Trend")
    page.select_option("#trend-cell", label="Valkey · SYNC BlockingConnectionPool · GET")
    page.click("input[value=Show]")
    expect(page.locator("table.redisdict-figures tbody tr")).to_have_count(2)


def test_run_is_exported(open_admin: Opener) -> None:
    page = open_admin()
    page.goto(f"{RUNS}1/change/")
    for link, start in (
        ("CSV", "run,label,started_at"),
        ("JSON", "{"),
        ("Markdown", "# Benchmark Results"),
    ):
        with page.expect_download() as download:
            page.get_by_role("link", name=link, exact=True).click()
        path = download.value.path()
        assert path.read_text().startswith(start), link
        assert download.value.suggested_filename.startswith("benchmark-run-1-before."), link
        if link == "CSV":
            with path.open(newline="") as file:
                assert any(float(row["ops_per_second"] or 0) > 0 for row in csv.DictReader(file))


@pytest.mark.deep
def test_run_is_started_and_watched(open_admin: Opener) -> None:
    page = open_admin()
    page.goto(RUNS)
    page.click("text=Start a run")
    page.fill("#id_label", "from the admin")
    keep_only(page, "Valkey")
    page.click("input[value=Start]")
    section = page.locator("[data-progress-url]")
    expect(section).to_contain_text("This run is in progress")
    expect(section).to_contain_text("Valkey: pools", timeout=FINISHED)
    expect(section.locator("progress")).not_to_have_js_property("value", 0, timeout=FINISHED)
    # The page shows the results by itself when the run is over.
    expect(section).to_have_count(0, timeout=FINISHED)
    expect(page.get_by_text("finished", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="PersistentDict")).to_be_visible()


@pytest.mark.deep
def test_run_is_started_and_cancelled(open_admin: Opener) -> None:
    page = open_admin()
    page.goto(RUNS)
    page.click("text=Start a run")
    keep_only(page, "Valkey")
    page.select_option("#id_preset", "rigorous")
    page.click("input[value=Start]")
    section = page.locator("[data-progress-url]")
    expect(section).to_contain_text("Valkey: pools", timeout=FINISHED)
    page.click("input[value='Cancel the run']")
    expect(page.get_by_text("The run is asked to end.")).to_be_visible()
    expect(section).to_have_count(0, timeout=FINISHED)
    expect(page.get_by_text("interrupted", exact=True)).to_be_visible()
    expect(page.get_by_text("interrupted by SIGTERM")).to_be_visible()


def keep_only(page: Page, service: str) -> None:
    boxes = page.locator("#id_services input")
    expect(boxes.first).to_be_visible()  # all() takes what is there and waits for nothing
    for box in boxes.all():
        box.uncheck()
    page.locator("#id_services label", has_text=re.compile(rf"^\s*{service} ")).click()


def test_dict_is_browsed_and_an_item_deleted(open_admin: Opener) -> None:
    page = open_admin()
    for text in ("keep this", "<b>drop</b> this"):
        page.goto("/sync/")
        page.fill("#text", text)
        page.click("text=Add")
    page.goto("/admin/")
    page.click("#content >> text=Persistent dicts")
    expect(page.locator("section", has_text="Aliases and their servers")).to_contain_text("Valkey")
    page.click("section >> text=notes")

    rows = page.locator("table.redisdict-items tbody tr")
    expect(rows).to_have_count(2)
    dropped = rows.filter(has_text="<b>drop</b> this")
    key = dropped.locator("th").inner_text()
    page.fill("#item-pattern", key.strip("'")[:8])
    page.click("input[value=Search]")
    expect(rows).to_have_count(1)

    page.click("text=Delete >> nth=-1")
    expect(page.get_by_text("Delete this item of the dict notes?")).to_be_visible()
    page.click("input[value='Yes, delete it']")
    expect(page.get_by_text(f"The item {key} is deleted.")).to_be_visible()
    expect(rows).to_have_count(1)
    page.goto("/async/")
    expect(page.get_by_text("keep this", exact=True)).to_be_visible()
    expect(page.get_by_text("drop")).to_have_count(0)


def test_item_is_edited_and_a_change_meanwhile_is_told(open_admin: Opener) -> None:
    page = open_admin()
    page.goto("/sync/")
    page.fill("#text", "first version")
    page.click("text=Add")
    page.goto("/admin/redisdict/storeddict/")
    page.click("section >> text=notes")
    row = page.locator("table.redisdict-items tbody tr").filter(has_text="first version")
    key = row.locator("th").inner_text()
    row.locator("th a").click()
    expect(page.get_by_role("heading", name=f"Item {key}")).to_be_visible()
    address = page.url
    value = page.get_by_role("textbox", name="Value")
    original = value.input_value()
    assert "first version" in original

    value.fill(original.replace("first version", "second version"))
    value.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # on the button, reached by keyboard alone
    expect(page.get_by_text(f"The item {key} is changed.")).to_be_visible()
    page.goto("/async/")
    expect(page.get_by_text("second version", exact=True)).to_be_visible()

    page.goto(address)
    late = open_admin()
    late.goto(address)
    page.get_by_role("textbox", name="Value").fill("nobody's literal")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("isn't a Python literal")).to_be_visible()
    page.get_by_role("textbox", name="Value").fill(
        original.replace("first version", "third version")
    )
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(f"The item {key} is changed.")).to_be_visible()

    late.get_by_role("textbox", name="Value").fill(original.replace("first version", "too late"))
    late.get_by_role("button", name="Save").click()
    expect(late.get_by_role("alert")).to_contain_text("was changed meanwhile")
    expect(late.locator("#content-main pre")).to_contain_text("third version")
    assert "too late" in late.get_by_role("textbox", name="Value").input_value()


def test_items_are_exported(open_admin: Opener) -> None:
    page = open_admin()
    page.goto("/sync/")
    page.goto("/admin/redisdict/storeddict/")
    page.click("section >> text=visits")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export", exact=True).click()
    assert download.value.suggested_filename == "visits.jsonl"
    items = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert any(item["key"] == "sync" and item["value"] > 0 for item in items)


def test_note_is_added_and_deleted_on_the_async_page(open_admin: Opener) -> None:
    page = open_admin()
    page.goto("/async/")
    page.fill("#text", "by a coroutine")
    page.click("text=Add")
    page.get_by_role("button", name="Delete the note “by a coroutine”").click()
    expect(page.get_by_text("by a coroutine", exact=True)).to_have_count(0)
