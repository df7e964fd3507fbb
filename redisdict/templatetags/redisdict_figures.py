"""Format measured figures for people, by template filters."""

import math
from typing import Any

from django import template
from django.utils.formats import number_format

register = template.Library()

NOTHING = "\N{EN DASH}"
MILLION = 1_000_000


def _rounded(value: float, decimals: int, *, has_groups: bool = False) -> str:
    """Write a number as the language does. Django's own function cuts digits off."""
    return number_format(round(value, decimals), decimal_pos=decimals, force_grouping=has_groups)


@register.filter
def whole(value: int | None) -> str:
    """`31,234`, for counts."""
    return NOTHING if value is None else _rounded(value, 0, has_groups=True)


@register.filter
def ops_per_second(value: float | None) -> str:
    """`31,234`, and `4.41 M` from a million on."""
    if value is None:
        return NOTHING
    if round(value) >= MILLION:
        return f"{_rounded(value / MILLION, 2)} M"
    return _rounded(value, 0, has_groups=True)


@register.filter
def ratio(value: float | None, decimals: int = 3) -> str:
    """`1.034`; an unbounded end of an interval is `∞`."""
    if value is None:
        return NOTHING
    return _rounded(value, decimals) if math.isfinite(value) else "∞"


@register.filter
def percent(value: float | None) -> str:
    """`0.012` is `1.2 %`."""
    return NOTHING if value is None else f"{_rounded(value * 100, 1)} %"


@register.filter
def hit_rate(stats: Any) -> str:
    """Return the share of lookups that found a row in the cache."""
    lookups = stats.hits + stats.misses
    return percent(stats.hits / lookups if lookups else None)


@register.filter
def significant(value: float | None) -> str:
    """About four digits that count, whatever the size."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "∞"
    decimals = 0 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
    return _rounded(value, decimals, has_groups=True)
