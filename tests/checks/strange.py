"""Values that nobody should write into a setting, and somebody does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy
from hypothesis import strategies as st

from tests.strategies import nested

#: What no error may repeat.
SECRET = "geheim"


class Unreadable:
    """An object whose repr, comparison and truth are errors of their own."""

    def __repr__(self) -> str:
        raise ZeroDivisionError("repr\non purpose")

    def __bool__(self) -> bool:
        raise ZeroDivisionError("bool\non purpose")

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("==\non purpose")

    def __hash__(self) -> int:
        return 1


class TwoLines:
    """An object that is shown on two lines."""

    def __repr__(self) -> str:
        return f"two\nlines {SECRET}"


class Choice(str, Enum):  # noqa: UP042 - projects have these, whose str() isn't their value
    """Texts of a project's own."""

    ADDRESS = "redis://127.0.0.1:1/0"
    NAME = "redis"


def _fail() -> Any:
    raise LookupError("a lazy\nobject failed")


@dataclass(frozen=True)
class Odd:
    """Stands for a value that Hypothesis itself couldn't handle, until `made()` makes it."""

    name: str


ODD: Mapping[str, Callable[[], Any]] = {
    "an unreadable object": Unreadable,
    "an object of two lines": TwoLines,
    "a class": lambda: Unreadable,
    "a function": lambda: len,
    "a huge int": lambda: 10**5000,
    "a translation": lambda: gettext_lazy("redis"),
    "a lazy address": lambda: SimpleLazyObject(lambda: "redis://127.0.0.1:1/0"),
    "a lazy number": lambda: SimpleLazyObject(lambda: 5),
    "a lazy dict": lambda: SimpleLazyObject(dict),
    "a lazy failure": lambda: SimpleLazyObject(_fail),
    "an enumeration's address": lambda: Choice.ADDRESS,
    "an enumeration's name": lambda: Choice.NAME,
}

#: Addresses, few of which can be used.
ADDRESSES = (
    "redis://127.0.0.1:1/0", f"redis://:{SECRET}@127.0.0.1:1/0", f"http://u:{SECRET}@h/", "redis://",
    f"redis://:{SECRET}@h:port/0", f"redis://h/abc?x={SECRET}", "unix://relative", "://",
    "embedded://data", "redis+cluster://", f"redis+sentinel://:{SECRET}@h:1", "redis://[::1",
    "redis", "rediss://h?ssl_cert_reqs=never", "redis://h:99999/0", "redis://h?db=x",
    "redis://h\n:1/0",
)  # fmt: skip

#: Names that settings have, and others like them.
NAMES = (
    "SERVICES", "SERVICE", "services", "RUN_BENCHMARKS", "RUN_BENCHMARK", "redis", "valkey",
    "valky", "sentinel", "mongo", "default", "shop", "prometheus", "opentelemetry", "prometeus",
    "LOCATION", "OPTIONS", "BACKEND", "TIMEOUT", "NEAR", "msgpack", "pickle", "aof", "request",
)  # fmt: skip

_keys = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(ADDRESSES),
    st.sampled_from(sorted(ODD)).map(Odd),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=80),
    st.binary(max_size=8),
)

#: Anything at all, to be made by `made()`.
anything = nested(_keys)


def nearly(**right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Anything, or a dict with some of these keys, and perhaps another."""
    known = st.fixed_dictionaries({}, optional=right)
    more = st.dictionaries(_keys, anything, max_size=1)
    return st.one_of(anything, known, st.builds(lambda one, two: {**two, **one}, known, more))


def made(drawn: Any) -> Any:
    """Make what was drawn, with the odd values in it. A key that can't be one is left out."""
    if isinstance(drawn, Odd):
        return ODD[drawn.name]()
    if isinstance(drawn, dict):
        values: dict[Any, Any] = {}
        for key, value in drawn.items():
            try:
                values[made(key)] = made(value)
            except (TypeError, LookupError, ZeroDivisionError):  # it has no hash, or no equality
                continue
        return values
    if isinstance(drawn, list | tuple):
        return type(drawn)(map(made, drawn))
    if isinstance(drawn, frozenset):
        return frozenset(made(dict.fromkeys(drawn)))
    return drawn
