"""Calls that a contender's process makes and times, in blocks, each when it is told to.

A process each, because other caches change the ORM for all models of their process. Each line of
its input names a call; each line of its output begins with "fine" or "failed".
"""

from __future__ import annotations

import gc
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Call:
    """One kind of call, which takes its arguments in turn."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        arguments: Sequence[Any],
        is_right: Callable[[Any], bool],
        count: int,
    ) -> None:
        self._function = function
        self._arguments = itertools.cycle(arguments)
        self._is_right = is_right
        self._count = count
        for argument in arguments:  # so that all of them are hits
            function(argument)
            function(argument)

    def block(self) -> str:
        """Nanoseconds of the timed calls, and how many these were."""
        function = self._function
        for _ in range(max(1, self._count // 2)):
            function(next(self._arguments))
        timed = [next(self._arguments) for _ in range(self._count)]
        started_ns = time.perf_counter_ns()
        replies = [function(argument) for argument in timed]
        duration_ns = time.perf_counter_ns() - started_ns
        if not all(map(self._is_right, replies)):
            raise ValueError(f"got {replies!r:.200}")
        return f"{duration_ns} {self._count}"


def serve(calls: Mapping[str, Call]) -> None:
    """Make blocks of these calls until the input ends."""
    gc.collect()
    gc.freeze()
    gc.disable()
    print("fine:", ",".join(calls), flush=True)
    for line in sys.stdin:
        name = line.strip()
        try:
            print("fine:", calls[name].block(), flush=True)
        except Exception as error:  # noqa: BLE001  # the parent shows it
            print(f"failed: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
        gc.collect(0)
