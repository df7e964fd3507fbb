"""Entries of CACHES: what is refused and how, what is shared, what the system checks say."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import Error, run_checks
from django.core.checks import Warning as CheckWarning
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

import redisdict
from redisdict.cache import DictCache, checks
from redisdict.connections.registry import get_backend
from redisdict.exceptions import ConfigurationError
from tests.cache.conftest import Face, entry

SERVER = "redis://127.0.0.1:1/0"

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"OPTIONS": {"SERIALISER": "pickle"}}, "'SERIALISER'; did you mean 'SERIALIZER'"),
    ({"OPTIONS": {"serializer": "pickle"}}, 'did you mean "SERIALIZER"'),
    ({"OPTIONS": {"compressor": "zlib"}}, 'did you mean "COMPRESSOR"'),
    ({"OPTIONS": {"SERIALIZER": "pickel"}}, "did you mean 'pickle'"),
    ({"OPTIONS": {"SERIALIZER": 5}}, "a name or a dotted path"),
    ({"OPTIONS": {"COMPRESSOR": "zlip"}}, "did you mean 'zlib'"),
    (
        {"OPTIONS": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}},
        "another package's; give 'json'",
    ),
    ({"OPTIONS": {"CLIENT_CLASS": "x"}}, "one client for all"),
    ({"OPTIONS": {"PASSWORD": "secret"}}, 'did you mean "password"'),
    ({"OPTIONS": {"KEY_PREFIX": "x"}}, "beside OPTIONS"),
    ({"OPTIONS": {"max_conections": 5}}, "max_conections"),
    ({"OPTIONS": {"POOL_CLASS": "nowhere.Pool"}}, r'\["OPTIONS"\]\["POOL_CLASS"\]'),
    ({"OPTIONS": {"POOL_CLASS": "builtins.dict"}}, r'\["OPTIONS"\]\["POOL_CLASS"\].*subclass'),
    ({"OPTIONS": {"RETRY_FOR": "long"}}, r'\["OPTIONS"\]\["RETRY_FOR"\]'),
    ({"OPTIONS": {"READ_FROM": "django_redis"}}, "did you mean 'django-redis'"),
    ({"OPTIONS": {"WRITE_FOR": "django-redis"}}, '"SERIALIZER": "pickle" as well'),
    ({"OPTIONS": {"CLEAR": "all"}}, "'keys' or 'database' is expected"),
    ({"OPTIONS": {"CLEAR": None}}, "'keys' or 'database' is expected"),
    ({"OPTIONS": {"IGNORE_EXCEPTIONS": "yes"}}, "True or False"),
    ({"OPTIONS": {"DURABLE": "disk"}}, r'\["DURABLE"\]'),
    ({"OPTIONS": ["SERIALIZER"]}, "a dict is expected"),
    ({"OPTIONS": {5: 6}}, "names are expected"),
    ({"SERIALIZER": "pickle"}, "belongs into its"),
    ({"LOCATION": ""}, "names no server"),
    ({"LOCATION": []}, "names no server"),
    ({"LOCATION": None}, "names no server"),
    ({"LOCATION": "127.0.0.1:6379"}, "no scheme"),
    ({"LOCATION": "http://127.0.0.1"}, "scheme"),
    ({"LOCATION": "alias:nowhere"}, "nowhere"),
    ({"LOCATION": "alias:default", "OPTIONS": {"max_connections": 5}}, "'max_connections'"),
    ({"LOCATION": "alias:default", "OPTIONS": {"POOL_CLASS": "x"}}, "'POOL_CLASS'"),
]


def messages(beginning: str) -> list[Any]:
    """What the system checks say under an identity that begins so."""
    found = run_checks(tags=["redisdict", "caches"])
    return [each for each in found if str(each.id).startswith(beginning)]


@pytest.mark.parametrize(("values", "message"), WRONG, ids=[each[1] for each in WRONG])
def test_what_is_refused(values: dict[str, Any], message: str) -> None:
    with override_settings(
        CACHES={"default": entry(SERVER), "wrong": {**entry(SERVER), **values}},
        REDISDICT={"default": {"LOCATION": SERVER}},
    ):
        with pytest.raises(ConfigurationError, match=message):
            caches["wrong"].set("k", 1)
        found = [
            each for each in run_checks(tags=["redisdict", "caches"]) if each.id == "redisdict.E004"
        ]
        assert len(found) == 1
        assert isinstance(found[0], Error)
        with pytest.raises(ConfigurationError, match=message):
            raise ConfigurationError(found[0].msg)
        assert "secret" not in found[0].msg
        with pytest.raises(SystemCheckError, match=r"redisdict\.E004"):
            call_command("check", tags=["redisdict"])


def test_an_entry_is_named_beside_broken_ones() -> None:
    with override_settings(
        CACHES={"broken": "x", "default": {**entry(SERVER), "OPTIONS": {"NEAR": "nearby"}}}
    ):
        with pytest.raises(ConfigurationError, match=r'^CACHES\["default"\]\["OPTIONS"\]'):
            caches["default"].get("k")


def test_what_is_right_has_no_complaint() -> None:
    options = {
        "SERIALIZER": "json",
        "COMPRESSOR": "zlib",
        "POOL_CLASS": "redisdict.pools.ConnectionPool",
        "RETRY_FOR": 2,
        "CLEAR": "database",
        "IGNORE_EXCEPTIONS": True,
        "READ_FROM": "django-redis+json",
        "MAX_ENTRIES": 5,
        "CULL_FREQUENCY": 2,
        "max_connections": 5,
        "socket_timeout": 1,
    }
    with override_settings(
        CACHES={
            "default": entry(SERVER, OPTIONS=options),
            "several": entry(f"{SERVER},{SERVER};{SERVER}"),
            "list": entry(SERVER, LOCATION=[SERVER, SERVER]),
            "sentinel": entry("redis+sentinel://a:1,b:2,c:3/shop/0"),
            "alias": entry("alias:default", OPTIONS={"SERIALIZER": "pickle", "CLEAR": "keys"}),
            "others": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        },
        REDISDICT={"default": {"LOCATION": "unix:///tmp/s.sock"}},
    ):
        assert [
            each
            for each in run_checks(tags=["redisdict", "caches"])
            if str(each.id).startswith("redisdict.")
        ] == []


@pytest.mark.parametrize("options", [{"SERIALIZER": "pickle"}, {"READ_FROM": "django-redis"}])
@pytest.mark.parametrize("url", [SERVER, "unix:///tmp/s.sock"])
def test_pickles_over_the_network_are_warned_of(options: dict[str, Any], url: str) -> None:
    with override_settings(CACHES={"default": entry(url, OPTIONS=options)}):
        found = [
            each for each in run_checks(tags=["redisdict", "caches"]) if each.id == "redisdict.W001"
        ]
    assert len(found) == (url == SERVER)
    assert all(isinstance(each, CheckWarning) for each in found)


def test_django_makes_many_objects_and_they_have_one_pool(cache: DictCache) -> None:
    pools = [cache._store.backend.pool()]

    def note() -> None:
        made: Any = caches["default"]
        assert made is not cache
        made.set("k", 1)
        pools.append(made._store.backend.pool())

    threads = [threading.Thread(target=note) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pools) == 4
    assert all(pool is pools[0] for pool in pools)


def test_entries_that_lead_to_one_server_alike_have_one_pool(
    server_url: str, key_prefix: str, configure: Any
) -> None:
    configure(
        a=entry(server_url, key_prefix, OPTIONS={"socket_timeout": 3}),
        b=entry(server_url, f"{key_prefix}b", TIMEOUT=5, OPTIONS={"socket_timeout": 3}),
        c=entry(server_url, key_prefix, OPTIONS={"socket_timeout": 4}),
        d=entry(server_url, key_prefix, OPTIONS={"socket_timeout": 3, "SERIALIZER": "pickle"}),
        default=entry(server_url, key_prefix),
    )
    pools = {name: caches[name]._store.backend.pool() for name in "abcd"}  # type: ignore[attr-defined]
    assert pools["a"] is pools["b"] is pools["d"]
    assert pools["c"] is not pools["a"]


def test_an_alias_of_redisdict(server_url: str, key_prefix: str, runner: Any) -> None:
    with override_settings(
        REDISDICT={"shop": {"LOCATION": server_url, "SERIALIZER": "json", "COMPRESSOR": "zlib"}},
        CACHES={
            "default": entry("alias:shop", key_prefix),
            "own": entry("alias:shop", key_prefix, OPTIONS={"SERIALIZER": "pickle"}),
        },
    ):
        made: Any = caches["default"]
        assert made._store.backend is get_backend("shop")
        made.set("k", {"a": "b" * 5000})
        assert made.get("k") == {"a": "b" * 5000}
        assert made.client.strlen(made.make_key("k")) < 500
        with pytest.raises(redisdict.SerializationError, match='serializer "json"'):
            made.set("k", {1, 2})
        own: Any = caches["own"]
        own.set("set", {1, 2})
        assert own.get("set") == {1, 2}
        made.clear()


def test_handles_find_their_server_anew(redis_url: str, valkey_url: str, key_prefix: str) -> None:
    with override_settings(
        CACHES={"default": entry("alias:shop", key_prefix)},
        REDISDICT={"shop": {"LOCATION": redis_url}},
    ):
        made: Any = caches["default"]
        made.set("k", "redis")
        with override_settings(REDISDICT={"shop": {"LOCATION": valkey_url}}):
            assert made.get("k") is None
            made.set("k", "valkey")
            assert made.get("k") == "valkey"
            made.clear()
        assert made.get("k") == "redis"
        made.clear()


def test_close_keeps_connections(cache: DictCache) -> None:
    cache.set("k", 1)
    connections = cache.client.client_list
    before = {each["id"] for each in connections()}
    for _ in range(3):
        cache.close()
        assert cache.get("k") == 1
    assert {each["id"] for each in connections()} == before


def test_close_all_closes_those_of_caches(cache: DictCache) -> None:
    cache.set("k", 1)
    [number] = {cache.client.client_id()}
    redisdict.close_all()
    assert cache.client.client_id() != number
    assert cache.get("k") == 1


async def test_aclose_all_closes_those_of_caches(cache: DictCache) -> None:
    await cache.aset("k", 1)
    pool: Any = cache._store.backend.async_pool()
    shared = pool.shared
    await redisdict.aclose_all()
    assert await cache.aget("k") == 1
    fresh: Any = cache._store.backend.async_pool()
    assert fresh.shared is not shared


def test_a_pickled_handle_is_of_the_same_cache(cache: DictCache) -> None:
    cache.set("k", "v")
    for handle in (cache, type(cache)(cache._location, cache._params)):
        again = pickle.loads(pickle.dumps(handle))
        assert type(again) is DictCache
        assert again.get("k") == "v"
        assert again.key_prefix == cache.key_prefix
        assert again._store is cache._store


def test_loops_after_one_another(cache: DictCache) -> None:
    for number in range(3):
        asyncio.run(cache.aset("k", number))
        assert asyncio.run(cache.aget("k")) == number
    assert cache.get("k") == 2


def test_errors_name_the_cache(configure: Any) -> None:
    configure(default=entry("redis://user:secret@127.0.0.1:1/0"))
    with pytest.raises(redisdict.BackendUnavailable, match=r'CACHES\["default"\]') as caught:
        caches["default"].get("k")
    assert "secret" not in str(caught.value)


traced: list[tuple[str, str, int]] = []


@contextmanager
def trace(alias: str, command: str, count: int) -> Iterator[None]:
    traced.append((alias, command, count))
    yield


def test_a_tracer_is_told_of_a_caches_commands(
    redis_url: str, key_prefix: str, configure: Any, runner: Any
) -> None:
    configure(default=entry(redis_url, key_prefix, OPTIONS={"TRACER": f"{__name__}.trace"}))
    traced.clear()
    face = Face(caches["default"], runner)
    face.set("k", 1)
    face.get("k")
    face.clear()
    assert traced[:2] == [("default", "SET", 1), ("default", "GET", 1)]


def test_writes_that_cannot_be_durable_are_not_made(
    redis_url: str, key_prefix: str, configure: Any, runner: Any
) -> None:
    configure(
        default=entry(redis_url, key_prefix),
        durable=entry(redis_url, key_prefix, OPTIONS={"DURABLE": "replicas"}),
    )
    face, durable = (Face(caches[name], runner) for name in caches.settings)
    for write in (
        lambda: durable.set("k", 1),
        lambda: durable.set_many({"k": 1, "l": 2}),
        lambda: durable.get_or_set("k", 1),
        lambda: durable.delete("k"),
    ):
        with pytest.raises(redisdict.NoReplica):
            write()
    assert durable.get("k") is None
    assert durable.ttl("k") == 0
    assert face.keys() == []


def test_the_servers_that_caches_have_for_themselves(settings: Any) -> None:
    own = "redisdict.cache.DictCache"
    two = ["redis://h:1/1", "redis://h:2/1"]
    database = {"CLEAR": "database"}
    settings.REDISDICT = {"shop": {"LOCATION": "redis://h:3/1"}}
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "own": {"BACKEND": own, "LOCATION": two, "OPTIONS": database},
        "keys": {"BACKEND": own, "LOCATION": "redis://h:4/1"},
        "alias": {"BACKEND": own, "LOCATION": "alias:shop", "OPTIONS": database},
        "bad": {"BACKEND": own, "LOCATION": 5, "OPTIONS": database},
    }
    assert [(where, backend.address) for where, backend in checks.backends_of_caches()] == [
        ('CACHES["own"]', two[0]),
        ('CACHES["own"]', two[1]),
        ('CACHES["keys"]', "redis://h:4/1"),
    ]
    emptied = {
        name: [location.address for location in checks.empties_its_database(name, entry)]
        for name, entry in settings.CACHES.items()
    }
    assert emptied == {
        "default": [], "own": two, "keys": [], "alias": ["redis://h:3/1"], "bad": [],
    }  # fmt: skip
