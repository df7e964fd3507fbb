"""Read a clock that goes on while the machine sleeps, for the near cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final


def _choose() -> Callable[[], float]:
    # After a suspend CLOCK_MONOTONIC would tell a bound that the time in between was none.
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    if boot_time is None:
        return time.monotonic
    return partial(time.clock_gettime, boot_time)


#: Seconds since some time in the past: CLOCK_BOOTTIME, or `time.monotonic()` where there is none.
clock: Final = _choose()
