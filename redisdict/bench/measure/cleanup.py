"""Remove the keys of a run from a server that isn't its own, whatever happened.

A run never flushes anything. All its keys contain one random token, and while it works, the token
is in a hash on the server, `redisbench:runs`. By that hash the next run finds the keys of a run
that was killed, and removes them when that run's process is gone.
"""

from __future__ import annotations

import _thread
import itertools
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import redis

from redisdict.bench.errors import describe
from redisdict.bench.measure.environment import machine_hash
from redisdict.wire.scan import SMALL_COUNT

LEDGER = "redisbench:runs"

#: A run of another machine, whose process can't be looked up here, counts as ended after this time.
LONGEST_RUN = timedelta(days=1)

#: Keys that one UNLINK removes.
CHUNK = 1000


def new_token() -> str:
    return secrets.token_hex(6)


@contextmanager
def keys_removed_after(
    client: redis.Redis, token: str, on_failure: Callable[[str], None]
) -> Iterator[None]:
    """Note the run on the server, and remove its keys in the end.

    Runs that ended without doing so are cleared first.

    Args:
        on_failure: told why the keys could not be removed, if they could not.

    Raises:
        redis.exceptions.RedisError: the server can't be used, to begin with.
    """
    clear_ended_runs(client)
    entry = {
        "pid": os.getpid(),
        "machine": machine_hash(),
        "started_at": datetime.now(UTC).isoformat(),
    }
    client.hset(LEDGER, token, json.dumps(entry))
    try:
        yield
    finally:
        try:
            remove_keys(client, token)
            client.hdel(LEDGER, token)
        except (redis.RedisError, OSError) as error:
            on_failure(describe(error))


def clear_ended_runs(client: redis.Redis) -> int:
    """Remove the keys of killed runs from this server; return their number.

    Raises:
        redis.exceptions.RedisError: the server can't be used.
    """
    removed = 0
    runs: Any = client.hgetall(LEDGER)
    for name, text in runs.items():
        if _is_over(json.loads(text)):
            token = name.decode() if isinstance(name, bytes) else name
            removed += remove_keys(client, token)
            client.hdel(LEDGER, token)
    return removed


def remove_keys(client: redis.Redis, token: str) -> int:
    """UNLINK every key that holds the token, a page of SCAN at a time."""
    removed = 0
    keys = iter(client.scan_iter(match=f"*{token}*", count=SMALL_COUNT))
    while page := list(itertools.islice(keys, CHUNK)):
        removed += int(client.unlink(*page))
    return removed


def _is_over(entry: dict[str, Any]) -> bool:
    if entry["machine"] == machine_hash() and not _is_alive(int(entry["pid"])):
        return True
    return datetime.now(UTC) - datetime.fromisoformat(entry["started_at"]) > LONGEST_RUN


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's, but it is there
    return True


#: Seconds after which an `Interrupted` that was lost is raised again.
AGAIN_S = 0.01

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end; `exit_status` is what a shell expects then.

    `is_told`: the user knows already.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_status = 128 + number
        self.is_told = False


class Interruption:
    """Turns signals into `Interrupted`, at once or, while `deferred()`, when it is convenient.

    In the middle of a block an exception would lose replies, and in the middle of cleaning up it
    would leave servers and keys behind. A second signal takes effect at once, unless things are
    being cleaned up.

    A signal may arrive while Python runs a destructor or a callback of its garbage collection,
    where it ignores exceptions. An exception that was lost in this way is raised again a moment
    later.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._deferring = 0
        self._is_cleaning_up = False
        self._is_lost = False

    @property
    def is_requested(self) -> bool:
        return self._number is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals; what handled them before is put back. Does nothing in a thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {number: signal.signal(number, self._handle) for number in SIGNALS}
        hook_before = sys.unraisablehook
        again: list[threading.Timer] = []

        def hook(unraisable: sys.UnraisableHookArgs) -> None:
            if not isinstance(unraisable.exc_value, Interrupted):
                hook_before(unraisable)
                return
            is_raised_here = True
            while is_raised_here:
                self._is_lost = True
                # Later and by another thread: at once it would find this one in the destructor.
                again.append(threading.Timer(AGAIN_S, _thread.interrupt_main, (self._number,)))
                again[-1].daemon = True
                try:
                    again[-1].start()
                    is_raised_here = False
                except Interrupted:  # on a busy machine it has come before the thread had started
                    pass

        sys.unraisablehook = hook
        try:
            yield
        finally:
            for timer in again:
                timer.cancel()
            sys.unraisablehook = hook_before
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer a first signal, which sets `is_requested`; it is raised at the end."""
        self._deferring += 1
        try:
            yield
        finally:
            self._deferring -= 1
        self.raise_if_requested()

    def start_cleaning_up(self) -> None:
        """Note signals from now on, and do nothing more."""
        self._is_cleaning_up = True

    def raise_if_requested(self) -> None:
        if self._number is not None and not self._deferring and not self._is_cleaning_up:
            raise Interrupted(self._number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        is_first = self._number is None or self._is_lost
        self._number = self._number or number
        self._is_lost = False
        if self._is_cleaning_up or (self._deferring and is_first):
            return
        raise Interrupted(number)
