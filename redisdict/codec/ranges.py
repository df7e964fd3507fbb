"""The values of PostgreSQL's range fields: `psycopg.types.range.Range`.

psycopg is imported only when such a value is read: whoever has none needn't have psycopg.
"""

from importlib import import_module
from typing import Any, Final

_MODULE: Final = "psycopg.types.range"


def is_range_type(kind: type) -> bool:
    """Tell whether this type is psycopg's `Range`."""
    return kind.__module__ == _MODULE and kind.__qualname__ == "Range"


def take_apart(value: Any) -> list[Any]:
    """Return lower and upper end and the bounds, such as "[)"; an empty range has none."""
    return [value.lower, value.upper, None if value.isempty else value.bounds]


def put_together(parts: list[Any]) -> Any:
    """Return the range again; raises `ImportError` without psycopg."""
    lower, upper, bounds = parts
    range_type = import_module(_MODULE).Range
    return range_type(empty=True) if bounds is None else range_type(lower, upper, bounds)
