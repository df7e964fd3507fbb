"""Listen to a server's messages about changed keys, in one thread with one connection per process.

Nothing is started before the first near read. The thread ends when the connection is lost, or when
the server turns out to send no messages; the next near read starts another one, after a pause that
grows. Without near reads no PING is sent, and the thread wakes up only for messages.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import RedisError

from redisdict.exceptions import RedisDictError
from redisdict.forks import on_fork, own, take_over
from redisdict.near.clock import clock
from redisdict.near.protocols import Server
from redisdict.near.session import Session, resolve
from redisdict.near.state import NearState
from redisdict.near.tracking import NotTracked, TrackingConnection, Wake
from redisdict.near.watches import Watch, Watches
from redisdict.pools.credentials import SharedCredentials

logger = logging.getLogger("redisdict")

#: Seconds for which a server that doesn't tell of changes isn't asked again.
OFF_FOR_S: Final = 60.0

#: The first pause after a lost connection, and the longest.
SHORTEST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0

#: Seconds to wait for a reply where the settings say for ever.
DEFAULT_TIMEOUT_S: Final = 5.0

LOST: Final = (RedisError, RedisDictError, OSError)


class Listener:
    """The tracking connection of one server, and the thread that reads from it.

    It applies pushes and PONGs to the states given to `watch()`. Threads and event loops share it.
    A `Session` carries out the exchange over the connection.

    After connecting it writes a key with a time to live, the probe, over another connection, and
    waits for its push: only then may anything be kept. Some proxies and managed servers reply OK
    and send nothing.

    Args:
        server: the backend of an alias, or of one node of a Cluster.
        timeout_s: how long to wait for a reply; None waits `DEFAULT_TIMEOUT_S`.
        primary_address: asks the sentinels, if there are any, for the primary's address.
        wants_plain: whether the server shouldn't broadcast even if it could.

    Attributes:
        is_up: whether the server reports changes now.
        reason: why not.
        is_plain: whether it reports only the keys given to `track()`. It is read after a fill token
            was put.
    """

    def __init__(
        self,
        server: Server,
        timeout_s: float | None = None,
        primary_address: Callable[[], tuple[str, int]] | None = None,
        *,
        wants_plain: bool = False,
    ) -> None:
        self._server = server
        self._timeout_s = timeout_s or DEFAULT_TIMEOUT_S
        self._primary_address = primary_address
        self.wants_plain = wants_plain
        self.is_up = False
        self.reason = "nothing was read yet"
        self._watches = Watches()
        self._probe_prefix = b""
        self._bound: float | None = None
        self._has_warned = False
        self._losses = 0
        self._gone: deque[NearState] = deque()
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
        #: Keys of which the server is to tell, with who waits until it has been asked to.
        self._tracks: list[tuple[list[bytes], Future[bool]]] = []
        self._token: Any = None
        self.is_plain = False

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
        """Add states whose keys are watched for changes. Connects nothing.

        Args:
            watches: which keys, and which states.
            probe_prefix: a key that begins so may be written to provoke a push. No item may.
        """
        self.let_go()
        with self._lock:
            self._watches = self._watches.plus(watches)
            self._probe_prefix = self._probe_prefix or probe_prefix
            if self._wake is not None:
                self._wake.wake()

    def unwatch(self, states: Iterable[NearState]) -> None:
        """Stop watching the keys of states, and empty the states."""
        states = tuple(states)
        with self._lock:
            self._watches = self._watches.without(states)
        for state in states:
            state.disconnect()

    def forget(self, state: NearState) -> None:
        """Stop watching a state's keys, soon. Takes no lock: a finalizer calls it."""
        self._gone.append(state)

    def let_go(self) -> None:
        """Carry out the calls of `forget()`."""
        gone = []
        while self._gone:
            gone.append(self._gone.popleft())
        if gone:
            self.unwatch(gone)

    def watches(self, state: NearState) -> bool:
        """Whether a state's keys are watched, or will be."""
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
        """Send a PING now: a reader has found the watermark too old."""
        wake = self._wake
        if not self._is_nudged and wake is not None:
            self._is_nudged = True
            wake.wake()

    def ping_after(self, start: float) -> bool:
        """Wait until a PING that is sent after `start` is answered; return whether it was.

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

    def answer_waiting(self, sent_at: float) -> None:
        """Wake the readers that wait for a PING after their start: this one is answered."""
        if not self._waiting:
            return
        with self._lock:
            answered = [each for each in self._waiting if each[0] <= sent_at]
            self._waiting = [each for each in self._waiting if each[0] > sent_at]
        for _, answer in answered:
            resolve(answer, True)

    def track(self, state: NearState, keys: Sequence[Hashable]) -> bool:
        """Ask the server to report the next change of each key, if `is_plain`.

        One EXISTS, of those keys and of the state's exact ones, over the tracking connection. A
        value whose token was put before this, and that is read after it, is then kept right.

        Returns:
            Whether the server will report them.
        """
        with suppress(TimeoutError):
            return self._ask_for(state, keys).result(self._timeout_s)
        return False

    async def atrack(self, state: NearState, keys: Sequence[Hashable]) -> bool:
        """As `track()`."""
        with suppress(TimeoutError):
            answer = asyncio.wrap_future(self._ask_for(state, keys))
            return await asyncio.wait_for(answer, self._timeout_s)
        return False

    def _ask_for(self, state: NearState, keys: Sequence[Hashable]) -> Future[bool]:
        answer: Future[bool] = Future()
        with self._lock:
            asked = self._watches.keys_of(state, keys)
            if not self.is_plain or self._wake is None or not asked:
                answer.set_result(False)
                return answer
            self._tracks.append((asked, answer))
            self._wake.wake()
        return answer

    def take_token(self, token: Any) -> None:
        """Let the connection authenticate with a new token. Called by any thread."""
        with self._lock:
            self._token = token
            if self._wake is not None:
                self._wake.wake()

    def next_token(self) -> Any:
        """Return the token that the connection hasn't used yet; None if there is none."""
        if self._token is None:
            return None
        with self._lock:
            token, self._token = self._token, None
        return token

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
        is_refused = False
        try:
            pool = self._server.pool()
            provider = pool.connection_kwargs.get("credential_provider")
            if isinstance(provider, SharedCredentials):
                provider.on_next(self.take_token)
            connection = TrackingConnection(pool, self._timeout_s, self._apply)
            self._connection = connection
            # Those of before may lead to another server, which was the primary and is behind: what
            # readers would get from there is never said to have changed.
            self._server.leave_connections()
            Session(self, connection, wake).run()
        except NotTracked as refusal:
            pause_s, reason, is_refused = OFF_FOR_S, str(refusal), True
        except LOST as error:
            pause_s = min(SHORTEST_PAUSE_S * 2**self._losses, LONGEST_PAUSE_S)
            self._losses = min(self._losses + 1, 10)
            reason = f"the connection was lost ({error})"
        except Exception:
            pause_s, reason = OFF_FOR_S, "of an error that was logged"
            logger.exception("near is off for %s", self._server.address)
        finally:
            self._end(wake, pause_s, reason)
            if is_refused:
                self._warn(reason)

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
            waiting = [answer for _, answer in (*self._waiting, *self._tracks)]
            self._waiting, self._tracks = [], []
            self._thread = self._wake = self._connection = None
            self._is_nudged = self.is_plain = False
        wake.close()
        for answer in waiting:
            resolve(answer, False)

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


#: All of the process, so that none is in the way of its end.
_listeners: weakref.WeakSet[Listener] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for listener in list(_listeners):
        listener.close()
