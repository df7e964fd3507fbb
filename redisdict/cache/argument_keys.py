"""Make the key of an entry from the arguments of a cached function, by one documented rule.

    NAME:a=1,b="x"          the function's name, and each argument by the name of its parameter
    NAME@VERSION:a=1,b="x"  with a version
    NAME#SHA256             instead of a text that is too long for a key, or has other characters

Each value is written with its type, so that 1, True, "1" and 1.0 give different keys. In a text
everything but letters, digits and some signs is percent-encoded, so no character of it can be
mistaken for its end.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from string import Formatter
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Model
from django.utils.functional import LazyObject
from django.utils.safestring import SafeString

#: A cache has 250 characters at most for the key and what it puts before it.
LONGEST: Final = 200

#: Of the name that stands before a hash, so that one sees whose entry it is.
LONGEST_HEAD: Final = 100

_is_plain: Final = re.compile(r"[\x21-\x7e]*").fullmatch


class NoKey(TypeError):
    """No key can be made from a value; the text describes it."""


class KeyMaker:
    """From the arguments of a call to the key of its entry.

    Args:
        function: the one that is cached.
        name: stands for its qualified name.
        version: stands behind it, if there is one.
        key: a template or a function that makes the part after the name, instead of the rule.

    Raises:
        TypeError, ValueError: one of these can't be used, or the function has no name of its own.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None,
        version: str | int | None,
        key: str | Callable[..., Any] | None,
    ) -> None:
        for what, value, kinds_of_it in (("name", name, str), ("version", version, str | int)):
            if value is not None and not isinstance(value, kinds_of_it):
                raise TypeError(f"{what} of cached() is {value!r:.80}; a text is expected.")
        if key is not None and not isinstance(key, str) and not callable(key):
            raise TypeError(
                f"key of cached() is {key!r:.80}; a template or a function is expected."
            )
        self.name = qualified_name(function) if name is None else name
        if name is None and "<" in self.name:
            raise TypeError(
                f"{self.name} has no name of its own: other functions may have the same. Give"
                ' cached() a name, as name="products.total".'
            )
        self._head = self.name if version is None else f"{self.name}@{version}"
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters
        self._names = tuple(parameters)
        kinds = {parameter.kind for parameter in parameters.values()}
        self._is_simple = kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        self._defaults = [parameter.default for parameter in parameters.values()]
        self._key = key
        if isinstance(key, str):
            self._check_template(key)

        #: Whether it is the function of a classmethod, by its first parameter's name.
        place = getattr(function, "__qualname__", "").rpartition(".")[0]
        self.takes_class = (
            self._names[:1] == ("cls",) and place != "" and not place.endswith("<locals>")
        )

    def key_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Make the key.

        Raises:
            TypeError: the function doesn't take these arguments, or no key can be made of one.
        """
        key = self._key
        if key is None:
            part = ",".join(self._encoded(self._bind(args, kwargs)))
        elif isinstance(key, str):
            part = key.format_map(self._bind(args, kwargs))
        else:
            bound = self._bound(args, kwargs)
            part = self._encode("key=", key(*bound.args, **bound.kwargs))
        text = f"{self._head}:{part}"
        if len(text) <= LONGEST and _is_plain(text):
            return text
        head = quote(self._head, safe=".@")[:LONGEST_HEAD]
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{head}#{digest}"

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by the names of their parameters, with all defaults."""
        if self._is_simple and not kwargs and len(args) <= len(self._names):
            values = (*args, *self._defaults[len(args) :])
            if inspect.Parameter.empty not in values[len(args) :]:
                return dict(zip(self._names, values, strict=True))
        return self._bound(args, kwargs).arguments

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None
        bound.apply_defaults()
        return bound

    def _encoded(self, arguments: Mapping[str, Any]) -> Iterable[str]:
        return [f"{name}={self._encode(name, value)}" for name, value in arguments.items()]

    def _encode(self, name: str, value: Any) -> str:
        try:
            return encode_value(value)
        except NoKey as error:
            what = "What key= gave" if name == "key=" else f"The argument {name!r}"
            raise TypeError(
                f"{what} for {self.name}() is or contains {error}, from which no key can be made."
                " Give cached() a key= (a template, or a function of the arguments), or give the"
                " value's class a method __cache_key__()."
            ) from None

    def _check_template(self, template: str) -> None:
        for _, field, _, _ in Formatter().parse(template):
            if field is None:
                continue
            name = re.split(r"[.\[]", field)[0]
            if name not in self._names:
                known = ", ".join(self._names) or "none"
                raise ValueError(
                    f"key={template!r} of {self.name}() has {{{field}}}; its parameters are:"
                    f" {known}."
                )


def qualified_name(thing: Any) -> str:
    """Name a function or a class, with its module. A `functools.partial` has no name."""
    return f"{thing.__module__}.{getattr(thing, '__qualname__', '<nameless>')}"


def encode_value(value: Any) -> str:
    """Write a value with its type: different text for different values, the same for equal ones.

    Raises:
        NoKey: that can't be done for it, or for something in it.
    """
    encode = _BY_TYPE.get(type(value))
    if encode is not None:
        return encode(value)
    if isinstance(value, LazyObject):  # as request.user is
        return encode_value(value.__reduce__()[1][0])
    own: Any = getattr(type(value), "__cache_key__", None)
    if own is not None:
        return f"{_named(type(value))}({encode_value(own(value))})"
    if isinstance(value, Enum):
        # Members of a Flag that are made of several may have no name.
        member = encode_value(value.value) if isinstance(value, Flag) else value.name
        return f"{_named(type(value))}.{quote(member)}"
    if isinstance(value, Model):
        pk: Any = value.pk
        if pk is None or (isinstance(pk, tuple) and None in pk):
            raise NoKey(f"an instance of {value._meta.label} without a primary key")
        return f"{value._meta.label}<{encode_value(pk)}>"
    if isinstance(value, type):
        return f"class<{_named(value)}>"
    raise NoKey(f"a {qualified_name(type(value))}")


def _named(kind: type) -> str:
    name = qualified_name(kind)
    if "<" in name:
        raise NoKey(f"something of the class {name}, which has no name of its own")
    return name


def _int(value: int) -> str:
    # Python makes no decimal text of more than some thousand digits.
    return str(value) if value.bit_length() < 64 else hex(value)


def _str(value: str) -> str:
    return f'"{quote(str.__str__(value), safe=_SAFE, errors="surrogatepass")}"'


def _zone(zone: tzinfo | None) -> str:
    if zone is None:
        return ""
    if type(zone) is timezone:
        return f"[{zone.utcoffset(None)},{_str(zone.tzname(None))}]".replace(" ", "")
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        return f"[{_str(zone.key)}]"
    raise NoKey(f"a time in the zone {zone!r}")


def _time(value: datetime | time) -> str:
    moment = value.replace(tzinfo=None).isoformat()
    return f"{type(value).__name__}<{moment}{'+' * value.fold}{_zone(value.tzinfo)}>"


def _items(values: Iterable[Any]) -> str:
    return ",".join(map(encode_value, values))


def _set(values: Iterable[Any]) -> str:
    return ",".join(sorted(map(encode_value, values)))


def _dict(values: Mapping[Any, Any]) -> str:
    pairs = sorted((encode_value(key), encode_value(value)) for key, value in values.items())
    return ",".join(f"{key}:{value}" for key, value in pairs)


#: What texts keep of their signs; letters, digits and `_.-~` are kept anyway.
_SAFE: Final = "/:@+=!$*;?|"

_BY_TYPE: Final[Mapping[type, Callable[[Any], str]]] = {
    type(None): repr,
    bool: repr,
    int: _int,
    float: repr,
    str: _str,
    SafeString: lambda value: f"SafeString<{_str(value)}>",
    bytes: lambda value: f'b"{quote_from_bytes(value, safe=_SAFE)}"',
    Decimal: lambda value: f"Decimal<{value}>",
    UUID: lambda value: f"UUID<{value}>",
    date: lambda value: f"date<{value.isoformat()}>",
    datetime: _time,
    time: _time,
    timedelta: lambda value: f"timedelta<{value.days},{value.seconds},{value.microseconds}>",
    tuple: lambda value: f"({_items(value)})",
    list: lambda value: f"[{_items(value)}]",
    set: lambda value: f"set<{_set(value)}>",
    frozenset: lambda value: f"frozenset<{_set(value)}>",
    dict: lambda value: f"{{{_dict(value)}}}",
}
