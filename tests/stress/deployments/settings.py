"""Settings of the application; where its server and its database are comes by the environment."""

import os

SERVER = os.environ["REDISDICT_SERVER"]
PREFIX = os.environ["REDISDICT_PREFIX"]

SECRET_KEY = "deployments"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["redisdict", "tests.stress.modelcache"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["REDISDICT_DATABASE"]}
}
REDISDICT = {
    "default": {"LOCATION": SERVER, "KEY_PREFIX": PREFIX},
    "borrowing": {"CACHE": "default", "KEY_PREFIX": PREFIX},
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": SERVER,
        "KEY_PREFIX": PREFIX,
        "OPTIONS": {"CONNECTION_POOL_CLASS": "redisdict.pools.BlockingConnectionPool"},
    }
}
