"""Settings of the processes that test_endings.py starts: a database that the test chooses."""

import os

from tests.settings import *  # noqa: F403

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["BENCHSITE_DATABASE"],
        # So long a locked database is waited for; a test would wait in vain.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 0.5},
    }
}
