"""One of the processes: audits what the others cache, and complains of what disagrees."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from multiprocessing.sharedctypes import RawValue
from typing import Any

from django.db import DatabaseError

from redisdict.modelcache.audit.judge import Judge
from redisdict.modelcache.audit.passes import Audit
from redisdict.modelcache.outages import UNREACHED

#: How a complaint of a disagreement begins.
ALARM = "audit"


class Auditor:
    """Makes pass after pass.

    Attributes:
        judged, unjudged: cells.
        looked_again: those of them that were watched, for two reads seemed to disagree.
    """

    def __init__(self, is_over: Callable[[], bool], complain: Callable[[str], None]) -> None:
        self._is_over = is_over
        self._complain = complain
        # Shared with the process that sums up.
        self.judged = RawValue(ctypes.c_long, 0)
        self.unjudged = RawValue(ctypes.c_long, 0)
        self.looked_again = RawValue(ctypes.c_long, 0)

    def run(self) -> None:
        self._count_second_looks()
        audit = Audit()
        while not self._is_over():
            try:
                counts = audit.run()
            except (DatabaseError, *UNREACHED) as error:
                self._complain(f"an auditor was stopped: {error}")
                continue
            for count in counts:
                self.judged.value += count.judged
                self.unjudged.value += sum(count.unjudged.values())
                for key, fields in count.examples:
                    self._complain(f"{ALARM}: {count.model} {key}: {', '.join(fields)}")

    def _count_second_looks(self) -> None:
        look_again = Judge._look_again

        def counting(judge: Judge, cell: bytes, verdicts: Any) -> None:
            self.looked_again.value += 1
            look_again(judge, cell, verdicts)

        Judge._look_again = counting  # type: ignore[method-assign]
