"""Settings of one contender's process; what it is, and where the servers are, is in GIVEN."""

from __future__ import annotations

import json
import os

GIVEN = json.loads(os.environ["REDISDICT_BENCHMARK"])
KIND = GIVEN["kind"]

SECRET_KEY = "benchmark"  # noqa: S105  # of nothing
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
NEAR = "cached(near=60)"
#: Kinds of which results are kept, and of which rows are; "unwatched" has nothing but the manager.
RESULTS = ("cached()", "cached(), A/A", NEAR, "ModelDict and cached()")
ROWS = ("ModelDict", "ModelDict, A/A", "ModelDict and cached()")
OURS = (*RESULTS, *ROWS, "unwatched")
APPS = {
    "cacheops": ["cacheops"],
    "cachalot": ["cachalot"],
    **{kind: ["redisdict"] for kind in OURS},
}
INSTALLED_APPS = ["benchmarks.results", *APPS.get(KIND, ())]
DATABASES = {"default": GIVEN["database"]}
REDISDICT = {"default": {"LOCATION": GIVEN["server"]}}
CACHES = {
    "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": GIVEN["server"]},
}
CACHEOPS_REDIS = GIVEN["server"]
CACHEOPS = {"results.*": {"ops": "all", "timeout": 3600}}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
