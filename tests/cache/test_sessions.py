"""Django's session engines of caches, on this one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.test import Client, override_settings

from redisdict.cache import DictCache

OWN = "redisdict.cache.sessions"
ENGINES = [
    "django.contrib.sessions.backends.cache",
    "django.contrib.sessions.backends.cached_db",
    OWN,
]

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


# The engine of this package


def commands_of(cache: DictCache, call: Any) -> list[str]:
    """The names of the commands that a call sends, by the server's own account."""
    before = cache.client.info("commandstats")
    call()
    after = cache.client.info("commandstats")
    return sorted(
        name.removeprefix("cmdstat_")
        for name, counted in after.items()
        if counted["calls"] > before.get(name, {"calls": 0})["calls"]
        and name not in ("cmdstat_info", "cmdstat_ping")  # a near cache of an earlier test PINGs
    )


def test_a_change_is_one_command(cache: DictCache) -> None:
    session = store_of(OWN)
    session["a"] = 1
    session.save()
    again = store_of(OWN, session.session_key)
    again["b"] = 2
    assert commands_of(cache, again.save) == ["set"]
    assert dict(store_of(OWN, session.session_key).items()) == {"a": 1, "b": 2}


def test_what_is_as_it_was_only_lives_longer(cache: DictCache) -> None:
    session = store_of(OWN)
    session["a"] = [1]
    session.set_expiry(50)
    session.save()
    idle = store_of(OWN, session.session_key)
    assert idle["a"] == [1]
    busy = store_of(OWN, session.session_key)
    busy["b"] = 2
    busy.save()
    cache.expire(idle.cache_key, 5)  # type: ignore[attr-defined]  # of cache engines
    assert commands_of(cache, idle.save) == ["pexpire"]
    found = store_of(OWN, session.session_key)
    assert found["b"] == 2  # which rewriting would have undone
    assert 5 < cache.ttl(found.cache_key) <= 50  # type: ignore[attr-defined, operator]  # as above
    found["a"].append(2)  # deep inside, which Django doesn't notice
    found.save()
    assert store_of(OWN, session.session_key)["a"] == [1, 2]


@pytest.mark.parametrize("changes", [True, False])
async def test_a_logout_is_not_undone(changes: bool, cache: DictCache) -> None:
    session = store_of(OWN)
    await session.aset("user", 1)
    await session.asave()
    other = store_of(OWN, session.session_key)
    assert await other.aget("user") == 1
    await session.aflush()
    if changes:
        await other.aset("seen", True)
    with pytest.raises(UpdateError):
        await other.asave()
    assert not await cache.akeys("*")


async def test_a_key_that_is_taken_is_not_overwritten(cache: DictCache) -> None:
    session = store_of(OWN)
    await session.asave()
    other = store_of(OWN, session.session_key)
    with pytest.raises(CreateError):
        await other.asave(must_create=True)


def test_what_cannot_be_read_begins_anew(cache: DictCache) -> None:
    session = store_of(OWN)
    session["a"] = 1
    session.save()
    key = cache.make_key(session.cache_key)  # type: ignore[attr-defined]  # of cache engines
    cache.client.set(key, b"\x80damaged")
    again = store_of(OWN, session.session_key)
    assert again.get("a") is None
    assert again.session_key is None


def test_with_another_backend_it_is_djangos() -> None:
    memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    with override_settings(CACHES={"default": memory}):
        session = store_of(OWN)
        session["a"] = 1
        session.save()
        again = store_of(OWN, session.session_key)
        assert again["a"] == 1
        again.flush()
        with pytest.raises(UpdateError):
            session.save()
