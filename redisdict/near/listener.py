"""Listen to what a server says of changed keys: a thread with one connection, for all of a process.

Nothing is started before the first near read. The thread ends when the connection is lost, and when
the server turns out not to tell; the next near read starts another one, after a pause that grows.
Without near reads no PING is sent and nothing wakes up but for pushes.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, Protocol

import redis
from redis.exceptions import AskError, RedisError, ResponseError

from redisdict.connections.drivers import Driver
from redisdict.exceptions import RedisDictError
from redisdict.forks import on_fork, own, take_over
from redisdict.near.clock import clock
from redisdict.near.state import NearState
from redisdict.near.tracking import NotTracked, TrackingConnection, Wake, wait
from redisdict.near.watches import Watch, Watches, covering
from redisdict.wire.combinators import ask
from redisdict.wire.requests import Command, Reply

logger = logging.getLogger("redisdict")

#: PINGs in the time of the shortest bound, so that one that comes late costs nothing.
PINGS_A_BOUND: Final = 3

#: Seconds for which a server that doesn't tell of changes isn't asked again.
OFF_FOR_S: Final = 60.0

#: The first pause after a lost connection, and the longest.
SHORTEST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0

#: How long a probe key lives, should it not be removed.
PROBE_MS: Final = 10_000

#: Seconds between two questions to the sentinels while near reads happen.
SENTINELS_EVERY_S: Final = 1.0

#: In a Cluster, seconds after which a slot may have been given to another node and come back: what
#: was kept before is forgotten.
LONGEST_GAP_S: Final = 5.0

#: Seconds to wait for a reply where the settings say for ever.
DEFAULT_TIMEOUT_S: Final = 5.0

LOST: Final = (RedisError, RedisDictError, OSError)


class Server(Protocol):
    """Names what the listener needs of a backend."""

    @property
    def address(self) -> str: ...

    @property
    def driver(self) -> Driver: ...

    def pool(self) -> redis.ConnectionPool: ...

    def leave_connections(self) -> None: ...


class Listener:
    """The tracking connection of one server, and the thread that reads from it.

    It applies pushes and PONGs to the states that it was given with `watch()`. Threads and event
    loops use it together.

    At connect it writes a key with an end, the probe, over another connection, and waits for its
    push: only then may anything be kept. Proxies and managed servers say OK and send nothing.

    There is one PING under way at a time, and nothing else: a server that broadcasts sends the
    pushes of the commands of one turn of its loop behind their replies, so the PONG of a PING that
    came in the same turn as a change may come before the push. Such a PING was sent before the
    change, unless another command of the same connection was there to be read already.

    Args:
        server: the backend of an alias, or of one node of a Cluster.
        timeout_s: how long to wait for a reply; None waits `DEFAULT_TIMEOUT_S`.
        primary_address: asks the sentinels where the primary is, where there are any.

    Attributes:
        is_up: whether the server tells of changes now.
        reason: why not.
    """

    def __init__(
        self,
        server: Server,
        timeout_s: float | None = None,
        primary_address: Callable[[], tuple[str, int]] | None = None,
    ) -> None:
        self._server = server
        self._timeout_s = timeout_s or DEFAULT_TIMEOUT_S
        self._primary_address = primary_address
        self.is_up = False
        self.reason = "nothing was read yet"
        self._watches = Watches()
        self._probe_prefix = b""
        self._bound: float | None = None
        self._has_warned = False
        self._losses = 0
        self._begin_anew()
        on_fork(self._renew)
        _listeners.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake: Wake | None = None
        self._connection: TrackingConnection | None = None
        self._is_closing = False
        self._is_nudged = False
        self._retry_at = 0.0
        self._waiting: list[tuple[float, Future[bool]]] = []

    def _renew(self) -> None:
        """Leave the parent its thread and its connection, in a forked child."""
        connection, wake = self._connection, self._wake
        self._begin_anew()
        self.is_up, self.reason = False, "nothing was read yet"
        for inherited in (connection, wake):
            if inherited is not None:
                with suppress(OSError, RedisError):
                    inherited.close()

    # For readers

    def watch(self, watches: Iterable[Watch], probe_prefix: bytes) -> None:
        """Have further states told of the changes of their keys. Connects nothing.

        Args:
            watches: which keys, and which states.
            probe_prefix: a key that begins so may be written to provoke a push. No item may.
        """
        with self._lock:
            self._watches = self._watches.plus(watches)
            self._probe_prefix = self._probe_prefix or probe_prefix
            if self._wake is not None:
                self._wake.wake()

    def unwatch(self, states: Iterable[NearState]) -> None:
        """Have states told of nothing any more, and forget what they have."""
        states = tuple(states)
        with self._lock:
            self._watches = self._watches.without(states)
        for state in states:
            state.disconnect()

    def watches(self, state: NearState) -> bool:
        """Whether a state is told of changes, or will be."""
        return state in self._watches.states

    def keep_within(self, bound: float) -> None:
        """Send PINGs so often, while near reads happen, that no read is more seconds behind."""
        with self._lock:
            self._bound = min(bound, self._bound or bound)
            if self._wake is not None:
                self._wake.wake()

    def ensure(self) -> None:
        """Start the thread if there is none, unless it has just failed. Doesn't wait for it."""
        if not own[0]:
            take_over()
        if self._thread is not None or clock() < self._retry_at:
            return
        with self._lock:
            if self._thread is not None or self._is_closing:
                return
            self._wake = Wake()
            self._thread = threading.Thread(
                target=self._run, args=(self._wake,), name="redisdict-near", daemon=True
            )
            self._thread.start()

    def nudge(self) -> None:
        """Have a PING sent now: a reader has found that the watermark is too old."""
        wake = self._wake
        if not self._is_nudged and wake is not None:
            self._is_nudged = True
            wake.wake()

    def ping_after(self, start: float) -> bool:
        """Wait until a PING sent after `start` is answered; tell whether it was.

        Callers share a PING that is sent after the start of all of them.
        """
        with suppress(TimeoutError):
            return self._answer_after(start).result(self._timeout_s)
        return False

    async def aping_after(self, start: float) -> bool:
        """As `ping_after()`."""
        with suppress(TimeoutError):
            answer = asyncio.wrap_future(self._answer_after(start))
            return await asyncio.wait_for(answer, self._timeout_s)
        return False

    def _answer_after(self, start: float) -> Future[bool]:
        answer: Future[bool] = Future()
        self.ensure()
        with self._lock:
            if not self.is_up or self._wake is None:
                answer.set_result(False)
                return answer
            self._waiting.append((start, answer))
            self._wake.wake()
        return answer

    def close(self) -> None:
        """End the thread and its connection; the next near read starts them again."""
        if not own[0]:
            take_over()
        with self._lock:
            thread, wake = self._thread, self._wake
            if thread is None or wake is None:
                return
            self._is_closing = True
            wake.wake()
        if thread is not threading.current_thread():
            thread.join(self._timeout_s + 1)
        self._is_closing = False
        self._retry_at = 0.0

    # The thread

    def _run(self, wake: Wake) -> None:
        pause_s = 0.0
        reason = "the connection was closed"
        try:
            connection = self._connection = TrackingConnection(
                self._server.pool(), self._timeout_s, self._apply
            )
            # Those of before may lead to another server, which was the primary and is behind: what
            # readers would get from there is never said to have changed.
            self._server.leave_connections()
            _Session(self, connection, wake).run()
        except NotTracked as refusal:
            pause_s, reason = OFF_FOR_S, str(refusal)
            self._warn(reason)
        except LOST as error:
            pause_s = min(SHORTEST_PAUSE_S * 2**self._losses, LONGEST_PAUSE_S)
            self._losses = min(self._losses + 1, 10)
            reason = f"the connection was lost ({error})"
        except Exception:
            pause_s, reason = OFF_FOR_S, "of an error that was logged"
            logger.exception("near is off for %s", self._server.address)
        finally:
            self._end(wake, pause_s, reason)

    def _end(self, wake: Wake, pause_s: float, reason: str) -> None:
        self.is_up = False
        for state in self._watches.states:
            state.disconnect()
        with suppress(*LOST):
            if self._connection is not None:
                self._connection.close()
        with self._lock:
            self.reason = reason
            self._retry_at = clock() + pause_s if pause_s else 0.0
            waiting, self._waiting = self._waiting, []
            self._thread = self._wake = self._connection = None
            self._is_nudged = False
        wake.close()
        _resolve(waiting, False)

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "near is off for %s: %s. Reads go to the server, which is asked again every %d s.",
                self._server.address,
                reason,
                OFF_FOR_S,
            )

    def _apply(self, keys: Sequence[bytes] | None) -> None:
        if keys is None:
            for state in self._watches.states:
                state.flush()
        else:
            self._watches.invalidate(keys)


class _Session:
    """One connection of a listener, from its tracking to its end. Runs in the thread."""

    def __init__(self, listener: Listener, connection: TrackingConnection, wake: Wake) -> None:
        self._listener = listener
        self._connection = connection
        self._wake = wake
        self._prefixes: list[bytes] = []
        self._asked: list[bytes] = []
        self._replies: list[Reply] = []
        self._sent_at = 0.0
        self._is_awaiting = False
        #: The states that the PING under way counts for: those that were kept by then.
        self._told: set[NearState] = set()
        self._activity = -1
        self._active_at = clock()
        self._sentinels_at = clock()

    def run(self) -> None:
        """Track, probe, and apply what comes, until the connection is lost or closed.

        Raises:
            NotTracked: the server doesn't tell of changes.
            redis.exceptions.RedisError, OSError: the connection is lost.
        """
        listener = self._listener
        watches = listener._watches
        self._track(watches)
        self._adopt(watches)
        self._ping()
        while not listener._is_closing:
            self._look_for_more()
            sources = wait([self._connection, self._wake], self._turn())
            if self._wake in sources:
                self._wake.clear()
            if self._connection in sources:
                for reply in self._connection.receive():
                    self._take(reply)

    # Tracking

    def _track(self, watches: Watches) -> None:
        probe = self._listener._probe_prefix + secrets.token_hex(8).encode()
        prefixes = covering([*watches.prefixes(), self._listener._probe_prefix])
        self._ask_for(prefixes)
        self._prefixes = prefixes
        seen = []
        apply = self._connection._apply

        def look(keys: Sequence[bytes] | None) -> None:
            if keys is not None and probe in keys:
                seen.append(probe)
            apply(keys)

        self._connection._apply = look
        try:
            self._listener._server.driver.run(ask((b"SET", probe, b"", b"PX", PROBE_MS)))
        except ResponseError as error:
            if isinstance(error, AskError):  # MOVED is one, too
                raise ConnectionResetError("the slot is another node's by now") from None
            raise NotTracked(f"the key that was to provoke a push can't be set ({error})") from None
        if not self._connection.receive_until(lambda: bool(seen)):
            raise NotTracked("it sent no push for a key that was changed")
        self._connection._apply = apply
        with suppress(ResponseError):  # it ends by itself
            self._listener._server.driver.run(ask((b"DEL", probe)))

    def _ask_for(self, prefixes: Sequence[bytes]) -> None:
        words: list[bytes] = [word for each in prefixes for word in (b"PREFIX", each)]
        command: Command = (b"CLIENT", b"TRACKING", b"ON", b"BCAST", *words)
        try:
            self._connection.ask(command)
        except ResponseError as error:
            raise NotTracked(f"it refuses CLIENT TRACKING with BCAST ({error})") from None

    def _adopt(self, watches: Watches) -> None:
        """Let the states keep: the server tells of all their keys from now on."""
        for state in watches.states:
            if not state.is_connected:
                state.connect()

    def _look_for_more(self) -> None:
        """Take over what `watch()` was given meanwhile; a PING under way is awaited first."""
        watches = self._listener._watches
        if self._is_awaiting or all(state.is_connected for state in watches.states):
            return
        known = tuple(self._prefixes)
        more = [key for key in watches.prefixes() if not key.startswith(known)]
        if more:
            together = covering([*known, *more])
            if sorted(together) != sorted([*known, *more]):
                raise ConnectionResetError("other prefixes are needed")
            self._ask_for(more)
            self._prefixes += more
        self._adopt(watches)
        self._ping()

    # PING

    def _turn(self) -> float | None:
        """Send a PING if one is due; tell how long to wait for what comes, None for ever.

        Raises:
            TimeoutError: a PING wasn't answered in time.
        """
        listener = self._listener
        now = clock()
        if self._is_awaiting:
            left_s = self._sent_at + listener._timeout_s - now
            if left_s <= 0:
                raise TimeoutError("a PING wasn't answered")
            return left_s
        self._answer()
        bound = listener._bound
        next_at = None if bound is None else self._next_ping(now, bound)
        has_waiting = any(start > self._sent_at for start, _ in listener._waiting)
        if has_waiting or listener._is_nudged or (next_at is not None and next_at <= now):
            self._ping()
            return listener._timeout_s
        return None if next_at is None else next_at - now

    def _next_ping(self, now: float, bound: float) -> float | None:
        """Tell when the next PING is due by the shortest bound; None while nobody reads."""
        activity = sum(state.hits + state.misses for state in self._listener._watches.states)
        if activity != self._activity:
            self._activity, self._active_at = activity, now
        due = self._sent_at + bound / PINGS_A_BOUND
        return due if due > now or now - self._active_at <= bound else None

    def _ping(self) -> None:
        self._ask_sentinels()
        self._listener._is_nudged = False
        self._told = {state for state in self._listener._watches.states if state.is_connected}
        self._sent_at = clock()
        self._is_awaiting = True
        self._asked = list(self._listener._watches.by_slot_key)
        self._connection.send(self._questions())

    def _questions(self) -> list[Command]:
        """Choose what is sent as a PING: what also tells whether the server is still the one.

        A node of a Cluster refuses keys of slots that it doesn't have (MOVED), or is about to give
        away (ASK), and all of them while it is cut off from most others (CLUSTERDOWN). A server
        behind sentinels may have become a replica.
        """
        if self._asked:
            return [(b"EXISTS", key) for key in self._asked]
        return [(b"PING",) if self._listener._primary_address is None else (b"ROLE",)]

    def _take(self, reply: Reply) -> None:
        """Take notice of an answered PING.

        Raises:
            ConnectionResetError: the server isn't the primary any more.
        """
        listener = self._listener
        if isinstance(reply, list) and reply and reply[0] != b"master":
            raise ConnectionResetError("the server is a replica")
        self._replies.append(reply)
        if len(self._replies) < len(self._asked):
            return
        replies, self._replies = self._replies, []
        self._is_awaiting = False
        for key, answer in zip(self._asked, replies, strict=False):
            if isinstance(answer, ResponseError):
                listener.unwatch(listener._watches.by_slot_key.get(key, ()))
            else:
                for state in listener._watches.by_slot_key.get(key, ()):
                    if self._sent_at - state.watermark > LONGEST_GAP_S:
                        state.flush()  # the slot may have been away meanwhile
        for state in listener._watches.states:
            if state in self._told:
                state.pong(self._sent_at)
        listener.is_up, listener.reason, listener._losses = True, "", 0

    def _answer(self) -> None:
        """Tell those who wait for a PING that was sent after their start, and is answered."""
        listener = self._listener
        if not listener._waiting:
            return
        with listener._lock:
            answered = [each for each in listener._waiting if each[0] <= self._sent_at]
            listener._waiting = [each for each in listener._waiting if each[0] > self._sent_at]
        _resolve(answered, True)

    def _ask_sentinels(self) -> None:
        """End the connection if the sentinels know another primary: this one is cut off."""
        primary_address = self._listener._primary_address
        now = clock()
        if primary_address is None or now - self._sentinels_at < SENTINELS_EVERY_S:
            return
        self._sentinels_at = now
        if primary_address() != self._connection.address:
            raise ConnectionResetError("the sentinels know another primary")


def _resolve(waiting: Iterable[tuple[float, Future[bool]]], is_answered: bool) -> None:
    for _, answer in waiting:
        if answer.set_running_or_notify_cancel():
            answer.set_result(is_answered)


#: All of the process, so that none is in the way of its end.
_listeners: weakref.WeakSet[Listener] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for listener in list(_listeners):
        listener.close()
