"""Settings of the processes that test_endings.py starts: a database that the test chooses."""

import os

from tests import settings
from tests.settings import *  # noqa: F403

# The models of other tests ask for another database.
INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "tests.shop"]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["BENCHSITE_DATABASE"],
        # So long a locked database is waited for; a test would wait in vain.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 0.5},
    }
}
