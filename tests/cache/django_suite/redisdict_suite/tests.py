"""Django's tests of caches, with this package's in the place of the one that each class names.

Nothing is overridden but the setting CACHES, and which error `incr()` raises, which each of
Django's own backends says, too.
"""

import time
from unittest import skipUnless

from cache import tests as django_tests
from cache.closeable_cache import CloseHookMixin
from django.conf import settings
from django.core.cache import cache
from django.test import TestCase, override_settings
from redis.exceptions import ResponseError
from sessions_tests import tests as session_tests

from redisdict.cache import DictCache
from redisdict.cache.sessions import SessionStore

BASE = settings.CACHES["default"]


class CloseableDictCache(CloseHookMixin, DictCache):
    pass


def in_place_of(test_case):
    """The CACHES of a class of Django's, on our server: each is told apart by its prefix."""
    replaced = {}
    for name, entry in test_case._overridden_settings["CACHES"].items():
        prefix = {} if name == "default" else {"KEY_PREFIX": f"instead-of-{name}"}
        replaced[name] = {**prefix, **entry, **BASE}
    return override_settings(CACHES=replaced)


@override_settings(
    CACHES=django_tests.caches_setting_for_tests(
        base=BASE, exclude=django_tests.redis_excluded_caches
    )
)
class DictCacheTests(django_tests.BaseCacheTests, TestCase):
    incr_decr_type_error = ResponseError


@override_settings(
    CACHES={"default": {**BASE, "BACKEND": f"{__name__}.CloseableDictCache"}},
)
class CacheClosingTests(django_tests.CacheClosingTests):
    pass


class NearTests(TestCase):
    @skipUnless(BASE["OPTIONS"]["NEAR"], "every read asks the server")
    def test_memory_answers(self):
        deadline = time.monotonic() + 60
        while not cache.near_stats().hits:
            assert time.monotonic() < deadline, cache.near_stats()
            cache.get("key")


@in_place_of(django_tests.CacheUtils)
class CacheUtils(django_tests.CacheUtils):
    pass


@in_place_of(django_tests.PrefixedCacheUtils)
class PrefixedCacheUtils(django_tests.PrefixedCacheUtils):
    pass


@in_place_of(django_tests.CacheHEADTest)
class CacheHEADTest(django_tests.CacheHEADTest):
    pass


@in_place_of(django_tests.CacheI18nTest)
class CacheI18nTest(django_tests.CacheI18nTest):
    pass


@in_place_of(django_tests.PrefixedCacheI18nTest)
class PrefixedCacheI18nTest(django_tests.PrefixedCacheI18nTest):
    pass


@in_place_of(django_tests.CacheMiddlewareTest)
class CacheMiddlewareTest(django_tests.CacheMiddlewareTest):
    pass


@in_place_of(django_tests.TestWithTemplateResponse)
class TestWithTemplateResponse(django_tests.TestWithTemplateResponse):
    pass


class OwnSessionTests(session_tests.CacheSessionTests):
    """Those of Django's engine of caches, for this package's."""

    backend = SessionStore
