"""Settings of the test suite: the demo project's, with a database and keys of its own."""

from benchsite.settings import *  # noqa: F403

SECRET_KEY = "tests"
DEBUG = False
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Tests name their server themselves, with override_settings and the fixtures of conftest.py.
REDISDICT = {}
REDISDICT_ADMIN = {}

# Models that only the tests need.
INSTALLED_APPS = [*INSTALLED_APPS, "tests.codec", "tests.moving", "tests.shop"]  # noqa: F405

#: What models of tests do on purpose, and Django 6.1 calls an error, by which programs that tests
#: start would end: a database's ON DELETE beside Python's, PostgreSQL's fields without its app.
SILENCED_SYSTEM_CHECKS = ["fields.E323", "postgres.E005"]
