"""What `@cached` refuses, and when it says so."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import redisdict.cache
from redisdict import ConfigurationError, PersistentDict
from redisdict.cache import cached
from tests.cache.conftest import entry
from tests.cache.decorated import Shop, doubled, fibonacci
from tests.waiting import LIMIT_S


def generator() -> Iterator[int]:
    yield 1


async def agenerator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (generator, {}, r"generator\(\) is a generator.*return a list"),
        (agenerator, {}, r"agenerator\(\) is a generator"),
        (Shop, {}, "a function is expected"),
        (5, {}, "a function is expected"),
        (property(len), {}, "below @property"),
        (lambda: 1, {}, r"<lambda> has no name of its own.*name="),
        (doubled.uncached, {"timeout": 0}, "timeout of .* is 0, so nothing would be kept"),
        (doubled.uncached, {"timeout": "60"}, "timeout of .* is '60'; seconds are expected"),
        (doubled.uncached, {"timeout": True}, "timeout of .* is True; seconds are expected"),
        (doubled.uncached, {"timeout": 5, "stale": -1}, "stale of .* is -1"),
        (doubled.uncached, {"timeout": 5, "stale": None}, "stale of .* is None"),
        (doubled.uncached, {"stale": 5}, "stale of .* give a timeout above 0"),
        (doubled.uncached, {"timeout": None, "stale": 5}, "give a timeout above 0"),
        (doubled.uncached, {"using": 5}, "using of .* is 5; an alias of CACHES"),
        (doubled.uncached, {"key": 5}, "key of .* is 5; a template or a function"),
        (doubled.uncached, {"key": "{a}"}, r"\{a\}; its parameters are: number\."),
        (functools.partial(doubled, 1), {}, "<nameless> has no name of its own"),
        (doubled.uncached, {"key": "{}"}, r"\{\}; its parameters are: number\."),
        (fibonacci.uncached, {"key": "{0}"}, r"\{0\}; its parameters are: n\."),
        (doubled.uncached, {"version": 1.5}, r"version of .* is 1\.5"),
        (doubled.uncached, {"name": 5}, "name of .* is 5"),
    ],
)
def test_refused_at_the_decoration(function: Any, options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        cached(**options)(function)


def test_a_dict_with_other_keys_is_refused() -> None:
    numbers: PersistentDict[int, int] = PersistentDict("numbers", key_type=int)
    with pytest.raises(ConfigurationError, match="keys aren't str"):
        cached(using=numbers)(doubled.uncached)  # type: ignore[arg-type]  # the point


def test_an_unknown_alias_is_told_at_the_first_use(configure: Callable[..., None]) -> None:
    wrong = cached(using="othr", name="wrong")(lambda: 1)
    configure(default=entry("redis://127.0.0.1:1"), other=entry("redis://127.0.0.1:1"))
    with pytest.raises(ConfigurationError, match=r"wrong\(\).*'othr'.*'default', 'other'"):
        wrong()


def test_a_wrong_entry_is_told_at_the_first_use(configure: Callable[..., None]) -> None:
    configure(default=entry("redis://127.0.0.1:1", OPTIONS={"SERIALISER": "pickle"}))
    with pytest.raises(ConfigurationError, match="SERIALISER"):
        doubled(1)
    configure(default={"BACKEND": "no.such.Backend"})
    with pytest.raises(ConfigurationError, match=r"no\.such\.Backend"):
        doubled(1)


def test_it_is_imported_at_its_first_use() -> None:
    code = "import sys, redisdict.cache as c; print('redisdict.cache.functions' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; c.cached; {code}"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]
    with pytest.raises(AttributeError, match="has no attribute 'cach'"):
        redisdict.cache.cach  # noqa: B018
