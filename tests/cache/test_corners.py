"""What seldom happens: keys of other types, replies that come between, handles by hand."""

from __future__ import annotations

import lzma
import pickle
import zlib
from typing import Any

import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache import caches
from django.core.cache.backends.base import default_key_func
from django.test import override_settings
from redis.exceptions import ResponseError

from redisdict.cache import DictCache, store
from redisdict.cache.checks import check_caches
from redisdict.cache.codecs import CacheCodec
from redisdict.cache.foreign import ForeignReader
from redisdict.cache.options import parse_options
from redisdict.cache.sessions import SessionStore
from redisdict.codec import get_codec
from redisdict.codec.envelope import CUSTOM_SERIALIZER_CODES, UNCOMPRESSED, format_byte, seal
from redisdict.exceptions import ConfigurationError, DeserializationError
from tests.cache.conftest import Face, entry
from tests.cache.test_values import VALUES

SERVER = "redis://127.0.0.1:1/0"


def test_a_key_of_another_type_is_the_servers_error(face: Face) -> None:
    raw = face.cache.make_key("k")
    face.cache.client.rpush(raw, "item")
    assert face.has_key("k")  # the shared connection of tasks is there now
    for call in (
        lambda: face.get("k"),
        lambda: face.incr("k"),
        lambda: face.get_or_set("k", 1),
    ):
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            call()
    assert face.get_many(["k"]) == {}
    assert face.has_key("k")
    assert face.set("k", 1) is True
    assert face.get("k") == 1


def test_a_refused_command_is_an_error_in_both_colours(
    redis_url: str, key_prefix: str, configure: Any, runner: Any
) -> None:
    configure(default=entry(redis_url, key_prefix))
    face = Face(caches["default"], runner)
    client = face.cache.client
    before = client.config_get("maxmemory")["maxmemory"]
    face.set("k", 1)
    try:
        client.config_set("maxmemory", 1)
        for call in (
            lambda: face.set("k", 2),
            lambda: face.add("l", 2),
            lambda: face.set_many({"k": 2, "l": 3}),
            lambda: face.get_or_set("l", 2),
        ):
            with pytest.raises(ResponseError, match=r"maxmemory|OOM"):
                call()
        assert face.get("k") == 1
    finally:
        client.config_set("maxmemory", before)
    face.clear()


def test_a_rename_that_is_refused(cache: DictCache) -> None:
    operation = cache._store.operations.rename(b"old", b"new")
    operation.send(None)
    with pytest.raises(ResponseError, match="NOPERM"):
        operation.throw(ResponseError("NOPERM this user has no permissions"))


def test_a_float_that_is_missing_is_not_counted(face: Face) -> None:
    with pytest.raises(ValueError, match="not found"):
        face.incr("k", 0.5)


def test_a_change_that_comes_between_is_counted_on(cache: DictCache) -> None:
    operation = cache._counting("k", 0.5, None)
    encode = cache._store.codec.encode
    operation.send(None)
    operation.send(encode(1.0))  # GET; now a compare-and-set
    operation.send(0)  # which somebody else was quicker than
    operation.send(encode(5.0))
    with pytest.raises(StopIteration) as stop:
        operation.send(1)
    assert stop.value.value == 5.5


def test_backend_timeouts_are_those_of_djangos_redis_cache(cache: DictCache) -> None:
    given = [10, 1.7, -5, 0, None]
    assert [cache.get_backend_timeout(each) for each in given] == [10, 1, 0, 0, None]
    assert cache.get_backend_timeout() == 300


def test_a_handle_by_hand_is_called_so() -> None:
    with pytest.raises(ConfigurationError, match=r'CACHES\["\?"\]'):
        DictCache("http://127.0.0.1", {}).get("k")


def test_handles_by_hand_share_a_store() -> None:
    first = DictCache(SERVER, {"OPTIONS": {"socket_timeout": 1}})
    for _ in range(2 * store.MOST_KNOWN):
        other = DictCache(SERVER, {"OPTIONS": {"socket_timeout": 1}})
        assert other._store is first._store
    assert len(store._known) <= store.MOST_KNOWN
    assert DictCache(SERVER, {"OPTIONS": {"socket_timeout": 2}})._store is not first._store
    with pytest.raises(AttributeError, match="nothing"):
        first._store.nothing  # noqa: B018


def test_a_backend_that_cannot_be_imported_is_djangos_to_report() -> None:
    wrong = [{"BACKEND": "nowhere.Cache"}, {"BACKEND": None}, {}, {"BACKEND": "builtins.len"}]
    with override_settings(CACHES={str(number): each for number, each in enumerate(wrong)}):
        assert list(check_caches()) == []


@pytest.mark.parametrize("compress", [zlib.compress, lzma.compress])
def test_a_bomb_is_not_blown_up(compress: Any) -> None:
    reader = ForeignReader("django-redis", 100)
    packed = compress(pickle.dumps("x" * 1000))
    with pytest.raises(DeserializationError, match="more than 100 bytes"):
        reader.read(packed)
    with pytest.raises(DeserializationError, match="too early"):
        ForeignReader("django-redis", 10_000).read(packed[:-9])


def test_an_intact_value_of_another_codec_is_no_foreign_one() -> None:
    options = parse_options("default", SERVER, {"OPTIONS": {"READ_FROM": "django-redis"}})
    code = CUSTOM_SERIALIZER_CODES.start
    with pytest.raises(DeserializationError, match=f"the code {code}"):
        CacheCodec(options, "msgpack", None).decode(
            seal(format_byte(code, UNCOMPRESSED) + pickle.dumps(1))
        )


def test_raw_bytes_beside_foreign_ones() -> None:
    options = parse_options(
        "default", SERVER, {"OPTIONS": {"SERIALIZER": "raw", "READ_FROM": "django-redis"}}
    )
    codec = CacheCodec(options, "msgpack", None)
    assert codec.decode(codec.encode(b"abc")) == b"abc"
    assert codec.decode(pickle.dumps("abc")) == "abc"
    options = parse_options("default", SERVER, {"OPTIONS": {"READ_FROM": "django-redis+msgpack"}})
    assert CacheCodec(options, "msgpack", None).decode(b"\xc4\x03abc") == b"abc"


def failing(key: Any, key_prefix: str, version: Any) -> str:
    if not str(key).startswith("real"):
        raise LookupError(key)
    return f"{key_prefix}/{version}/{key}"


def test_a_key_function_that_refuses_other_keys(cache: DictCache) -> None:
    cache.key_func = failing
    cache.set("real", 1)
    with pytest.raises(ConfigurationError, match=r"KEY_FUNCTION \(failing\)"):
        cache.clear()
    assert cache.delete("real")
    cache.key_func = default_key_func


def test_walks_of_a_cache_that_ignores(
    redis_url: str, key_prefix: str, configure: Any, runner: Any
) -> None:
    configure(default=entry(redis_url, key_prefix, OPTIONS={"IGNORE_EXCEPTIONS": True}))
    face = Face(caches["default"], runner)
    face.set("k", 1)
    assert face.iter_keys("*") == ["k"]
    face.clear()


async def test_sessions_of_tasks_in_another_cache() -> None:
    memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    with override_settings(CACHES={"default": memory}):
        session: SessionBase = SessionStore()
        await session.aset("a", 1)
        await session.asave()
        assert await SessionStore(session.session_key).aget("a") == 1


async def test_sessions_of_tasks_that_cannot_be_read(cache: DictCache) -> None:
    session = SessionStore()
    await session.aset("a", 1)
    await session.asave()
    cache.client.set(cache.make_key(await session.acache_key()), b"\x80damaged")
    again = SessionStore(session.session_key)
    assert await again.aget("a") is None
    assert again.session_key is None


def test_what_pickle_cannot_store(
    redis_url: str, key_prefix: str, configure: Any, runner: Any
) -> None:
    configure(default=entry(redis_url, key_prefix, OPTIONS={"SERIALIZER": "pickle"}))
    face = Face(caches["default"], runner)
    with pytest.raises(pickle.PicklingError, match="function"):
        face.set("k", lambda: 1)
    assert not face.has_key("k")


class Vanishing:
    """Its pickle names a function that isn't there when it is read."""

    def __reduce__(self) -> Any:
        return vanish, ()


def vanish() -> None:
    raise LookupError("it is gone")


def test_pickles_are_those_of_the_codec() -> None:
    options = parse_options("default", SERVER, {"OPTIONS": {"SERIALIZER": "pickle"}})
    ours, codec = CacheCodec(options, "msgpack", None), get_codec("pickle")
    for value in [*VALUES, 2**5000, "x" * 100_000]:
        stored = ours.encode(value)
        assert stored == codec.encode(value)
        assert ours.decode(stored) == value
        assert ours.decode_many([stored, stored]) == [value, value]
    stored = ours.encode(Vanishing())
    with pytest.raises(DeserializationError, match="it is gone"):
        ours.decode(stored)
    with pytest.raises(DeserializationError, match="checksum"):
        ours.decode(stored[:-1])
    with pytest.raises(DeserializationError):
        ours.decode(b"")
