"""Registering types: what is refused, and which names are taken."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, namedtuple
from fractions import Fraction
from typing import Any

import pytest
from django.utils.safestring import SafeString

from redisdict.codec import get_codec, register_type
from redisdict.exceptions import ConfigurationError
from tests.codec import registered
from tests.codec.models import Author
from tests.codec.registered import Rights

codec = get_codec("msgpack", None)


@pytest.fixture(autouse=True)
def others() -> None:
    registered.register_others()


@dataclasses.dataclass
class Plain:
    a: int = 1


def test_the_same_twice_is_no_error() -> None:
    assert register_type(Plain) is Plain
    register_type(Plain)
    register_type(Counter, name="counter", to=dict, from_=Counter)
    register_type(name="rights")(Rights)


def test_another_name_is_an_error() -> None:
    register_type(Plain)
    with pytest.raises(ConfigurationError, match=r"Plain is registered already, as '.*Plain'.*'p'"):
        register_type(Plain, name="p")


def test_other_functions_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="Counter is registered already, as 'counter'"):
        register_type(Counter, name="counter", to=lambda value: dict(value), from_=Counter)


def test_two_classes_under_one_name_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"'rights' is registered already, for .*Rights,"):
        register_type(Plain, name="rights")
    with pytest.raises(ConfigurationError, match=r"for django\.http\.response\.HttpResponse,"):
        register_type(Plain, name="django.http.response.HttpResponse")


def test_names_that_would_not_stay_have_to_be_given() -> None:
    class Local(enum.Enum):
        A = 1

    with pytest.raises(ConfigurationError, match=r"register_type\(Local, name=...\)"):
        register_type(Local)
    kind = namedtuple("kind", "a", module="__main__")  # noqa: PYI024
    with pytest.raises(ConfigurationError, match="no name that stays the same"):
        register_type(kind)
    register_type(kind, name="main")
    assert codec.decode(codec.encode(kind(1))) == kind(1)


class Alone:
    pass


@dataclasses.dataclass
class Listed(list[int]):
    a: int = 1


class Untupled(tuple[int, ...]):
    __slots__ = ()


@pytest.mark.parametrize("kind", [Alone, Listed, Untupled, Fraction.__base__])
def test_classes_without_a_known_form_need_functions(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="give `to`"):
        register_type(kind, name="x")


@pytest.mark.parametrize(
    "kind", [str, int, bool, list, dict, tuple, bytearray, memoryview, SafeString, Author]
)
def test_types_that_have_a_form_keep_it(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="has a form of its own"):
        register_type(kind, name="x", to=str, from_=kind)


def test_one_function_alone_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="both `to` and `from_`"):
        register_type(Alone, to=str)  # type: ignore[call-overload]


def test_only_classes_can_be_registered() -> None:
    with pytest.raises(TypeError, match="takes a class, not 5"):
        register_type(5)  # type: ignore[call-overload]
