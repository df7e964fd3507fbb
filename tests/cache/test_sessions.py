"""Django's session engines of caches, on this one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.test import Client, override_settings

from redisdict.cache import DictCache

ENGINES = ["django.contrib.sessions.backends.cache", "django.contrib.sessions.backends.cached_db"]

pytestmark = pytest.mark.django_db


def store_of(engine: str, key: str | None = None) -> SessionBase:
    made: SessionBase = import_module(engine).SessionStore(key)
    return made


@pytest.mark.parametrize("engine", ENGINES)
def test_a_session_of_threads(engine: str, cache: DictCache) -> None:
    session = store_of(engine)
    session["cart"] = {"items": [1, 2], "total": 3.5}
    session.save()
    again = store_of(engine, session.session_key)
    assert again["cart"] == {"items": [1, 2], "total": 3.5}
    assert cache.has_key(again.cache_key)  # type: ignore[attr-defined]  # of cache engines
    again.cycle_key()
    assert again["cart"] == {"items": [1, 2], "total": 3.5}
    assert not store_of(engine).exists(session.session_key or "")
    again.flush()
    assert not cache.keys("*")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("engine", ENGINES)
async def test_a_session_of_tasks(engine: str, cache: DictCache) -> None:
    session = store_of(engine)
    await session.aset("cart", [1])
    await session.asave()
    again = store_of(engine, session.session_key)
    assert await again.aget("cart") == [1]
    await again.aflush()
    assert not await cache.akeys("*")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_site_with_messages_and_a_login(
    engine: str, cache: DictCache, django_user_model: Any
) -> None:
    user = django_user_model.objects.create_superuser("ada", "ada@example.com", "secret")
    with override_settings(SESSION_ENGINE=engine):
        client = Client()
        client.force_login(user)
        assert client.get("/admin/").status_code == 200
        assert cache.keys("*")
        client.logout()
        assert client.get("/admin/").status_code == 302
