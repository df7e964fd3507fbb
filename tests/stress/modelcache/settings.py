"""Settings of the stress test; what varies comes by the environment."""

import json
import os

GIVEN = json.loads(os.environ["REDISDICT_STRESS"])

SECRET_KEY = "stress"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["redisdict", "tests.stress.modelcache", *GIVEN.get("apps", [])]
DATABASES = {"default": GIVEN["database"]}
REDISDICT = {
    "default": {
        "LOCATION": GIVEN["server"],
        "KEY_PREFIX": "stress",
        "NEAR_TRACKING": GIVEN["tracking"],
    }
}
CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": GIVEN["server"]}}

# For comparison.
CACHEOPS_REDIS = GIVEN["server"]
CACHEOPS = {
    "modelcache.row": {"ops": "get", "timeout": 900},
    "modelcache.*": {"ops": (), "timeout": 900},  # by hand
}

#: Of PostgreSQL's transactions; empty for other databases.
ISOLATION = GIVEN["isolation"]
if ISOLATION == "repeatable read":
    from psycopg import IsolationLevel

    DATABASES["default"]["OPTIONS"]["isolation_level"] = IsolationLevel.REPEATABLE_READ
