"""Template filters that write measured figures the way people read them."""

import math
from typing import Any

from django import template
from django.utils.formats import number_format

register = template.Library()

NOTHING = "\N{EN DASH}"
MILLION = 1_000_000


@register.filter
def ops_per_second(value: float | None) -> str:
    """`31,234`, and `4.41 M` from a million on."""
    if value is None:
        return NOTHING
    if value >= MILLION:
        return f"{number_format(value / MILLION, decimal_pos=2)} M"
    return number_format(value, decimal_pos=0, force_grouping=True)


@register.filter
def ratio(value: float | None) -> str:
    """`1.034`; an unbounded end of an interval is `∞`."""
    if value is None:
        return NOTHING
    return number_format(value, decimal_pos=3) if math.isfinite(value) else "∞"


@register.filter
def percent(value: float | None) -> str:
    """`0.012` is `1.2 %`."""
    return NOTHING if value is None else f"{number_format(value * 100, decimal_pos=1)} %"


@register.filter
def hit_rate(stats: Any) -> str:
    """What share of the lookups found a row in the cache."""
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
    return number_format(value, decimal_pos=decimals, force_grouping=True)
