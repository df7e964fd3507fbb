"""What managed services refuse: nothing needs it, or who needs it is told before anything else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from redisdict import (
    ComputedDict,
    ModelDict,
    PersistentDict,
    ServerUnsupported,
    cache_results_of,
    checks,
)
from redisdict.checks import check_servers
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from tests.cache.conftest import entry
from tests.managed.service import ManagedService, refusing
from tests.mapping.conftest import Face
from tests.modelcache.conftest import forget_registrations, shop_in
from tests.near.conftest import make
from tests.shop.models import Product
from tests.waiting import wait_until

#: As Memorystore for Redis and ElastiCache refuse them.
ADMINISTRATION = ("CONFIG", "ACL", "COMMAND", "OBJECT", "MONITOR", "DEBUG", "MEMORY", "WAIT")

#: As sharded caches of OCI refuse them.
SCRIPTS = ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FUNCTION", "SCRIPT")

TEXTS = [
    "ERR unknown command '{}', with args beginning with: 'a' ",
    "NOPERM User default has no permissions to run the '{}' command",
    "ERR {} is not supported in this cluster",
]


@pytest.mark.parametrize("text", TEXTS, ids=["unknown", "noperm", "not supported"])
@pytest.mark.parametrize("hset_enabled", [True, False], ids=["hash", "keys"])
def test_dicts_without_scripts(
    service: ManagedService,
    redis_server: ServerProcess,
    open_backend: Callable[..., Backend],
    runner: asyncio.Runner | None,
    hset_enabled: bool,
    text: str,
) -> None:
    """What takes none works; what does is refused, and nothing is stored."""
    service.rule = refusing(*SCRIPTS, text=text)
    backend = open_backend(service.url)
    face = Face(PersistentDict("d", backend, hset_enabled), runner)
    face.setitem("a", 1)
    face.set_many({"b": 2, "c": 3})
    assert face.incr("a") == 2
    assert face.getitem("a") == 2
    assert face.add("d", 4)
    assert face.setdefault("d", 5) == 4
    assert face.delete("d")
    assert sorted(face.items()) == [("a", 2), ("b", 2), ("c", 3)]
    calls: list[Callable[[], Any]] = [
        lambda: face.compare_and_set("a", 2, 3),
        lambda: face.transform("a", lambda value: value + 1),
        lambda: face.edit("a", lambda value: value),  # unchanged: nothing is asked
    ]
    if hset_enabled:
        calls += [
            lambda: face.set("x", 1, timeout=60),
            lambda: face.set_many({"x": 1}, timeout=60),
            lambda: face.expire(60),
            lambda: face.popitem(),
        ]
    else:
        face.set("x", 1, timeout=60)
        assert face.delete("x")
        calls.append(lambda: face.expire(60))
    for call in calls[:2] + calls[3:]:
        with pytest.raises(ServerUnsupported, match="refuses scripts"):
            call()
    calls[2]()
    for call in (
        lambda: face.get_or_set("y", lambda: 1),
        lambda: _lock(face),
    ):
        with pytest.raises(ServerUnsupported, match="refuses scripts"):
            call()
    assert sorted(face.items()) == [("a", 2), ("b", 2), ("c", 3)]
    with redis_server.client() as client:
        left = list(client.scan_iter(f"{backend.config.key_prefix}*", count=10_000))
    assert len(left) == (1 if hset_enabled else 3)  # no lease was left either
    face.clear()
    if runner is not None:
        runner.run(backend.aclose())


def _lock(face: Face) -> None:
    lock = face.mapping.lock("l")

    async def hold() -> None:
        async with lock:
            pass

    if face.runner is None:
        with lock:
            pass
    else:
        face.runner.run(hold())


def test_caches_without_scripts(service: ManagedService, key_prefix: str) -> None:
    service.rule = refusing(*SCRIPTS)
    with override_settings(CACHES={"default": entry(service.url, key_prefix)}):
        cache: Any = caches["default"]
        cache.set("a", 1, 60)
        cache.set_many({"b": 2})
        assert cache.get_many(["a", "b"]) == {"a": 1, "b": 2}
        assert cache.touch("a", 30)
        with pytest.raises(ServerUnsupported, match="refuses scripts"):
            cache.incr("a")
        with pytest.raises(ServerUnsupported, match="refuses scripts"):
            cache.get_or_set("c", lambda: 3, 60)
        assert cache.get("c") is None
        assert cache.get("a") == 1
        cache.delete_many(["a", "b"])


def test_model_dicts_without_scripts(
    shop_alias: str,
    django_db_blocker: Any,
    service: ManagedService,
    redis_server: ServerProcess,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    service.rule = refusing(*SCRIPTS)
    values = alias_for(service.url)
    aliases = {"default": values}
    with shop_in(shop_alias, django_db_blocker), override_settings(REDISDICT=aliases):
        try:
            made = Product.plain.bulk_create(Product(name=f"{number}") for number in range(80))
            products = ModelDict(Product)
            lists = ModelDict(Product, key="category", many=True)
            cache_results_of(Product)
            computed = ComputedDict("c", depends_on=[Product], compute=lambda: 1)
            calls: list[Callable[[], Any]] = [
                lambda: products[made[0].pk],
                lambda: products.get_many([each.pk for each in made]),
                lambda: lists[1],
                lambda: list(Product.objects.filter(name="1").cached()),
                lambda: computed.get(),
            ]
            calls.append(lambda: Product.objects.filter(pk=made[0].pk).update(stock=7))
            for call in calls:
                with pytest.raises(ServerUnsupported, match="refuses scripts"):
                    call()
            # Others may have scripts, and rows that would be old.
            assert not Product.plain.filter(stock=7).exists()
            with redis_server.client() as client:
                assert list(client.scan_iter(f"{values['KEY_PREFIX']}*", count=10_000)) == []
        finally:
            forget_registrations()


@pytest.mark.parametrize(
    "text", ["ERR unknown command '{}'", "NOPERM no permissions to run the '{}' command"]
)
def test_no_tracking(
    service: ManagedService,
    open_backend: Callable[..., Backend],
    caplog: pytest.LogCaptureFixture,
    text: str,
) -> None:
    """Near is off, says why, and reads go to the server."""
    service.rule = refusing("CLIENT", text=text)
    mapping = make(open_backend(service.url))
    with caplog.at_level(logging.WARNING, "redisdict"):
        mapping["a"] = 1
        assert mapping["a"] == 1
        wait_until(lambda: "CLIENT TRACKING" in mapping.near_stats().reason)
    assert not mapping.near_stats().is_on
    wait_until(lambda: "near is off" in caplog.text)
    assert mapping["a"] == 1
    mapping.clear()


def test_administration_is_refused(
    service: ManagedService,
    open_backend: Callable[..., Backend],
    runner: asyncio.Runner | None,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    service.rule = refusing(*ADMINISTRATION, "CLIENT")
    for hset_enabled in (True, False):
        backend = open_backend(service.url)
        mapping: PersistentDict[str, int] = PersistentDict(f"{hset_enabled}", backend, hset_enabled)
        face = Face(mapping, runner)
        face.set_many({"a": 1, "b": 2}, timeout=60)
        face.set_many({"a": 1, "b": 2})
        assert face.incr("a") == 2
        assert face.pop("b") == 2
        assert face.get_or_set("c", lambda: 3) == 3
        assert face.len() == 2
        _lock(face)
        face.clear()
        if runner is not None:
            runner.run(backend.aclose())
    refused = {name for name in service.names if name in (*ADMINISTRATION, "CLIENT")}
    assert refused <= {"CLIENT"}  # SETINFO, by redis-py, which expects it
    with override_settings(REDISDICT={"default": alias_for(service.url)}):
        messages = check_servers()
    # Nobody may be told of what wasn't found out.
    assert {message.id for message in messages} <= {"redisdict.W003", "redisdict.W004"}


def test_a_server_that_lists_no_commands_has_them_all_the_same() -> None:
    """Upstash answers COMMAND with an empty list."""
    replies: dict[bytes, Any] = {b"INFO": b"redis_version:8.2\r\n", b"COMMAND": []}

    def answer(operation: Any) -> Any:
        reply = None
        try:
            while True:
                reply = replies.get(operation.send(reply)[0], [])
        except StopIteration as stop:
            return stop.value

    assert answer(checks._ask()) == ({"redis_version": "8.2"}, {}, True)


def test_model_dicts_where_little_is_allowed(
    shop_alias: str,
    django_db_blocker: Any,
    service: ManagedService,
    alias_for: Callable[..., dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither CONFIG nor CLIENT nor ACL; INFO as well, of which a note is made."""
    service.rule = refusing(*ADMINISTRATION, "CLIENT", "INFO", "SELECT", "FLUSHDB")
    aliases = {"default": alias_for(service.url)}
    with shop_in(shop_alias, django_db_blocker), override_settings(REDISDICT=aliases):
        try:
            product = Product.objects.create(name="Tea")
            products = ModelDict(Product)
            cache_results_of(Product)
            assert products[product.pk].name == "Tea"
            product.name = "Coffee"
            product.save()
            assert products[product.pk].name == "Coffee"
            assert [each.name for each in Product.objects.filter(stock=0).cached()] == ["Coffee"]
            assert "Let its user call INFO" in caplog.text
        finally:
            forget_registrations()


def test_select_is_refused(service: ManagedService, open_backend: Callable[..., Backend]) -> None:
    """Database 0 is never selected; another one is the error of who has asked for it."""
    service.rule = refusing("SELECT", text="ERR SELECT is not allowed")
    mapping: PersistentDict[str, int] = PersistentDict("d", open_backend(service.url))
    mapping["a"] = 1
    assert "SELECT" not in service.names
    other: PersistentDict[str, int] = PersistentDict(
        "d", open_backend(service.url.replace("/0", "/3"))
    )
    calls: list[Callable[[], Any]] = [lambda: other["a"], lambda: asyncio.run(other.aget("a"))]
    for call in calls:
        with pytest.raises(Exception, match=r"SELECT is not allowed|Invalid Database"):
            call()
    mapping.clear()


def test_flushdb_is_refused(service: ManagedService, key_prefix: str) -> None:
    """`clear()` of a cache takes SCAN and UNLINK, unless it was told to clear the database."""
    service.rule = refusing("FLUSHDB")
    with override_settings(CACHES={"default": entry(service.url, key_prefix)}):
        cache: Any = caches["default"]
        cache.set("a", 1)
        cache.clear()
        assert cache.get("a") is None
    options = {"CLEAR": "database"}
    with override_settings(CACHES={"default": entry(service.url, key_prefix, OPTIONS=options)}):
        cache = caches["default"]
        cache.set("a", 1)
        with pytest.raises(Exception, match="FLUSHDB"):
            cache.clear()
        assert cache.get("a") == 1
        cache.delete("a")
