"""Convert timeouts of Django's caches, in seconds, to the milliseconds of the servers."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, Final

#: The server keeps deadlines in 64 bits of milliseconds; a thousand years leave room for its clock.
LONGEST_S: Final = 1000 * 365 * 86400


def to_milliseconds(timeout: Any) -> int | None:
    """Convert to milliseconds above 0, None for ever, or 0 for a time that is over already.

    More than a thousand years are a thousand years.

    Raises:
        TypeError: it is neither a number nor a timedelta.
        ValueError: it isn't a number of anything.
    """
    if timeout is None:
        return None
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    if not isinstance(timeout, int | float):
        raise TypeError(
            f"timeout is {type(timeout).__name__}; seconds as a number are expected, or None for"
            " ever."
        )
    if math.isnan(timeout):
        raise ValueError("timeout is nan; seconds are expected, or None for ever.")
    return max(0, math.ceil(min(timeout, LONGEST_S) * 1000)) if timeout > 0 else 0


def to_unix_ms(when: Any, *, in_ms: bool) -> int:
    """Convert a datetime, or seconds or milliseconds, to a Unix time in milliseconds."""
    if isinstance(when, datetime):
        return int(when.timestamp() * 1000)
    return int(when) if in_ms else int(when * 1000)
