"""Moving from django-redis and Django's RedisCache to this backend, and back."""

from __future__ import annotations

import datetime
import pickle
import random
from importlib.util import find_spec
from typing import Any

import pytest
from django.core.cache import caches
from django.utils.safestring import SafeString, mark_safe

from redisdict.cache import DictCache
from redisdict.exceptions import DeserializationError
from tests.cache.conftest import Face, entry

DJANGO_REDIS = "django_redis.cache.RedisCache"
DJANGO = "django.core.cache.backends.redis.RedisCache"


class Custom:
    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom) and other.number == self.number

    __hash__ = None  # type: ignore[assignment]


VALUES: list[Any] = [
    0,
    -5,
    2**80,
    10**700,
    True,
    None,
    1.5,
    "",
    "text",
    "5",
    "long text, long enough for every compressor " * 20,
    b"\xc4\x03abc",
    [1, "a", None],
    {"a": {"b": [1, 2]}},
    {1, 2},
    datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
    mark_safe("<b>"),
    Custom(3),
    random.Random(1).randbytes(3000),
]
PLAIN: list[Any] = [0, -5, 2**60, True, None, 1.5, "", "5", "text" * 50, [1, "a", None], {"a": [1]}]

COMPRESSORS = ["zlib.ZlibCompressor", "lzma.LzmaCompressor", "lz4.Lz4Compressor"]
COMPRESSORS += ["identity.IdentityCompressor"]
if find_spec("django_redis.compressors.gzip") is not None:  # django-redis 6
    COMPRESSORS += ["gzip.GzipCompressor"]


def other(backend: str, url: str, key_prefix: str, **options: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": url, "KEY_PREFIX": key_prefix, "OPTIONS": options}


@pytest.fixture
def prefix(key_prefix: str, redis_url: str) -> Any:
    import redis

    yield key_prefix
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(match=f"{key_prefix}*"):
            client.delete(key)


def both(configure: Any, old: dict[str, Any], new: dict[str, Any], runner: Any) -> tuple[Any, Face]:
    configure(default=new, old=old)
    made: Any = caches["default"]
    assert isinstance(made, DictCache)
    return caches["old"], Face(made, runner)


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_what_django_redis_wrote_is_read(
    compressor: str, redis_url: str, prefix: str, configure: Any, runner: Any
) -> None:
    old, new = both(
        configure,
        other(DJANGO_REDIS, redis_url, prefix, COMPRESSOR=f"django_redis.compressors.{compressor}"),
        entry(redis_url, prefix, OPTIONS={"READ_FROM": "django-redis"}),
        runner,
    )
    for value in VALUES:
        old.set("k", value, 60)
        assert new.get("k") == value
        assert new.get_many(["k"]) == {"k": value}
        assert new.touch("k", 30)
    old.set("n", 5)
    assert new.incr("n") == 6


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_read(
    protocol: int, redis_url: str, prefix: str, configure: Any, runner: Any
) -> None:
    old, new = both(
        configure,
        other(DJANGO_REDIS, redis_url, prefix, PICKLE_VERSION=protocol),
        entry(redis_url, prefix, OPTIONS={"READ_FROM": "django-redis"}),
        runner,
    )
    for value in VALUES:
        if protocol < 2 and isinstance(value, SafeString):
            continue  # which Python can't pickle so
        old.set("k", value)
        assert new.get("k") == value


def test_what_djangos_redis_cache_wrote_is_read(
    redis_url: str, prefix: str, configure: Any, runner: Any
) -> None:
    old, new = both(
        configure,
        other(DJANGO, redis_url, prefix),
        entry(redis_url, prefix, OPTIONS={"READ_FROM": "django-redis"}),
        runner,
    )
    for value in VALUES:
        old.set("k", value)
        assert new.get("k") == value


def test_json_of_django_redis_is_read_where_told(
    redis_url: str, prefix: str, configure: Any, runner: Any
) -> None:
    old, new = both(
        configure,
        other(
            DJANGO_REDIS,
            redis_url,
            prefix,
            SERIALIZER="django_redis.serializers.json.JSONSerializer",
            COMPRESSOR="django_redis.compressors.zlib.ZlibCompressor",
        ),
        entry(redis_url, prefix, OPTIONS={"READ_FROM": "django-redis+json"}),
        runner,
    )
    for value in PLAIN:
        old.set("k", value)
        assert new.get("k") == value


def test_what_msgpack_of_django_redis_writes_is_read(
    redis_url: str, prefix: str, configure: Any, runner: Any
) -> None:
    import ormsgpack

    configure(default=entry(redis_url, prefix, OPTIONS={"READ_FROM": "django-redis+msgpack"}))
    new = Face(caches["default"], runner)
    for value in [*PLAIN, b"abc", {1: 2}]:
        new.cache.client.set(
            f"{prefix}:1:k", ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS)
        )
        assert new.get("k") == value


@pytest.mark.parametrize("options", [{}, {"READ_FROM": "django-redis+json"}])
def test_no_pickle_is_read_without_being_told(
    options: dict[str, Any], redis_url: str, prefix: str, configure: Any, runner: Any
) -> None:
    old, new = both(
        configure,
        other(DJANGO, redis_url, prefix),
        entry(redis_url, prefix, OPTIONS=options),
        runner,
    )
    old.set("k", [Custom(1)])
    with pytest.raises(DeserializationError):
        new.get("k")
    assert old.get("k") == [Custom(1)]  # it stays as it is


def test_what_is_written_is_ours(redis_url: str, prefix: str, configure: Any, runner: Any) -> None:
    old, new = both(
        configure,
        other(DJANGO, redis_url, prefix),
        entry(redis_url, prefix, OPTIONS={"READ_FROM": "django-redis"}),
        runner,
    )
    new.set("k", "v")
    new.set("n", 5)
    assert old.get("n") == 5
    with pytest.raises(Exception):  # noqa: B017  # whatever pickle makes of it
        old.get("k")
    assert new.get("k") == "v"


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
def test_values_of_an_own_pickle_stay_readable(
    serializer: str, redis_url: str, prefix: str, configure: Any, runner: Any
) -> None:
    configure(
        default=entry(redis_url, prefix, OPTIONS={"SERIALIZER": "pickle"}),
        then=entry(
            redis_url, prefix, OPTIONS={"SERIALIZER": serializer, "READ_FROM": "django-redis"}
        ),
        strict=entry(redis_url, prefix, OPTIONS={"SERIALIZER": serializer}),
    )
    first, then, strict = (Face(caches[name], runner) for name in caches.settings)
    first.set("k", Custom(1))
    assert first.get("k") == then.get("k") == Custom(1)
    with pytest.raises(DeserializationError, match="pickle"):
        strict.get("k")


@pytest.mark.parametrize("backend", [DJANGO_REDIS, DJANGO])
def test_the_way_back(
    backend: str, redis_url: str, prefix: str, configure: Any, runner: Any
) -> None:
    old, new = both(
        configure,
        other(backend, redis_url, prefix),
        entry(redis_url, prefix, OPTIONS={"SERIALIZER": "pickle", "WRITE_FOR": "django-redis"}),
        runner,
    )
    for value in VALUES:
        new.set("k", value, 60)
        assert old.get("k") == value
        assert new.get("k") == value
        new.set_many({"k": value})
        assert old.get("k") == value
        old.set("k", value, 60)
        assert new.get("k") == value
    with pytest.raises(pickle.PicklingError):
        new.set("k", lambda: 1)


def test_the_way_back_compressed(redis_url: str, prefix: str, configure: Any, runner: Any) -> None:
    old, new = both(
        configure,
        other(
            DJANGO_REDIS,
            redis_url,
            prefix,
            COMPRESSOR="django_redis.compressors.zlib.ZlibCompressor",
        ),
        entry(
            redis_url,
            prefix,
            OPTIONS={"SERIALIZER": "pickle", "WRITE_FOR": "django-redis", "COMPRESSOR": "zlib"},
        ),
        runner,
    )
    for value in [*VALUES, "x" * 100_000]:
        new.set("k", value)
        assert old.get("k") == value
    assert new.cache.client.strlen(f"{prefix}:1:k") < 1000


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\x80",
        b"\x80\x05garbage",
        b"x\x9cgarbage",
        b"\x1f\x8bgarbage",
        b"\x28\xb5\x2f\xfdgarbage",
        b"\x04\x22\x4d\x18garbage",
        b"\xfd7zXZ\x00garbage",
        b"BZhgarbage",
        pickle.dumps("a") + b"more",
        b"not a pickle",
    ],
)
def test_what_nobody_wrote(
    stored: bytes, redis_url: str, prefix: str, configure: Any, runner: Any
) -> None:
    configure(default=entry(redis_url, prefix, OPTIONS={"READ_FROM": "django-redis"}))
    face = Face(caches["default"], runner)
    face.cache.client.set(f"{prefix}:1:k", stored)
    for read in (lambda: face.get("k"), lambda: face.get_many(["k"])):
        with pytest.raises(DeserializationError):
            read()
    assert face.cache.client.get(f"{prefix}:1:k") == stored
