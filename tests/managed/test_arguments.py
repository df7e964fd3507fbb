"""A service that refuses commands of more than 3,999 arguments, as ElastiCache serverless does."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from redisdict import ComputedDict, ModelDict, PersistentDict, cache_results_of
from redisdict.connections.backend import Backend
from redisdict.wire.limits import ITEMS_A_COMMAND, MOST_ARGUMENTS
from tests.cache.conftest import Face as CacheFace
from tests.cache.conftest import entry
from tests.managed.service import Command, ManagedService
from tests.mapping.conftest import Face
from tests.modelcache.conftest import forget_registrations, shop_in
from tests.near.conftest import make, settle, wait_until_on
from tests.shop.models import Category, Product

#: More than go in two commands.
MANY = 2 * ITEMS_A_COMMAND + 100


def has_too_many(command: Command) -> str | None:
    if len(command) > MOST_ARGUMENTS:
        return f"ERR too many arguments: {command[0].decode()} has {len(command)}"
    return None


@pytest.fixture
def limited(service: ManagedService) -> Iterator[ManagedService]:
    service.rule = has_too_many
    yield service
    assert service.refused == 0
    assert max(map(len, service.commands)) > ITEMS_A_COMMAND / 2  # they weren't sent one by one


def test_the_service_refuses(service: ManagedService, open_backend: Callable[..., Backend]) -> None:
    service.rule = has_too_many
    client = open_backend(service.url).client()
    assert client.mget(["a"] * (MOST_ARGUMENTS - 1)) == [None] * (MOST_ARGUMENTS - 1)
    with pytest.raises(Exception, match="too many arguments: MGET has 4000"):
        client.mget(["a"] * MOST_ARGUMENTS)


@pytest.mark.parametrize("shards", [None, 3])
@pytest.mark.parametrize("hset_enabled", [True, False], ids=["hash", "keys"])
def test_dicts(
    limited: ManagedService,
    open_backend: Callable[..., Backend],
    runner: asyncio.Runner | None,
    hset_enabled: bool,
    shards: int | None,
) -> None:
    backend = open_backend(limited.url)
    mapping: PersistentDict[str, int] = PersistentDict("d", backend, hset_enabled, shards=shards)
    face = Face(mapping, runner)
    items = {str(number): number for number in range(MANY)}
    face.set_many(items)
    assert face.get_many(items) == items
    assert face.len() == MANY
    assert dict(face.items()) == items
    file = io.BytesIO()
    face.dump(file)
    file.seek(0)
    assert face.delete_many(items) == MANY
    face.load(file)
    assert face.expire(3600)
    face.set_many(items, timeout=3600)  # from here on a hash goes through its script
    face.set_many(items)
    assert face.get_many(items) == items
    assert face.memory_usage() > MANY
    assert face.delete_many(list(items)[:-1]) == MANY - 1
    face.set_many(items, timeout=3600)
    face.clear()
    assert face.len() == 0
    if runner is not None:
        runner.run(backend.aclose())


def test_caches(limited: ManagedService, runner: asyncio.Runner | None, key_prefix: str) -> None:
    with override_settings(CACHES={"default": entry(limited.url, key_prefix)}):
        cache: Any = caches["default"]
        face = CacheFace(cache, runner)
        items = {str(number): number for number in range(MANY)}
        assert face.set_many(items) == []
        assert face.get_many(items) == items
        face.delete_many(list(items)[: MANY // 2])
        face.delete_pattern("*")
        assert face.get_many(items) == {}
        if runner is not None:
            runner.run(cache.aclose() if hasattr(cache, "aclose") else asyncio.sleep(0))


@pytest.mark.parametrize("tracking", ["auto", "plain"])
def test_near(limited: ManagedService, open_backend: Callable[..., Backend], tracking: str) -> None:
    """With plain tracking the keys of a read are asked for over the listener's connection."""
    backend = open_backend(limited.url, NEAR_TRACKING=tracking)
    mapping = make(backend)
    items = {str(number): number for number in range(MANY)}
    mapping.set_many(items)
    wait_until_on(mapping)
    settle(mapping)
    assert mapping.get_many(items) == items
    before = mapping.near_stats().hits
    assert mapping.get_many(list(items)[:100]) == dict(list(items.items())[:100])
    assert mapping.near_stats().hits > before
    mapping.clear()


@pytest.mark.parametrize("shards", [None, 3])
def test_model_dicts_lists_and_results(
    shop_alias: str,
    django_db_blocker: Any,
    limited: ManagedService,
    alias_for: Callable[..., dict[str, Any]],
    shards: int | None,
) -> None:
    aliases = {"default": alias_for(limited.url)}
    with shop_in(shop_alias, django_db_blocker), override_settings(REDISDICT=aliases):
        try:
            category = Category.objects.create(name="all")
            made = Product.plain.bulk_create(
                Product(name=f"{number}", category=category) for number in range(2100)
            )
            keys = [product.pk for product in made]
            products = ModelDict(Product, shards=shards)
            lists = ModelDict(Product, key="category", many=True, shards=shards)
            cache_results_of(Product)
            computed = ComputedDict("count", depends_on=[Product], compute=lambda _: len(keys))
            for _ in range(2):  # a miss, and a hit
                assert len(products.get_many(keys)) == len(keys)
                assert len(lists[category.pk]) == len(keys)
                assert len(Product.objects.filter(name__lt="5").cached()) > 0
                assert computed["7"] == len(keys)
            products.invalidate(*keys)
            Product.objects.all().update(stock=3)
            assert products.get_many(keys)[keys[0]].stock == 3
        finally:
            forget_registrations()
