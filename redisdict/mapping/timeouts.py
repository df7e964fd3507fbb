"""Times to live: seconds as users say them, milliseconds as servers take them."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["DEFAULT", "Default", "Timeout", "to_milliseconds"]


class Default:
    """The type of `DEFAULT`, which stands for the dict's own timeout."""

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Default()

Timeout = float | Default | None

#: The server keeps deadlines in 64 bits of milliseconds; a thousand years leave room for its clock.
LONGEST_S = 1000 * 365 * 86400


def to_milliseconds(timeout: Timeout, default_ms: int | None) -> int | None:
    """Convert to milliseconds above 0, None for ever, or 0 for a time that is over already.

    Args:
        timeout: seconds, None for ever, or `DEFAULT`.
        default_ms: what `DEFAULT` stands for.

    Raises:
        TypeError: it isn't a number.
        ValueError: it isn't finite, or more than a thousand years.
    """
    if isinstance(timeout, Default):
        return default_ms
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(
            f"timeout is {type(timeout).__name__}; seconds as a number are expected,"
            " or None for ever."
        )
    if not timeout <= LONGEST_S:
        raise ValueError(
            f"timeout is {timeout} s; at most {LONGEST_S} are possible. None lasts for ever."
        )
    return max(0, math.ceil(timeout * 1000))
