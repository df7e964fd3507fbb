"""A dict with `near` over the pool that django-redis has."""

from __future__ import annotations

from django.test import override_settings

from redisdict import PersistentDict
from tests.near.conftest import AGES, is_served, settle, wait_until_on


def test_a_borrowed_pool(url: str, key_prefix: str) -> None:
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}
    aliases = {"default": {"CACHE": "default", "KEY_PREFIX": key_prefix}}
    with override_settings(CACHES=caches, REDISDICT=aliases):
        mapping: PersistentDict[str, str] = PersistentDict("d", hset_enabled=False, near=AGES)
        wait_until_on(mapping)
        mapping["k"] = "v"
        settle(mapping)
        assert mapping["k"] == "v"
        assert is_served(mapping, "k")
        mapping.clear()
