"""Settings of the measurement; where the server is comes by the environment."""

import os
from importlib.util import find_spec
from typing import Any

SERVER = os.environ["REDISDICT_BENCHMARK"]


def entry(backend: str, number: int, **options: Any) -> dict[str, Any]:
    return {
        "BACKEND": backend,
        "LOCATION": f"{SERVER}?db={number}",
        "OPTIONS": options,
    }


CACHES = {
    "DictCache": entry("redisdict.cache.DictCache", 1, SERIALIZER="pickle"),
    "django-redis": entry("django_redis.cache.RedisCache", 2),
    "django-redis again": entry("django_redis.cache.RedisCache", 7),  # how far off 1 noise can be
    "RedisCache": entry("django.core.cache.backends.redis.RedisCache", 3),
}
if find_spec("django_valkey"):
    CACHES["django-valkey"] = entry("django_valkey.cache.ValkeyCache", 4)
    where = CACHES["django-valkey"]["LOCATION"].replace("redis://", "valkey://")
    CACHES["django-valkey"]["LOCATION"] = where
    # Its backend for tasks, which has the others' methods as coroutines.
    CACHES["django-valkey async"] = {
        "BACKEND": "django_valkey.async_cache.cache.AsyncValkeyCache",
        "LOCATION": where.replace("db=4", "db=6"),  # of one location both would have one pool
    }
# The default serializer, beside what is compared like with like.
CACHES["DictCache (msgpack)"] = entry("redisdict.cache.DictCache", 5)
CACHES["default"] = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}

SECRET_KEY = "benchmark"  # noqa: S105  # of nothing
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.sessions", "redisdict"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
ROOT_URLCONF = "benchmarks.caches.site"
DATABASES: dict[str, Any] = {}
USE_TZ = True
