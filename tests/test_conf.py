"""The setting REDISDICT: what is accepted, and what each mistake is told."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from redisdict import conf
from redisdict.exceptions import ConfigurationError, RedisDictError

REDIS = "redis://127.0.0.1:6379/0"
DJANGO_REDIS = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS}}


def test_an_alias_has_defaults() -> None:
    config = conf.parse_alias("default", {"LOCATION": REDIS})
    assert config.pool_class == "redisdict.pools.BlockingConnectionPool"
    assert config.async_pool_class == "redisdict.pools.OptimizedAsyncConnectionPool"
    assert (config.key_prefix, config.timeout) == ("redisdict", None)
    assert (config.serializer, config.compressor) == ("msgpack", None)


def test_the_users_dict_is_not_changed_nor_shared() -> None:
    values = {"LOCATION": REDIS, "OPTIONS": {"max_connections": 3}}
    config = conf.parse_alias("default", values)
    values["OPTIONS"]["max_connections"] = 4  # type: ignore[index]  # a dict
    assert config.options == {"max_connections": 3}
    with pytest.raises(TypeError):
        config.options["max_connections"] = 5  # type: ignore[index]  # the point


def test_passwords_stay_out_of_the_repr() -> None:
    config = conf.parse_alias(
        "default", {"LOCATION": "redis://:geheim@h/0", "OPTIONS": {"password": "geheim"}}
    )
    assert "geheim" not in repr(config)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"LOCATON": REDIS},
            "REDISDICT[\"shop\"] has the unknown key 'LOCATON'; did you mean 'LOCATION'?",
        ),
        (
            {},
            'REDISDICT["shop"] names no server: add "LOCATION": "redis://127.0.0.1:6379/0",'
            ' or "CACHE": "default" to borrow the pool of a django-redis cache.',
        ),
        ({"LOCATION": 6379}, 'REDISDICT["shop"]["LOCATION"] is int; a string or None is expected.'),
        (
            {"LOCATION": REDIS, "TIMEOUT": 0},
            'REDISDICT["shop"]["TIMEOUT"] is 0; seconds above 0 are expected, or None for ever.',
        ),
        (
            {"LOCATION": REDIS, "TIMEOUT": True},
            'REDISDICT["shop"]["TIMEOUT"] is True; seconds above 0 are expected, or None for ever.',
        ),
        (
            {"LOCATION": REDIS, "OPTIONS": None},
            'REDISDICT["shop"]["OPTIONS"] is NoneType; a dict of pool options is expected.',
        ),
        (
            {"LOCATION": REDIS, "CACHE": "default"},
            'REDISDICT["shop"] has "CACHE" and "LOCATION"; the borrowed pool of CACHES["default"]'
            " has its own, so remove one of the two.",
        ),
        ("redis://h", 'REDISDICT["shop"] is str; a dict is expected.'),
    ],
)
def test_a_mistake_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        conf.parse_alias("shop", values)
    assert str(caught.value) == message
    assert isinstance(caught.value, ImproperlyConfigured)
    assert isinstance(caught.value, RedisDictError)


def test_an_unknown_alias_names_the_nearest() -> None:
    with override_settings(REDISDICT={"sessions": {"LOCATION": REDIS}}):
        with pytest.raises(
            ConfigurationError, match=r"no alias 'session'; did you mean 'sessions'"
        ):
            conf.get_alias("session")


def test_without_the_setting_the_django_redis_cache_is_borrowed() -> None:
    with override_settings(REDISDICT={}, CACHES=DJANGO_REDIS):
        assert conf.get_alias("default").cache == "default"
        assert conf.aliases() == ("default",)


def test_without_the_setting_and_such_a_cache_the_message_says_what_to_add() -> None:
    with override_settings(REDISDICT={}):
        assert conf.aliases() == ()
        with pytest.raises(ConfigurationError, match=r"Add REDISDICT = \{\"default\""):
            conf.get_alias("default")


def test_changed_settings_are_read_again() -> None:
    with override_settings(REDISDICT={"default": {"LOCATION": REDIS, "TIMEOUT": 1}}):
        assert conf.get_alias("default").timeout == 1
    with override_settings(REDISDICT={"default": {"LOCATION": REDIS, "TIMEOUT": 2}}):
        assert conf.get_alias("default").timeout == 2
