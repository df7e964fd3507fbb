"""Every setting with wrong types and values: one line that names the setting and what to do.

The same line comes from `check`, from the first use of a dict and from the management commands.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import CommandError, SystemCheckError
from django.db import connections

from redisdict import PersistentDict
from redisdict.cache import cached
from redisdict.conf import DEFAULTS
from redisdict.connections.options import KINDS, OWN_OPTIONS
from redisdict.exceptions import ConfigurationError
from tests.cli.conftest import run

NOWHERE = "redis://:geheim@127.0.0.1:1/0"

#: A value of each type that settings have, and some that none has.
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, float("nan"), float("inf"), 10**400, "", "x", "a.b", "no.x",
    "\0", b"x", [], ["x"], (), {}, {"x": 1}, {5: 5}, {1}, object(), object, len, lambda: None,
]  # fmt: skip


class Exploding:
    """A module-level object whose use is an error of another kind."""

    def __init__(self, *_: object, **__: object) -> None:
        raise ZeroDivisionError("on\npurpose")


@pytest.fixture(autouse=True)
def only_the_settings_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of the model cache add others, which Django 6.1 checks too."""
    monkeypatch.setattr(connections, "settings", {"default": connections.settings["default"]})


def message_of(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text, text
    assert "geheim" not in text
    return text


def message_of_check(message: Any) -> str:
    assert "\n" not in message.msg, message.msg
    assert "geheim" not in message.msg
    return f"{message.id} {message.msg}"


def errors() -> list[str]:
    return [
        message
        for message in map(message_of_check, run_checks(tags=["redisdict"]))
        if message.startswith("redisdict.E")
    ]


@contextmanager
def trying(value: object) -> Iterator[None]:
    """Say of a failure which value it was."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"It was with {value!r:.60}.")
        raise


def use(*, is_async: bool = False) -> str | None:
    """The error that the first use of a dict tells, on a server that isn't there."""
    shop: PersistentDict[str, Any] = PersistentDict("shop", using="shop")
    try:
        if is_async:
            asyncio.run(shop.aget("key"))
        else:
            shop.get("key")
    except ConfigurationError as error:
        return message_of(error)
    except ConnectionError:
        return None
    raise AssertionError("no server is there")


@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_each_setting_is_refused_or_works(key: str, settings: Any) -> None:
    """What `check` has nothing to say of works until the server is missed; else both say it."""
    for strange in STRANGE:
        with trying(strange):
            location = {} if key in ("LOCATION", "CACHE") else {"LOCATION": NOWHERE}
            settings.REDISDICT = {"shop": {**location, key: strange}}
            found = errors()
            said = use()
            if found:
                [text] = found
                assert text.startswith('redisdict.E001 REDISDICT["shop"]')
                assert key in text
                if key != "SCOPE":  # which only a ModelDict has imported
                    assert f"redisdict.E001 {said or use(is_async=True)}" == text
            else:
                assert said is None


@pytest.mark.parametrize("name", sorted({*KINDS, "nonsense", "ssl_cert_reqs", "retry_on_error"}))
def test_each_option_is_refused_or_works(name: str, settings: Any) -> None:
    for strange in STRANGE:
        with trying(strange):
            location = NOWHERE.replace("redis", "rediss", 1) if name.startswith("ssl") else NOWHERE
            settings.REDISDICT = {"shop": {"LOCATION": location, "OPTIONS": {name: strange}}}
            found = errors()
            said = use()
            if found:
                [text] = found
                assert text.startswith('redisdict.E001 REDISDICT["shop"]["OPTIONS"]')
                assert f"redisdict.E001 {said or use(is_async=True)}" == text
            else:
                assert said is None


@pytest.mark.parametrize("where", ["setting", "alias", "name"])
def test_the_whole_of_it_may_be_anything(where: str, settings: Any) -> None:
    for strange in STRANGE:
        with trying(strange):
            if where == "setting":
                settings.REDISDICT = strange
            elif where == "alias":
                settings.REDISDICT = {"shop": strange}
            elif getattr(strange, "__hash__", None) is None:
                continue  # no key of a dict
            else:
                settings.REDISDICT = {strange: {"LOCATION": NOWHERE}}
            found = errors()
            assert len(found) <= 1
            if where != "name" and strange not in (None, {}) and not isinstance(strange, dict):
                assert found
            said = use()
            assert said is not None
            assert "REDISDICT" in said


@pytest.mark.parametrize(
    "key", ["SERIALIZER", "COMPRESSOR", "POOL_CLASS", "ASYNC_POOL_CLASS", "TRACER", "SCOPE"]
)
@pytest.mark.parametrize(
    "path",
    [
        "nothing", "no.such.module", "tests.checks.test_bad_settings.nothing",
        f"{__name__}.Exploding", f"{__name__}.NOWHERE", "tests.checks.broken.anything", "..",
        "a..b",
    ],
)  # fmt: skip
def test_what_a_path_leads_to(key: str, path: str, settings: Any) -> None:
    settings.REDISDICT = {"shop": {"LOCATION": NOWHERE, key: path}}
    found = errors()
    if path.endswith("Exploding") and key in ("TRACER", "SCOPE"):
        assert found == []  # it can be called, and will tell by itself
        return
    [text] = found
    assert 'REDISDICT["shop"]' in text
    assert key in text


@pytest.mark.parametrize(
    "key", ["LOCATION", "TIMEOUT", "KEY_PREFIX", "VERSION", "OPTIONS", "SERIALIZER"]
)
def test_each_key_of_a_cache_is_refused_or_works(key: str, settings: Any) -> None:
    for strange in STRANGE:
        with trying(strange):
            entry = {"BACKEND": "redisdict.cache.DictCache", "LOCATION": NOWHERE, key: strange}
            settings.CACHES = {"shop": entry}
            found = errors()
            assert len(found) <= 1
            assert all('CACHES["shop"]' in text for text in found)


@pytest.mark.parametrize(
    "name",
    [
        "SERIALIZER", "COMPRESSOR", "READ_FROM", "WRITE_FOR", "CLEAR", "IGNORE_EXCEPTIONS",
        "DURABLE", "NEAR", "NEAR_MAX_BYTES", "NEAR_MAX_ITEMS", "POOL_CLASS", "ASYNC_POOL_CLASS",
        "RETRY_FOR", "TRACER", "max_connections", "socket_timeout", "nonsense", "NONSENSE",
    ],
)  # fmt: skip
def test_each_option_of_a_cache_is_refused_or_works(name: str, settings: Any) -> None:
    for strange in STRANGE:
        with trying(strange):
            settings.CACHES = {
                "shop": {
                    "BACKEND": "redisdict.cache.DictCache",
                    "LOCATION": NOWHERE,
                    "OPTIONS": {name: strange},
                }
            }
            found = errors()
            from django.core.cache import caches

            try:
                caches["shop"].get("key")
            except ConfigurationError as error:
                said = message_of(error)
                assert found == [f"redisdict.E004 {said}"]
            except ConnectionError:
                assert found == []
            else:
                assert name == "IGNORE_EXCEPTIONS"


@pytest.mark.parametrize("entry", [None, 5, "x", [], {"BACKEND": 5}, {"BACKEND": None}])
def test_a_borrowed_cache_may_be_anything(entry: Any, settings: Any) -> None:
    settings.CACHES = {"default": entry}
    settings.REDISDICT = {"shop": {"CACHE": "default"}}
    found = errors()
    assert [text for text in found if "CACHES" in text] == found
    assert len(found) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"LOCATION": 5}, {"LOCATION": []}, {"LOCATION": [5]}, {"LOCATION": "redis://h/abc"},
        {"LOCATION": "redis://m/0", "OPTIONS": {"SENTINELS": 5}},
        {"LOCATION": "redis://m/0", "OPTIONS": {"SENTINELS": ["h:1"]}},
        {"LOCATION": "redis://m/0", "OPTIONS": {"SENTINELS": [("h", "x")]}},
        {"LOCATION": NOWHERE, "OPTIONS": 5},
        {"LOCATION": NOWHERE, "OPTIONS": {"CONNECTION_POOL_KWARGS": 5}},
    ],
)  # fmt: skip
def test_settings_of_a_borrowed_pool(values: dict[str, Any], settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", **values}}
    settings.REDISDICT = {"shop": {"CACHE": "default"}}
    [text] = errors()
    assert "CACHES" in text


def test_an_unknown_option_is_told_by_its_name(settings: Any) -> None:
    options = {"socket_timout": 5}
    settings.REDISDICT = {"shop": {"LOCATION": NOWHERE, "OPTIONS": options}}
    assert errors() == [
        'redisdict.E001 REDISDICT["shop"]["OPTIONS"] has the unknown option \'socket_timout\','
        " which neither the pool nor redis-py's connections take; did you mean 'socket_timeout'?"
    ]
    settings.REDISDICT = {"shop": {"LOCATION": f"{NOWHERE}?nonsense=1"}}
    assert errors() == [
        'redisdict.E001 The query of REDISDICT["shop"]["LOCATION"] has the unknown option'
        " 'nonsense', which neither the pool nor redis-py's connections take; remove it."
    ]


@pytest.mark.parametrize("option", sorted(OWN_OPTIONS))
def test_an_option_of_the_package_is_suggested(option: str, settings: Any) -> None:
    settings.REDISDICT = {"shop": {"LOCATION": NOWHERE, "OPTIONS": {option[:-1]: None}}}
    [text] = errors()
    assert f"did you mean {option!r}?" in text


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"BACKEND": "x"}, "; that is a key of CACHES;"),
        ({"URL": "x"}, '; it is called "LOCATION" here.'),
        ({"HOST": "x"}, "; it stands in LOCATION"),
        ({"TIMEOT": 1}, "; did you mean 'TIMEOUT'?"),
        ({"COLOR": 1}, "has the unknown key 'COLOR'; known: LOCATION, "),
        ({"SERIALIZER": "yaml"}, "SERIALIZER 'yaml' isn't known. There are 'msgpack'"),
        ({"SERIALIZER": "msgpak"}, ": did you mean 'msgpack'? There are"),
        ({"COMPRESSOR": "gzip"}, ": did you mean 'zlib'?"),
    ],
)
def test_a_name_is_suggested_only_if_it_is_alike(
    values: dict[str, Any], hint: str, settings: Any
) -> None:
    settings.REDISDICT = {"shop": {"LOCATION": NOWHERE, **values}}
    [text] = errors()
    assert hint in text
    assert ("did you mean" in text) == ("did you mean" in hint)


# What the commands say


MISTAKES = ["option", "database", "relative", "unwritable", "unknown"]


@pytest.fixture(params=MISTAKES)
def broken(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> str:
    """A mistake of each kind, and what is said of it."""
    file = tmp_path / "file"
    file.touch()
    values: dict[str, tuple[dict[str, Any], str]] = {
        "option": ({"LOCATION": NOWHERE, "OPTIONS": {"socket_timeout": "5"}}, "socket_timeout"),
        "database": ({"LOCATION": "redis://127.0.0.1:1/abc"}, "after the host is 'abc'"),
        "relative": ({"LOCATION": "embedded://data"}, "the directory 'data' isn't absolute"),
        "unwritable": ({"LOCATION": f"embedded://{file}/data"}, "can't be used"),
        "unknown": ({"LOCATION": NOWHERE, "TIMOUT": 5}, "did you mean 'TIMEOUT'"),
    }
    alias, text = values[request.param]
    settings.REDISDICT = {"default": alias}
    return text


def check(*arguments: str) -> str:
    with pytest.raises(SystemCheckError) as caught:
        call_command("check", *arguments, stderr=io.StringIO())
    [line] = [line for line in str(caught.value).splitlines() if "redisdict.E" in line]
    return line


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [["--deploy"], ["--tag", "redisdict_server"]])
def test_a_check_of_the_servers_tells_each_mistake_once(
    broken: str, arguments: list[str], settings: Any
) -> None:
    settings.SILENCED_SYSTEM_CHECKS = [*settings.SILENCED_SYSTEM_CHECKS, "security.W004"]
    if arguments == ["--tag", "redisdict_server"] and "can't be used" not in broken:
        arguments = [*arguments, "--tag", "redisdict"]
    assert broken in check(*arguments)


def test_the_command_tells_it_in_one_line(broken: str) -> None:
    for arguments in (["list"], ["get", "shop", "k"], ["set", "shop", "k", "1"], ["show", "shop"]):
        result = run(*arguments)
        assert result.status in (1, 3)
        assert broken in result.err
        assert result.err.count("\n") == 1
    result = run("doctor", "--json")
    assert result.status == 3
    [error] = [one for one in result.objects if one["level"] == "error"]
    assert broken in error["text"]


# A directory is looked at when it is used.
@pytest.mark.django_db
@pytest.mark.parametrize("broken", sorted({*MISTAKES} - {"unwritable"}), indirect=True)
@pytest.mark.parametrize("command", [["migrate", "--check"], ["redisbench", "services"]])
def test_other_commands_tell_it_too(broken: str, command: list[str]) -> None:
    with pytest.raises((CommandError, SystemCheckError)) as caught:
        call_command(*command, skip_checks=False, stdout=io.StringIO(), stderr=io.StringIO())
    assert broken in str(caught.value)


# Arguments


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: PersistentDict("shop").set("k", 1, ttl=5), "PersistentDict.set()"),  # type: ignore[call-arg]
        (lambda: PersistentDict("shop").incr(), "PersistentDict.incr()"),  # type: ignore[call-arg]
        (lambda: PersistentDict("shop").dump(), "PersistentDict.dump()"),  # type: ignore[call-arg]
        (lambda: PersistentDict("shop", near=1.0).get(), "PersistentDict.get()"),  # type: ignore[call-overload]
        (lambda: PersistentDict("shop", nearby=1), "PersistentDict.__init__()"),  # type: ignore[call-overload]
    ],
)
def test_a_wrong_call_names_what_was_called(call: Callable[[], object], name: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value).startswith(name)


def test_a_wrong_call_of_a_cache_names_it(settings: Any) -> None:
    from django.core.cache import caches

    settings.CACHES = {
        "default": {"BACKEND": "redisdict.cache.DictCache", "LOCATION": NOWHERE},
    }
    with pytest.raises(TypeError, match=r"^DictCache\.ttl\(\)"):
        caches["default"].ttl()
    with pytest.raises(TypeError, match=r"^cached\(\)"):
        cached(tiemout=5)  # type: ignore[call-arg]
