"""Run one connection of a listener: start tracking, read messages, send PINGs."""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Final

from redis.exceptions import AskError, ResponseError

from redisdict.near.clock import clock
from redisdict.near.protocols import Listening
from redisdict.near.state import NearState
from redisdict.near.tracking import NotTracked, TrackingConnection, Wake, wait
from redisdict.near.watches import Watches, covering
from redisdict.pools.credentials import credentials_of
from redisdict.wire.combinators import ask
from redisdict.wire.limits import slices
from redisdict.wire.requests import Command, Reply

#: PINGs in the time of the shortest bound, so that one that comes late costs nothing.
PINGS_A_BOUND: Final = 3

#: How long a probe key lives, should it not be removed.
PROBE_MS: Final = 10_000

#: Seconds between two questions to the sentinels while near reads happen.
SENTINELS_EVERY_S: Final = 1.0

#: Seconds between two looks at where the server's name leads to, while near reads happen.
NAME_EVERY_S: Final = 5.0

#: In a Cluster whose node doesn't tell its epoch, seconds after which a slot may have been given to
#: another node and come back: what was kept before is forgotten.
LONGEST_GAP_S: Final = 5.0

_EPOCH: Final = re.compile(rb"cluster_my_epoch:(\d+)")


class Session:
    """One connection, from its tracking to its end. Runs in the listener's thread.

    Where the server broadcasts, one PING at a time is under way, and no other command. The server
    sends the pushes of all commands of one turn of its loop after their replies, so the PONG of a
    PING that came in the same turn as a change may arrive before the push. Such a PING was sent
    before the change, unless another command of the same connection was already there to be read.

    With plain tracking a push leaves when the change is made, and readers have keys tracked over
    this connection (`Listener.track()`), besides the PINGs.

    Attributes:
        is_plain: whether the server reports only keys that were read over this connection.
    """

    def __init__(self, listener: Listening, connection: TrackingConnection, wake: Wake) -> None:
        self._listener = listener
        self._connection = connection
        self._wake = wake
        self.is_plain = False
        self._prefixes: list[bytes] = []
        #: How many replies are awaited together, and who takes them, in the order of the questions.
        self._expected: deque[tuple[int, Callable[[list[Reply]], None]]] = deque()
        self._replies: list[Reply] = []
        self._sent_at = 0.0
        self._is_awaiting = False
        self._activity = -1
        self._active_at = clock()
        self._sentinels_at = self._name_at = clock()
        self._epoch: bytes | None = None

    def run(self) -> None:
        """Track, probe, and apply what comes, until the connection is lost or closed.

        Raises:
            NotTracked: the server doesn't report changes.
            redis.exceptions.RedisError, OSError: the connection is lost.
        """
        listener = self._listener
        watches = listener._watches
        self._track(watches)
        if watches.by_slot_key:
            with suppress(ResponseError):  # as where its user may not ask
                self._epoch = epoch_in(self._connection.ask(_ASK_EPOCH))
        listener.is_plain = self.is_plain
        self._adopt(watches)
        self._ping()
        while not listener._is_closing:
            listener.let_go()
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
        self._begin_tracking(prefixes)
        seen = []
        apply = self._connection._apply

        def look(keys: Sequence[bytes] | None) -> None:
            if keys is not None and probe in keys:
                seen.append(probe)
            apply(keys)

        self._connection._apply = look
        driver = self._listener._server.driver
        try:
            driver.run(ask((b"SET", probe, b"", b"PX", PROBE_MS)))
            if self.is_plain:
                self._connection.ask((b"EXISTS", probe))
                driver.run(ask((b"DEL", probe)))
        except ResponseError as error:
            if isinstance(error, AskError):  # MOVED is one, too
                raise ConnectionResetError("the slot is another node's by now") from None
            raise NotTracked(f"the key that was to provoke a push can't be set ({error})") from None
        if not self._connection.receive_until(lambda: bool(seen)):
            raise NotTracked("it sent no push for a key that was changed")
        self._connection._apply = apply
        if not self.is_plain:
            with suppress(ResponseError):  # it ends by itself
                driver.run(ask((b"DEL", probe)))

    def _begin_tracking(self, prefixes: list[bytes]) -> None:
        if not self._listener.wants_plain:
            try:
                self._ask_for(prefixes)
            except ResponseError as refusal:
                self._check_order(refusal)
            else:
                self._prefixes = prefixes
                return
        try:
            self._connection.ask((b"CLIENT", b"TRACKING", b"ON"))
        except ResponseError as error:
            raise NotTracked(f"it refuses CLIENT TRACKING ({error})") from None
        self.is_plain = True

    def _ask_for(self, prefixes: Sequence[bytes]) -> None:
        words: list[bytes] = [word for each in prefixes for word in (b"PREFIX", each)]
        self._connection.ask((b"CLIENT", b"TRACKING", b"ON", b"BCAST", *words))

    def _check_order(self, refusal: ResponseError) -> None:
        """Refuse a server that doesn't broadcast and may answer a PING before it reports a change.

        Raises:
            NotTracked: it is a Dragonfly, or doesn't say.
        """
        try:
            is_in_order = b"dragonfly_version" not in self._connection.ask((b"INFO", b"server"))
        except ResponseError:
            is_in_order = False
        if not is_in_order:
            raise NotTracked(
                f"it refuses CLIENT TRACKING with BCAST ({refusal}), and may be a Dragonfly, whose"
                " threads may answer a PING before they announce an earlier change."
                ' "NEAR_TRACKING": "plain" uses it anyway; docs/near.md says what is promised then'
            )

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
        if more and not self.is_plain:
            together = covering([*known, *more])
            if sorted(together) != sorted([*known, *more]):
                raise ConnectionResetError("other prefixes are needed")
            self._ask_for(more)
            self._prefixes += more
        self._adopt(watches)
        self._ping()

    # What is asked

    def _send(self, commands: Sequence[Command], take: Callable[[list[Reply]], None]) -> None:
        self._expected.append((len(commands), take))
        self._connection.send(commands)

    def _take(self, reply: Reply) -> None:
        """Handle a reply, with the others that were asked for together when all are there.

        Raises:
            ConnectionResetError: the server isn't the primary any more.
        """
        self._replies.append(reply)
        count, take = self._expected[0]
        if len(self._replies) == count:
            self._expected.popleft()
            replies, self._replies = self._replies, []
            take(replies)

    def _ask_for_keys(self) -> None:
        """Have the server tell of the keys that readers are about to read."""
        listener = self._listener
        with listener._lock:
            asked, listener._tracks = listener._tracks, []
        for number, (keys, answer) in enumerate(asked):
            try:
                commands: list[Command] = [(b"EXISTS", *some) for some in slices(keys)]
                self._send(commands, partial(_tell_tracked, answer))
            except BaseException:
                with listener._lock:  # for `_end()`, that nobody waits for them
                    listener._tracks += asked[number:]
                raise

    # PING

    def _turn(self) -> float | None:
        """Send what is due; tell how long to wait for what comes, None for ever.

        Raises:
            TimeoutError: a PING wasn't answered in time.
        """
        listener = self._listener
        if listener._tracks:
            self._ask_for_keys()
        now = clock()
        if self._is_awaiting:
            left_s = self._sent_at + listener._timeout_s - now
            if left_s <= 0:
                raise TimeoutError("a PING wasn't answered")
            return left_s
        listener.answer_waiting(self._sent_at)
        bound = listener._bound
        next_at = None if bound is None else self._next_ping(now, bound)
        has_waiting = any(start > self._sent_at for start, _ in listener._waiting)
        is_due = next_at is not None and next_at <= now
        if has_waiting or is_due or listener._is_nudged or listener._token is not None:
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
        self._look_at_name()
        listener = self._listener
        listener._is_nudged = False
        # It counts for those that were kept by now.
        told = {state for state in listener._watches.states if state.is_connected}
        asked = list(listener._watches.by_slot_key)
        questions, take = self._questions(asked), partial(self._pong, told, asked)
        token = listener.next_token()
        self._sent_at = clock()
        self._is_awaiting = True
        if token is None:
            self._send(questions, take)
        else:
            commands = [(b"AUTH", *credentials_of(token)), *questions]
            self._send(commands, partial(self._authenticated, take))

    def _authenticated(self, take: Callable[[list[Reply]], None], replies: list[Reply]) -> None:
        """Handle an AUTH, which was sent before a PING.

        Raises:
            ConnectionResetError: it was refused, so the next connection asks for other credentials.
        """
        if isinstance(replies[0], ResponseError):
            raise ConnectionResetError(f"the new token was refused ({replies[0]})")
        take(replies[1:])

    def _questions(self, asked: Sequence[bytes]) -> list[Command]:
        """Choose the commands of a PING, which also check that the server is the right one.

        A node of a Cluster refuses keys of slots that it doesn't have (MOVED), or is about to give
        away (ASK), and all of them while it is cut off from most others (CLUSTERDOWN). Its epoch is
        another one when it has been given a slot. A server behind sentinels may have become a
        replica.
        """
        if asked:
            return [*((b"EXISTS", key) for key in asked), _ASK_EPOCH]
        return [(b"PING",) if self._listener._primary_address is None else (b"ROLE",)]

    def _pong(self, told: set[NearState], asked: Sequence[bytes], replies: list[Reply]) -> None:
        """Handle an answered PING.

        Raises:
            ConnectionResetError: the server isn't the primary any more.
        """
        listener = self._listener
        if isinstance(replies[0], list) and replies[0] and replies[0][0] != b"master":
            raise ConnectionResetError("the server is a replica")
        self._is_awaiting = False
        if asked:
            epoch = epoch_in(replies[-1])
            may_have_come_back = epoch != self._epoch
            self._epoch = epoch
        for key, answer in zip(asked, replies, strict=False):
            states = listener._watches.by_slot_key.get(key, ())
            if isinstance(answer, ResponseError):
                listener.unwatch(states)
                continue
            for state in states:
                is_long = self._sent_at - state.watermark > LONGEST_GAP_S
                if may_have_come_back or (epoch is None and is_long):
                    state.flush()
        for state in listener._watches.states:
            if state in told:
                state.pong(self._sent_at)
        listener.is_up, listener.reason, listener._losses = True, "", 0

    def _ask_sentinels(self) -> None:
        """End the connection if the sentinels know another primary: this one is cut off."""
        primary_address = self._listener._primary_address
        now = clock()
        if primary_address is None or now - self._sentinels_at < SENTINELS_EVERY_S:
            return
        self._sentinels_at = now
        if primary_address() != self._connection.address:
            raise ConnectionResetError("the sentinels know another primary")

    def _look_at_name(self) -> None:
        """End the connection if the server's name leads elsewhere by now."""
        now = clock()
        if now - self._name_at < NAME_EVERY_S:
            return
        self._name_at = now
        if self._connection.leads_elsewhere():
            raise ConnectionResetError("the server's name leads to another address")


_ASK_EPOCH: Final[Command] = (b"CLUSTER", b"INFO")


def epoch_in(reply: Reply) -> bytes | None:
    """Find a node's epoch in its reply to CLUSTER INFO; None in a refusal.

    A node that is given a slot raises its own above all that it knows of.
    """
    found = None if isinstance(reply, Exception) else _EPOCH.search(bytes(reply))
    return None if found is None else found[1]


def _tell_tracked(answer: Future[bool], replies: list[Reply]) -> None:
    resolve(answer, not any(isinstance(reply, Exception) for reply in replies))


def resolve(answer: Future[bool], is_so: bool) -> None:
    """Answer all waiting readers."""
    if answer.set_running_or_notify_cancel():
        answer.set_result(is_so)
