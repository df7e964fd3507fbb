"""Caches whose `clear()` deletes dicts: they are found by the settings, and it is so."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import run_checks

from redisdict import PersistentDict
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests

DJANGO_REDIS = "django_redis.cache.RedisCache"
DJANGO = "django.core.cache.backends.redis.RedisCache"
OWN = "redisdict.cache.DictCache"


@pytest.fixture(scope="module")
def server() -> Any:
    """One whose databases may be emptied."""
    arguments = ["--appendonly", "yes"]
    with ServerProcess(program_for_tests("valkey"), arguments=arguments) as server:
        yield server


@pytest.fixture
def port(server: ServerProcess) -> int:
    return int(server.url.rpartition("/")[0].rpartition(":")[2])


def found(settings: Any, alias: dict[str, Any], **entries: dict[str, Any]) -> list[str]:
    settings.REDISDICT = {"shop": alias}
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    settings.CACHES = settings.CACHES | entries
    messages = run_checks(tags=["redisdict_server"])
    assert all(message.id == "redisdict.W007" for message in messages), messages
    return [message.msg for message in messages]


@pytest.mark.parametrize("backend", [DJANGO_REDIS, DJANGO])
def test_it_is_so(backend: str, server: ServerProcess, settings: Any) -> None:
    entry = {"BACKEND": backend, "LOCATION": server.url}
    [text] = found(settings, {"LOCATION": server.url}, pages=entry)
    assert text.startswith('REDISDICT["shop"] has its dicts in the database of CACHES["pages"] (')
    shop: PersistentDict[str, int] = PersistentDict("shop", using="shop")
    shop["a"] = 1
    caches["pages"].clear()
    assert len(shop) == 0


def test_a_borrowed_pool(server: ServerProcess, settings: Any) -> None:
    entry = {"BACKEND": DJANGO_REDIS, "LOCATION": server.url}
    [text] = found(settings, {"CACHE": "pages"}, pages=entry, more=entry)
    assert 'CACHES["pages"] and CACHES["more"]' in text


def test_whatever_the_address_is_written_like(port: int, settings: Any) -> None:
    alias = {"LOCATION": f"redis://127.0.0.1:{port}/1"}
    for entry in (
        {"BACKEND": DJANGO, "LOCATION": f"redis://localhost:{port}?db=1"},
        {"BACKEND": DJANGO, "LOCATION": f"redis://localhost:{port}", "OPTIONS": {"db": "1"}},
        {"BACKEND": DJANGO, "LOCATION": [f"redis://localhost:{port}/1", "redis://other:1/0"]},
        {"BACKEND": DJANGO, "LOCATION": f"redis://localhost:{port}/1,redis://other:1/0"},
        {"BACKEND": "django_valkey.cache.ValkeyCache", "LOCATION": f"valkey://localhost:{port}/1"},
        {"BACKEND": DJANGO_REDIS, "LOCATION": f"redis://:secret@localhost:{port}/1"},
        {
            "BACKEND": OWN, "LOCATION": f"redis://localhost:{port}/1",
            "OPTIONS": {"CLEAR": "database"},
        },
        {"BACKEND": OWN, "LOCATION": "alias:shop", "OPTIONS": {"CLEAR": "database"}},
    ):  # fmt: skip
        assert len(found(settings, alias, pages=entry)) == 1, entry


def test_another_database_or_another_clear(port: int, settings: Any) -> None:
    alias = {"LOCATION": f"redis://127.0.0.1:{port}/1"}
    for entry in (
        {"BACKEND": DJANGO, "LOCATION": f"redis://127.0.0.1:{port}/0"},
        {"BACKEND": DJANGO_REDIS, "LOCATION": "redis://127.0.0.1:1/1"},
        {"BACKEND": DJANGO, "LOCATION": "nonsense"},
        {"BACKEND": OWN, "LOCATION": f"redis://127.0.0.1:{port}/1"},
        {"BACKEND": OWN, "LOCATION": 5, "OPTIONS": {"CLEAR": "database"}},
        {"BACKEND": "tests.nothing", "LOCATION": f"redis://127.0.0.1:{port}/1"},
        {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    ):
        assert found(settings, alias, pages=entry) == [], entry
