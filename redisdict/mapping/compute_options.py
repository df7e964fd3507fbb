"""Check the times given to `get_or_set()`: how long a value is fresh, kept, and waited for."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from redisdict.conf import LONGEST_S

#: `fail_safe=True`, and the pause after a failure in the background that nobody was told of.
DEFAULT_PAUSE_S: Final = 5.0


class ComputeOptions(NamedTuple):
    """The times of one computation; `parse_options()` checks them.

    Attributes:
        timeout_ms: how long a value is fresh; None for ever, 0 for what isn't kept at all.
        stale_ms: how long it is kept beyond that.
        soft_timeout_s: how long the caller who computes waits when an old value is at hand; None
            for as long as it takes.
        refresh_ms: how long before its end a fresh value is computed again in the background.
        fail_safe_s: how long the old value is served after a failure before it is tried again;
            None where an error is the caller's.
        lock_timeout_s: after how long another takes over.
    """

    timeout_ms: int | None
    stale_ms: int
    soft_timeout_s: float | None
    refresh_ms: int
    fail_safe_s: float | None
    lock_timeout_s: float

    @property
    def lives_ms(self) -> int | None:
        """The time for which the server keeps a value."""
        return None if self.timeout_ms is None else self.timeout_ms + self.stale_ms

    @property
    def needs_time(self) -> bool:
        """Whether the action depends on the value's time to live."""
        return bool(self.stale_ms or self.refresh_ms)


def parse_options(
    timeout_ms: int | None,
    stale: float = 0,
    soft_timeout: float | None = None,
    refresh_ahead: float = 0,
    fail_safe: bool | float = False,
    lock_timeout: float = 60,
    of: str = "",
) -> ComputeOptions:
    """Check the options of a call of `get_or_set()`.

    Args:
        timeout_ms: the timeout of the item.
        of: what an error says behind the name of an argument.

    Raises:
        TypeError: one isn't a number of seconds.
        ValueError: one is out of range, or can't have an effect.
    """
    if stale == refresh_ahead == 0 and fail_safe is False and soft_timeout is None:
        return ComputeOptions(timeout_ms, 0, None, 0, None, lock_timeout)
    stale_ms = _milliseconds(f"stale{of}", stale)
    refresh_ms = _milliseconds(f"refresh_ahead{of}", refresh_ahead)
    if stale_ms and not timeout_ms:
        raise ValueError(
            f"stale{of} is {stale} s, but the item has no timeout after which it could be stale;"
            " give a timeout above 0."
        )
    if refresh_ms and not timeout_ms:
        raise ValueError(
            f"refresh_ahead{of} is {refresh_ahead} s, but the item has no timeout, so it never has"
            " to be refreshed; give a timeout above 0."
        )
    if refresh_ms and timeout_ms and refresh_ms >= timeout_ms:
        raise ValueError(
            f"refresh_ahead{of} is {refresh_ahead} s, and the timeout {timeout_ms / 1000} s, so"
            " that every read would compute the value again; give less than the timeout."
        )
    if soft_timeout is not None:
        _milliseconds(f"soft_timeout{of}", soft_timeout)
        if not stale_ms:
            raise ValueError(
                f"soft_timeout{of} is {soft_timeout} s, but no old value is kept that could be"
                " served then; give stale as well."
            )
    fail_safe_s: float | None = None
    if fail_safe is True:
        fail_safe_s = DEFAULT_PAUSE_S
    elif fail_safe is not False:
        fail_safe_s = _milliseconds(f"fail_safe{of}", fail_safe, "True or seconds") / 1000 or None
    if fail_safe_s is not None and not (stale_ms or refresh_ms):
        raise ValueError(
            f"fail_safe{of} is {fail_safe}, but no old value is kept that could be served when"
            " a computation fails; give stale as well."
        )
    return ComputeOptions(timeout_ms, stale_ms, soft_timeout, refresh_ms, fail_safe_s, lock_timeout)


def _milliseconds(name: str, value: Any, expected: str = "seconds as a number") -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r:.80}; {expected} are expected.")
    if not 0 <= value <= LONGEST_S:
        raise ValueError(f"{name} is {value} s; 0 to {LONGEST_S} s are possible.")
    return math.ceil(value * 1000)
