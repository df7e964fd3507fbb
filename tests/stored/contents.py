"""Store one thing of each stored form, and check that it is there: the same code does both.

A later version may add to it, under another name; what is here stays as it is, since the recordings
of earlier versions have it.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from ipaddress import IPv4Address
from typing import Any

from django.core.cache import caches
from django.test import override_settings

from redisdict import PersistentDict, close_all
from redisdict.cache import DictCache, cached
from tests.codec.comparing import assert_same

#: Begins every key of a recording, and is replaced by another one where that is loaded.
PREFIX = "recorded"

#: So long that the items of a recording are still there in 2056; in milliseconds it fits a double.
LONG_S = 30 * 365 * 86400

VALUES: dict[str, Any] = {
    "text": "Grüße 🙂",
    "bytes": b"\x00\xff\x80",
    "number": -42,
    "huge": 2**100,
    "float": 1.5,
    "nothing": None,
    "yes": True,
    "nested": {"a": [1, (2, "b")], 3: {frozenset({4})}},
    "price": Decimal("9.90"),
    "moment": datetime(2026, 11, 29, 12, 30, 15, 250_000, tzinfo=UTC),
    "day": date(2026, 11, 29),
    "span": timedelta(days=1, microseconds=3),
    "id": uuid.UUID(int=7),
    "address": IPv4Address("192.0.2.1"),
    "long": "x" * 1200,
}

#: Names that have to be escaped in keys of servers.
ODD = "a:b{c}*[d] \x00é"

SESSION_KEY = "s" * 32

Store = Callable[[], None]


@contextmanager
def settings_for(location: str, prefix: str) -> Iterator[None]:
    """Use a server under a prefix, by the dicts' setting and by caches'."""

    def entry(**options: Any) -> dict[str, Any]:
        backend = {"BACKEND": "redisdict.cache.DictCache", "LOCATION": location}
        return {**backend, "KEY_PREFIX": prefix, "OPTIONS": options}

    with override_settings(
        REDISDICT={"default": {"LOCATION": location, "KEY_PREFIX": prefix}},
        CACHES={"default": entry(), "pickle": entry(SERIALIZER="pickle")},
        SESSION_ENGINE="redisdict.cache.sessions",
    ):
        try:
            yield
        finally:
            close_all()


def dicts() -> Iterator[tuple[str, PersistentDict[Any, Any]]]:
    """Give a dict of each layout, kind of key, serializer and compressor, by a name."""
    for is_hash in (True, False):
        layout = "hash" if is_hash else "keys"
        options: dict[str, Any] = {"hset_enabled": is_hash}
        yield layout, PersistentDict("values", **options)
        yield f"{layout}, timeouts", PersistentDict("timeouts", **options)
        yield f"{layout}, odd name", PersistentDict(ODD, **options)
        yield f"{layout}, child", PersistentDict("parent", **options).child("eu").child(ODD)
        yield f"{layout}, shards", PersistentDict("shards", shards=4, **options)
        for serializer, compressor in (
            ("json", None), ("pickle", None), ("raw", None), ("raw", "zlib"), ("msgpack", "zlib"),
        ):  # fmt: skip
            name = f"{serializer} {compressor}"
            chosen = {"serializer": serializer, "compressor": compressor, **options}
            yield f"{layout}, {name}", PersistentDict(name, **chosen)
        yield f"{layout}, int keys", PersistentDict("int keys", key_type=int, **options)
        yield f"{layout}, UUID keys", PersistentDict("uuid keys", key_type=uuid.UUID, **options)


def items_of(name: str) -> dict[Any, Any]:
    """Say what a dict of `dicts()` has."""
    if "raw" in name:
        return {"short": b"\x00\xff", "long": b"x" * 1200}
    if "json" in name:
        return {"a": [1, 2.5, None, {"b": "ü"}], "n": 7}
    if "int keys" in name:
        return {-1: "minus", 2**70: "large"}
    if "UUID" in name:
        return {uuid.UUID(int=1): "one"}
    return VALUES


def store_dicts() -> None:
    for name, mapping in dicts():
        items = items_of(name)
        mapping.update(items)
        if "timeouts" in name:
            for key in list(items)[::2]:
                mapping.set(key, items[key], timeout=LONG_S)


def check_dicts() -> None:
    for name, mapping in dicts():
        items = items_of(name)
        found = {key: mapping[key] for key in items}
        assert_same(found, items)
        assert_same(dict(sorted(mapping.items(), key=str)), dict(sorted(items.items(), key=str)))
        assert len(mapping) == len(items), name
        if "timeouts" in name:
            mortal = {key for key in items if mapping.ttl(key) is not None}
            assert mortal == set(list(items)[::2])
        some = next(iter(items))
        mapping[some] = items[some]  # it can be written as well
        assert mapping.pop(some) == items[some], name


@cached(timeout=LONG_S, name="recorded.area")
def area(width: int, height: int = 2) -> list[int]:
    """Compute what a recording has for (3, 4) already."""
    raise AssertionError("it was computed, so what is stored wasn't found")


def store_cache() -> None:
    for alias in ("default", "pickle"):
        cache = caches[alias]
        for name, value in VALUES.items():
            cache.set(f"{alias}/{name}", value, LONG_S)
        cache.set(f"{alias}/versioned", "second", LONG_S, version=2)
        cache.set(f"{alias}/eternal", 1, None)
    default = caches["default"]
    assert isinstance(default, DictCache)
    default.set(area.key_for(3, 4), [3, 4], LONG_S)
    session = _session()
    session._session_cache = {"basket": {"tea": 2}}  # unloaded, or it would get another key
    session.set_expiry(LONG_S)
    session.save(must_create=True)


def check_cache() -> None:
    for alias in ("default", "pickle"):
        cache = caches[alias]
        assert_same({name: cache.get(f"{alias}/{name}") for name in VALUES}, VALUES)
        assert cache.get(f"{alias}/versioned", version=2) == "second"
        assert cache.incr(f"{alias}/eternal") == 2
        cache.set(f"{alias}/eternal", 1, None)
    assert area(3, height=4) == [3, 4]
    assert _session()["basket"] == {"tea": 2}


def _session() -> Any:
    store = import_module("redisdict.cache.sessions").SessionStore
    return store(SESSION_KEY)


def dumped() -> bytes:
    """Make the file that `dump()` writes of a dict, two of whose items end."""
    mapping: PersistentDict[str, Any] = PersistentDict("dumped")
    mapping.update(VALUES)
    for key in ("text", "price"):
        mapping.set(key, VALUES[key], timeout=LONG_S)
    file = io.BytesIO()
    mapping.dump(file)
    mapping.clear()
    return file.getvalue()


def check_dumped(data: bytes) -> None:
    mapping: PersistentDict[str, Any] = PersistentDict("loaded")
    assert mapping.load(io.BytesIO(data)) == len(VALUES)
    assert_same({key: mapping[key] for key in VALUES}, VALUES)
    assert {key for key in VALUES if mapping.ttl(key) is not None} == {"text", "price"}
    mapping.clear()
