"""The page of dicts tells what became of cached models, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings

from redisdict import ModelDict
from tests.admin.dicts.addresses import LIST
from tests.admin.pages import Page
from tests.modelcache.conftest import forget_registrations
from tests.shop.models import Stamp, Tag

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client_with: Callable[..., Client]) -> Client:
    return client_with("view_storeddict")


@pytest.fixture(autouse=True)
def server(valkey_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[None]:
    with override_settings(REDISDICT={"default": alias_for(valkey_url)}):
        yield
    forget_registrations()


def test_what_was_counted_is_shown(viewer: Client) -> None:
    """In a transaction, as this test is, SQLite's rows are read and not kept."""
    stamps = ModelDict(Stamp)
    Stamp.objects.bulk_create([Stamp(code="a"), Stamp(code="b")])
    assert len(stamps.get_many(["a", "b"])) == 2
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop_stamp WHERE code = 'b'")
    table = stamps._lookup().table
    table.counters.hits += 6
    ModelDict(Tag, using="nowhere")
    page = Page(viewer.get(LIST).content)
    stamp, tag = page.rows("Model", "Hit rate")
    assert stamp == {
        "Model": "shop.Stamp",
        "Database": "default",
        "Alias": "default",
        "Hits": "6",
        "Misses": "2",
        "Hit rate": "75.0 %",
        "Stored": "0",
        "Refused": "0",
        "Not kept": "0",
        "Invalidated": "0",
        "Outages": "0",
        "Dropped": "1",
    }
    assert "Statements after which all rows of shop.Stamp were read again" in page.text
    assert "test_model_caches.py:" in page.text
    assert tag["Model"] == "shop.Tag"
    assert "nowhere" in tag["Hits"]
    assert page.inline_code == []


def test_a_project_without_cached_models_is_shown_none(viewer: Client) -> None:
    page = Page(viewer.get(LIST).content)
    assert not page.has_table("Model", "Hit rate")
    assert "Cached models" not in page.text
