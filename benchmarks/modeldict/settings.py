"""Settings of the measurement; where the servers are comes by the environment."""

import json
import os

GIVEN = json.loads(os.environ["REDISDICT_BENCHMARK"])

SECRET_KEY = "benchmark"  # noqa: S105  # of nothing
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["redisdict", "benchmarks.modeldict", *GIVEN["apps"]]
DATABASES = {"default": GIVEN["database"]}
REDISDICT = {"default": {"LOCATION": GIVEN["server"]}}
CACHES = {
    "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": GIVEN["server"]},
    "django": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": GIVEN["server"],
    },
}
CACHEOPS_REDIS = GIVEN["server"]
CACHEOPS = {"modeldict.otherproduct": {"ops": "get", "timeout": 3600}}
CACHALOT_ONLY_CACHABLE_TABLES = ["modeldict_otherproduct"]
