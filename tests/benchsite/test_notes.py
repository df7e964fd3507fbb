"""The demo pages: one list of notes, read and written by sync and by async views."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient, Client, override_settings

from benchsite.middleware import CONTENT_SECURITY_POLICY
from benchsite.notes import LONGEST_NOTE, notes

HOSTILE = "<script>alert(1)</script> \"quoted\" 'single' & café ☃"


@pytest.fixture(autouse=True)
def server(valkey_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[None]:
    with override_settings(REDISDICT={"default": alias_for(valkey_url)}):
        yield


def visit_count(html: str) -> int:
    match = re.search(r"This page was read (\d+) time", html)
    assert match
    return int(match[1])


def test_index_links_to_every_page(client: Client) -> None:
    html = client.get("/").content.decode()
    for link in ("/sync/", "/async/", "/admin/redisdict/benchmarkrun/"):
        assert f'href="{link}"' in html


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_note_is_added_shown_and_deleted(client: Client, mode: str) -> None:
    page = f"/{mode}/"
    assert "No notes yet." in client.get(page).content.decode()

    assert client.post(f"{page}add/", {"text": "  Buy milk  "}).headers["Location"] == page
    html = client.get(page).content.decode()
    assert '<p dir="auto">Buy milk</p>' in html
    [key] = list(notes)
    assert f'name="key" value="{key}"' in html

    assert client.post(f"{page}delete/", {"key": key}).headers["Location"] == page
    assert "No notes yet." in client.get(page).content.decode()
    assert len(notes) == 0


def test_sync_and_async_pages_show_the_same_notes(client: Client) -> None:
    client.post("/sync/add/", {"text": "written by a sync view"})
    client.post("/async/add/", {"text": "written by a coroutine"})
    for page in ("/sync/", "/async/"):
        html = client.get(page).content.decode()
        newest, oldest = html.index("by a coroutine"), html.index("by a sync view")
        assert newest < oldest


async def test_async_page_works_in_an_event_loop_that_stays(async_client: AsyncClient) -> None:
    await async_client.post("/async/add/", {"text": "kept"})
    for expected in (1, 2, 3):
        html = (await async_client.get("/async/")).content.decode()
        assert visit_count(html) == expected
        assert "kept" in html


def test_every_visit_of_a_page_counts_once(client: Client) -> None:
    assert [visit_count(client.get("/sync/").content.decode()) for _ in range(3)] == [1, 2, 3]
    assert visit_count(client.get("/async/").content.decode()) == 1


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_empty_notes_and_unknown_keys_change_nothing(client: Client, mode: str) -> None:
    assert client.post(f"/{mode}/add/", {"text": "   "}).status_code == 302
    assert client.post(f"/{mode}/delete/", {"key": "no such key"}).status_code == 302
    assert len(notes) == 0


def test_long_notes_are_cut(client: Client) -> None:
    client.post("/sync/add/", {"text": "x" * (LONGEST_NOTE + 1)})
    [note] = notes.values()
    assert note["text"] == "x" * LONGEST_NOTE


def test_markup_in_a_note_is_text(client: Client) -> None:
    client.post("/sync/add/", {"text": HOSTILE})
    html = client.get("/sync/").content.decode()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &quot;quoted&quot;" in html
    assert "café ☃" in html


@pytest.mark.parametrize("action", ["add", "delete"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_changes_need_a_post_with_the_csrf_token(mode: str, action: str) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.get(f"/{mode}/{action}/").status_code == 405
    assert client.post(f"/{mode}/{action}/", {"text": "x"}).status_code == 403


@pytest.mark.parametrize("page", ["/", "/sync/", "/async/", "/admin/login/"])
def test_every_page_has_the_strict_policy(client: Client, db: None, page: str) -> None:
    assert client.get(page).headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_server_that_is_away_is_a_clear_page(client: Client, mode: str, tmp_path: Path) -> None:
    with override_settings(REDISDICT={"default": {"LOCATION": f"unix://{tmp_path}/no.sock"}}):
        response = client.get(f"/{mode}/")
    assert response.status_code == 503
    html = response.content.decode()
    assert "The dict's server doesn't answer" in html
    assert f"{tmp_path}/no.sock" in html
    assert "Traceback" not in html


def test_importing_the_site_connects_to_nothing(tmp_path: Path) -> None:
    program = (
        "import socket\n"
        "def refuse(*_): raise AssertionError('something connects at import')\n"
        "socket.socket.connect = refuse\n"
        "import django; django.setup()\n"
        "import benchsite.urls, benchsite.wsgi, benchsite.asgi\n"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        env={
            "DJANGO_SETTINGS_MODULE": "benchsite.settings",
            "BENCHSITE_DATABASE": str(tmp_path / "site.sqlite3"),
            "REDISDICT_LOCATION": f"embedded://{tmp_path}/valkey",
        },
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert not (tmp_path / "valkey").exists()
