"""A browser on a running site; whatever it complains about fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from tests.bench.short import write_short_spec
from tests.browser.site import PASSWORD, USER, Site, running_site
from tests.missing import end_without
from tests.waiting import LIMIT_S

CHROMIUM = Path("/usr/bin/chromium")

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Two runs, measured for real, and what audits of some days have counted.
MEASURED = """
for label in ("before", "after"):
    try:
        call_command("redisbench", "--spec", sys.argv[1], "--service", "valkey", "--label", label)
    except SystemExit as end:
        assert not end.code, end.code
from datetime import timedelta
from django.utils import timezone
from redisdict.models import AuditCount
for day in range(40):
    AuditCount.objects.create(
        hour=timezone.now() - timedelta(days=day), model="shop.Product", database="default",
        alias="default", passes=60, judged=100_000 + 1_000 * day, disagreed=day % 7 == 3,
        by_age={"under_1s": 1} if day % 7 == 3 else {},
    )
"""

#: Opens an empty page, logged in; with options in a context of its own, which has them.
Opener = Callable[..., Page]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Until the end of this package: while it lasts, an event loop runs in this thread.
    if not CHROMIUM.exists():
        end_without(f"{CHROMIUM} isn't there; install Debian's package `chromium`.")
    expect.set_options(timeout=LIMIT_S * 1000)
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS) as browser:
            yield browser


@pytest.fixture(scope="package")
def site(
    tmp_path_factory: pytest.TempPathFactory, valkey_url: str, browser: Browser
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    with running_site(directory, valkey_url, MEASURED, write_short_spec(directory)) as site:
        yield site


@pytest.fixture(scope="package")
def logged_in(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    """A context of an administrator, with what it has read of the site in its cache."""
    viewport: ViewportSize = {"width": 1280, "height": 900}
    with browser.new_context(base_url=site.url, viewport=viewport) as context:
        context.set_default_timeout(LIMIT_S * 1000)
        page = context.new_page()
        page.goto("/admin/")
        page.fill("#id_username", USER)
        page.fill("#id_password", PASSWORD)
        page.click("input[type=submit]")
        page.wait_for_url("**/admin/")
        page.close()
        yield context


@pytest.fixture
def no_notes(site: Site, valkey_url: str) -> None:
    """The site has no notes, whichever tests were before."""
    backend = Backend(parse_alias("site", {"LOCATION": valkey_url, "KEY_PREFIX": "benchsite"}))
    PersistentDict("notes", backend).clear()
    backend.close()


@pytest.fixture
def open_admin(browser: Browser, site: Site, logged_in: BrowserContext) -> Iterator[Opener]:
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_admin(**options: Any) -> Page:
            # Each context has processes of its own, and reads all styles and scripts anew.
            context = new_context(**options) if options else logged_in
            page = context.new_page()
            stack.callback(page.close)
            # Violations of the content security policy come as errors of the console, too.
            page.on("console", lambda message: _note(complaints, message.type, message.text))
            page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
            return page

        def new_context(**options: Any) -> BrowserContext:
            options.setdefault("viewport", {"width": 1280, "height": 900})
            options.setdefault("storage_state", logged_in.storage_state())
            context = browser.new_context(base_url=site.url, **options)
            context.set_default_timeout(LIMIT_S * 1000)
            stack.callback(context.close)
            return context

        yield open_admin
    assert complaints == []


def _note(complaints: list[str], kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        complaints.append(f"{kind}: {text}")
