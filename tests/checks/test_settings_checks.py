"""What `manage.py check` says of the settings, without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import Error, run_checks
from django.core.checks import Warning as CheckWarning

NOWHERE = "redis://:secret@127.0.0.1:1/0"

Configure = Callable[..., None]


@pytest.fixture
def configure(settings: Any) -> Configure:
    def one(**values: Any) -> None:
        settings.REDISDICT = {"shop": values}

    return one


def found() -> list[Any]:
    return run_checks(tags=["redisdict"])


def test_nothing_is_said_of_good_settings(configure: Configure) -> None:
    configure(LOCATION=NOWHERE)
    assert found() == []
    configure(LOCATION="unix:///run/valkey.sock", SERIALIZER="pickle")
    assert found() == []
    configure(LOCATION="embedded:///nowhere", SERIALIZER="pickle")
    assert found() == []


def test_no_settings_are_fine_until_used(settings: Any) -> None:
    settings.REDISDICT = {}
    assert found() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"LOCATION": NOWHERE, "TIMOUT": 5},
            "REDISDICT[\"shop\"] has the unknown key 'TIMOUT'; did you mean 'TIMEOUT'?",
        ),
        (
            {"LOCATION": "valkey://:secret@h"},
            'REDISDICT["shop"]["LOCATION"] has the scheme \'valkey\'; one of redis://, rediss://,'
            " unix://, redis+sentinel://, rediss+sentinel://, redis+cluster://, rediss+cluster://,"
            " embedded:// is expected.",
        ),
        (
            {"LOCATION": NOWHERE, "ASYNC_POOL_CLASS": "redisdict.pools.ConnectionPool"},
            'REDISDICT["shop"]["ASYNC_POOL_CLASS"] is \'redisdict.pools.ConnectionPool\'; a'
            " subclass of redis.asyncio.connection.ConnectionPool is expected, such as those of"
            " redisdict.pools.",
        ),
        (
            {"LOCATION": NOWHERE, "RETRY_FOR": -1},
            'REDISDICT["shop"]["RETRY_FOR"] is -1; a number of seconds is expected, 0 for a single'
            " retry at once, or None for the default of the location.",
        ),
        (
            {"LOCATION": NOWHERE, "DURABLE": "disk"},
            'REDISDICT["shop"]["DURABLE"] is \'disk\'; "aof" (a write returns when it is on the'
            ' server\'s disk), "replicas" (when a replica has it) or None is expected.',
        ),
    ],
)
def test_mistakes_are_errors(configure: Configure, values: dict[str, Any], message: str) -> None:
    configure(**values)
    assert found() == [Error(message, id="redisdict.E001")]


@pytest.mark.parametrize(
    "values",
    [{"OPTIONS": {"socket_timout": 5}}, {"SERIALIZER": "msgpck"}, {"COMPRESSOR": "zip"}],
)
def test_mistakes_that_others_name_are_errors_too(
    configure: Configure, values: dict[str, Any]
) -> None:
    configure(LOCATION=NOWHERE, **values)
    assert [message.id for message in found()] == ["redisdict.E001"]
    assert "secret" not in str(found())


def test_a_setting_that_is_no_dict(settings: Any) -> None:
    settings.REDISDICT = "redis://:secret@h"
    assert found() == [
        Error(
            "REDISDICT is str; a dict of aliases is expected, such as"
            ' {"default": {"LOCATION": "redis://127.0.0.1:6379/0"}}.',
            id="redisdict.E001",
        )
    ]


def test_pickle_over_a_network(configure: Configure) -> None:
    configure(LOCATION=NOWHERE, SERIALIZER="pickle")
    assert found() == [
        CheckWarning(
            'REDISDICT["shop"] reads pickles from redis://127.0.0.1:1/0: anyone who can write to'
            " that server can run code in this project.",
            hint='Use "SERIALIZER": "msgpack", or a server on a unix socket.',
            id="redisdict.W001",
        )
    ]


def test_no_socket_timeout(configure: Configure) -> None:
    configure(LOCATION=NOWHERE, OPTIONS={"socket_timeout": None})
    assert found() == [
        CheckWarning(
            'REDISDICT["shop"] has no socket timeout: a server that hangs holds every caller for'
            " ever.",
            hint='Set "OPTIONS": {"socket_timeout": 5}, or leave it out: the default is 5 s.',
            id="redisdict.W002",
        )
    ]


@pytest.mark.django_db  # Django 6.1 asks the database whether it can do JSON
def test_a_plain_check_asks_no_server(configure: Configure) -> None:
    configure(LOCATION=NOWHERE)
    messages = run_checks(databases=["default"])  # other tests have added some
    assert [message for message in messages if message.id.startswith("redisdict.")] == []
