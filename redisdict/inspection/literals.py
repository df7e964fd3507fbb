"""Read values that people write as Python literals, without running code."""

from __future__ import annotations

import ast
import datetime
import uuid
import zoneinfo
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.translation import gettext as _

#: What may be called: the types of values that Python has no literal for, by the names that
#: `repr()` gives them.
_CALLABLE: Mapping[str, Callable[..., Any]] = {
    "datetime.date": datetime.date,
    "datetime.datetime": datetime.datetime,
    "datetime.time": datetime.time,
    "datetime.timedelta": datetime.timedelta,
    "datetime.timezone": datetime.timezone,
    "zoneinfo.ZoneInfo": zoneinfo.ZoneInfo,
    "Decimal": Decimal,
    "UUID": uuid.UUID,
    "set": set,
    "frozenset": frozenset,
}

_NAMED: Mapping[str, Any] = {"datetime.timezone.utc": datetime.timezone.utc}  # noqa: UP017

#: Words of JSON, and what Python has for them.
_FOREIGN = {"true": "True", "false": "False", "null": "None"}


def read_literal(text: str) -> Any:
    """Read a literal: numbers, texts, bytes, True, False, None, containers, dates and the like.

    Raises:
        ValueError: it is none; the text says where and what to write.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _value(tree.body)
    except SyntaxError as error:
        raise ValueError(
            _("Line %(line)d isn't a Python literal: %(reason)s. Texts need quotes, as in 'abc'.")
            % {"line": error.lineno or 1, "reason": error.msg}
        ) from error
    except (RecursionError, MemoryError) as error:
        raise ValueError(_("The value is nested too deep.")) from error


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of the same types all the way down."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(map(is_same, one, other)) and all(map(is_same, one.values(), other.values()))
    if isinstance(one, list | tuple):
        return all(map(is_same, one, other))
    if isinstance(one, set | frozenset):
        twins = {element: element for element in other}
        return all(is_same(element, twins[element]) for element in one)
    return True


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value) if value is not ... and not isinstance(value, complex):
            return value
        case ast.List(elts=parts):
            return [_value(part) for part in parts]
        case ast.Tuple(elts=parts):
            return tuple(_value(part) for part in parts)
        case ast.Set(elts=parts):
            return _made(node, set, [[_value(part) for part in parts]], {})
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = [
                (_value(key), _value(one)) for key, one in zip(keys, values, strict=True) if key
            ]
            return _made(node, dict, [pairs], {})
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Call(func=function, args=args, keywords=keywords):
            make = _CALLABLE.get(ast.unparse(function))
            named = {one.arg: _value(one.value) for one in keywords if one.arg}
            if make is not None and len(named) == len(keywords):
                return _made(node, make, [_value(one) for one in args], named)
        case ast.Attribute() if ast.unparse(node) in _NAMED:
            return _NAMED[ast.unparse(node)]
    raise ValueError(_refusal(node))


def _made(node: ast.expr, make: Callable[..., Any], args: list[Any], named: dict[str, Any]) -> Any:
    try:
        return make(*args, **named)
    except (TypeError, ValueError, OverflowError, InvalidOperation, OSError, KeyError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            _("Line %(line)d: %(code)s can't be made: %(reason)s")
            % {"line": node.lineno, "code": _shortened(node), "reason": reason}
        ) from error


def _refusal(node: ast.expr) -> str:
    code = _shortened(node)
    if code in _FOREIGN:
        return _("Line %(line)d: %(code)s isn't a Python literal; write %(right)s.") % {
            "line": node.lineno,
            "code": code,
            "right": _FOREIGN[code],
        }
    return _("Line %(line)d: %(code)s isn't a Python literal. Texts need quotes, as in 'abc'.") % {
        "line": node.lineno,
        "code": code,
    }


def _shortened(node: ast.expr) -> str:
    code = ast.unparse(node)
    return code if len(code) <= 60 else f"{code[:60]}…"
