"""Settings for Django's `runtests.py`: its own of sqlite, with this package's cache."""

import json
import os

from test_sqlite import *  # noqa: F403  # Django's, beside runtests.py

CACHES = {
    "default": {
        "BACKEND": "redisdict.cache.DictCache",
        "LOCATION": os.environ["REDISDICT_SUITE_LOCATION"],
        "OPTIONS": {
            "SERIALIZER": os.environ["REDISDICT_SUITE_SERIALIZER"],
            "NEAR": json.loads(os.environ["REDISDICT_SUITE_NEAR"]),
        },
    }
}
