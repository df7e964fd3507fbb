"""The cache with NEAR in requests: barriers, pages, sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views.decorators.cache import cache_page

from redisdict.cache import DictCache
from redisdict.near.barrier import near_barrier
from redisdict.near.middleware import NearMiddleware
from tests.cache.conftest import Face, entry
from tests.cache.near.conftest import AGES, on, settle, write_elsewhere


@pytest.mark.parametrize("outside", [False, True])
def test_a_request_is_served_what_was_right_when_it_began(
    outside: bool,
    url: str,
    key_prefix: str,
    configure: Callable[..., None],
    elsewhere: Any,
    runner: asyncio.Runner | None,
) -> None:
    configure(default=entry(url, key_prefix, OPTIONS={"NEAR": "request"}))
    cache: Any = caches["default"]
    face = Face(cache, runner)
    with near_barrier():
        on("default")
    write_elsewhere(elsewhere, cache, "k", "old")
    settle(cache)
    if outside:
        assert [face.get("k") for _ in range(2)] == ["old", "old"]
        write_elsewhere(elsewhere, cache, "k", "new")
        assert face.get("k") == "new"
        return
    with near_barrier():
        assert face.get("k") == "old"
        before = cache.near_stats().misses
        assert (face.get("k"), face.get_many(["k"])) == ("old", {"k": "old"})
        assert cache.near_stats().misses == before
    write_elsewhere(elsewhere, cache, "k", "new")
    with near_barrier():
        assert face.get("k") == "new"
    face.cache.clear()


@pytest.mark.parametrize("near", [AGES, "request"])
def test_a_page_is_answered_from_memory(
    near: Any, url: str, key_prefix: str, configure: Callable[..., None]
) -> None:
    configure(default=entry(url, key_prefix, OPTIONS={"NEAR": near}))
    with near_barrier():
        cache = on("default")
    made = []

    @cache_page(100)
    def view(request: HttpRequest) -> HttpResponse:
        made.append(request.path)
        return HttpResponse(f"page {len(made)}")

    site = NearMiddleware(view)

    def get() -> bytes:
        response: Any = site(RequestFactory().get("/page"))
        content: bytes = response.content
        return content

    assert get() == b"page 1"
    settle(cache)
    assert get() == b"page 1"
    before = cache.near_stats()
    assert get() == b"page 1"
    after = cache.near_stats()
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 0)
    cache.clear()
    assert get() == b"page 2"
    cache.clear()


@pytest.mark.django_db
def test_our_engine_asks_the_server_and_djangos_may_be_answered_from_memory(
    cache: DictCache, elsewhere: Any
) -> None:
    from django.contrib.sessions.backends.cache import SessionStore as Djangos

    from redisdict.cache.sessions import SessionStore as Own

    for engine, is_near in ((Own, False), (Djangos, True)):
        session: Any = engine()
        session["user"] = 5
        session.save()
        for _ in range(2):
            assert engine(session.session_key)["user"] == 5
        before = cache.near_stats().hits
        assert engine(session.session_key)["user"] == 5
        assert (cache.near_stats().hits > before) is is_near
        elsewhere.delete(cache.make_key(session.cache_key))  # a logout in another process
        if not is_near:
            assert "user" not in engine(session.session_key)
        settle(cache)
        assert "user" not in engine(session.session_key)
