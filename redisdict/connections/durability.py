"""Return from writes only when they are safe: in the append-only file, or on the replicas.

The command that waits for that (WAITAOF, WAIT) reports on the writes of its own connection, so it
is sent over the same connection as the write. It blocks that connection, so such a batch has one
of its own, also where tasks share one.

Before the first write of a connection, and again after a write that wasn't safe, the server is
asked whether it can give the guarantee at all: a write that can't be safe isn't made.

One replica would not be enough: Sentinel promotes the replica that it last knew to be ahead, and
that knowledge is up to a second old, so it may choose a replica without the write. So the write
waits for every replica that is connected right after it; a replica that connects later gets the
write before it counts as connected.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import NoReturn

from redis.exceptions import NoPermissionError, ResponseError

from redisdict.connections.middleware import Interceptor
from redisdict.exceptions import NoReplica, NotDurable, ServerUnsupported
from redisdict.wire.commands import is_read
from redisdict.wire.requests import (
    Batch,
    Call,
    Command,
    GuaranteeRefused,
    Operation,
    Reply,
    Request,
    Sleep,
    Wait,
    Waits,
    as_batch,
    commands_of,
)
from redisdict.wire.server_info import (
    ask_info,
    count_replicas,
    parse_info,
    server_name,
    takes_writes,
    tells_offsets,
)

#: Seconds that a server has to make a write safe; with `appendfsync everysec` it takes up to two.
WAIT_FOR_S = 2.5

REPLICATION: Command = (b"INFO", b"replication")

#: Seconds between the questions to a server whose WAIT looks only ten times a second.
PAUSES_S = (0.001, 0.002, 0.004, 0.008, 0.016)

#: Seconds between two attempts to write while no replica is connected.
PAUSE_S = 0.1


class Durability:
    """One guarantee of one backend.

    Args:
        guarantee: "aof": written to the server's append-only file and synced to the disk
            (WAITAOF: Redis 7.2, Valkey 8); "replicas": received by every connected replica, and by
            one at least (INFO replication, and WAIT in a second round trip).
        address: how the server is called in an error.
        socket_timeout_s: seconds after which a connection gives its server up. The server has to
            answer well before that, for it looks at such clients ten times a second only.
        retry_for_s: for so many seconds a write is tried again while no replica is connected.
    """

    def __init__(
        self,
        guarantee: str,
        address: str,
        socket_timeout_s: float | None,
        retry_for_s: float = 0.0,
    ) -> None:
        self._address = address
        self._retry_for_s = retry_for_s
        self._wait_for_s = min(WAIT_FOR_S, (socket_timeout_s or math.inf) / 2)
        self._wait_ms = max(1, int(1000 * self._wait_for_s))
        if guarantee == "aof":
            wait_for_disk = (b"WAITAOF", 1, 0, self._wait_ms)
            self._wait = Wait(guarantee, _find_aof, wait_for_disk, self._after_waitaof)
        else:
            self._wait = Wait(guarantee, _find_replicas, REPLICATION, self._wait_for_replicas)

    def intercept(self) -> Interceptor:
        """Make the interceptor that waits for every write of one operation."""
        return _Writes(self)

    def concerns(self, command: Command) -> bool:
        return not is_read((command,))

    def write(self, batch: Batch) -> Operation[tuple[Reply, Reply]]:
        """Send a batch, and wait for it: its replies, and why it isn't safe."""
        deadline = time.monotonic() + self._retry_for_s
        while True:
            try:
                own, safe = yield dataclasses.replace(batch, wait=self._wait)
                return own, safe
            except GuaranteeRefused as refusal:
                is_over = refusal.is_partial or not refusal.is_for_now
                if is_over or time.monotonic() + PAUSE_S > deadline:
                    raise
            yield Sleep(PAUSE_S)

    def not_durable(self, reason: str) -> NotDurable:
        """Make the error for a write that was made, and isn't safe for that reason."""
        return NotDurable(
            f"The write was made on {self._address}, but {reason}."
            " It is visible, and lost if that server fails now."
        )

    def _after_waitaof(self, reply: Reply) -> Operation[str]:
        yield from ()
        if isinstance(reply, ResponseError):
            return f"WAITAOF was refused ({reply})"
        if reply[0] >= 1:
            return ""
        return f"its append-only file didn't have it on the disk within {self._wait_for_s:g} s"

    def _wait_for_replicas(self, reply: Reply) -> Operation[str]:
        try:
            if isinstance(reply, ResponseError):
                raise reply
            info = parse_info(reply)
            wanted = count_replicas(info)
            if wanted and not tells_offsets(info) and (yield from _have_all_received(wanted)):
                return ""
            count = yield (b"WAIT", max(1, wanted), self._wait_ms)
        except ResponseError as error:
            return f"the server couldn't be asked whether a replica had it ({error})"
        if count >= max(1, wanted):
            return ""
        if not wanted:
            return "no replica was connected any more"
        who = f"not all of its replicas ({wanted}) had it" if count else "no replica had it"
        return f"{who} within {self._wait_for_s:g} s"


class _Writes:
    """The writes of one operation; each is waited for.

    What it answers with, and raises to the operation:
        ServerUnsupported: the server can't give the guarantee; the write wasn't made.
        NoReplica: it can't for now; the write wasn't made.
        NotDurable: a write was made, and wasn't safe in time.
    """

    def __init__(self, durability: Durability) -> None:
        self._durability = durability
        self._is_begun = False

    def answer(self, request: Request) -> Operation[Reply]:
        if isinstance(request, (Sleep, Call)) or is_read(commands_of(request)):
            return (yield request)
        try:
            own, safe = yield from self._durability.write(as_batch(request))
        except GuaranteeRefused as refusal:
            self._refuse(refusal)
        self._is_begun = True
        single = own[0] if isinstance(own, list) and not isinstance(request, Batch) else None
        if isinstance(single, ResponseError):
            raise single
        for reason in filter(None, Waits.of(safe)):
            raise self._durability.not_durable(reason)
        return own if isinstance(request, Batch) else single

    def fail(self, error: BaseException) -> None:
        """Do nothing: earlier writes have been waited for."""

    def _refuse(self, refusal: GuaranteeRefused) -> NoReturn:
        if refusal.is_partial:
            raise self._durability.not_durable(
                f"not on all servers that it was meant for: {refusal}"
            ) from refusal
        error = NoReplica if refusal.is_for_now else ServerUnsupported
        what = (
            "What this call had written before is safe; the rest" if self._is_begun else "Nothing"
        )
        raise error(f"{refusal}. {what} was {'not ' * self._is_begun}written.") from refusal


def _find_aof(address: str) -> Operation[bool]:
    """Ask whether there is an append-only file, and a command that waits for it."""
    try:
        yield (b"WAITAOF", 1, 0, 1)
    except ResponseError as error:
        why = yield from _why_no_waitaof(error)
        raise GuaranteeRefused(f'{address} can\'t give durable="aof": {why}') from error
    return True


def _find_replicas(address: str) -> Operation[bool]:
    """Ask whether a replica is connected, and can be waited for."""
    try:
        info = yield from ask_info(b"replication")
        if not takes_writes(info):
            return False  # the write will say so
        yield (b"WAIT", 0, 1)
    except ResponseError as error:
        name = yield from server_name()
        raise GuaranteeRefused(
            f'{address} can\'t give durable="replicas": {name} refuses to report its replicas'
            f" ({error}); it needs INFO and WAIT (ACL: +info +wait)"
        ) from error
    if not count_replicas(info):
        raise GuaranteeRefused(
            f'{address} can\'t give durable="replicas" for now: no replica is connected to it;'
            " connect one (REPLICAOF on the replica)",
            is_for_now=True,
        )
    return True


def _have_all_received(count: int) -> Operation[bool]:
    """Ask a few times, in quick succession, whether so many replicas have received all.

    When WAIT arrives, Dragonfly asks its replicas for their offsets and then checks ten times a
    second for the answers, which take some milliseconds; a WAIT for 0 replicas returns their number
    at once. It compares with all that the server has written by then, so with many writers the
    answer may never be yes; the WAIT that follows then waits for a fixed offset.
    """
    for pause_s in PAUSES_S:
        if (yield (b"WAIT", 0, 1)) >= count:
            return True
        yield Sleep(pause_s)
    return bool((yield (b"WAIT", 0, 1)) >= count)


def _why_no_waitaof(error: ResponseError) -> Operation[str]:
    """Explain why WAITAOF was refused, and what to do."""
    name = yield from server_name()
    text = str(error)
    if "appendonly" in text:
        return f"{name} has no append-only file there; start it with --appendonly yes"
    if isinstance(error, NoPermissionError):
        return f"the user may not call WAITAOF on {name}; grant +waitaof"
    return f'{name} has no WAITAOF, which Redis 7.2 and Valkey 8 have; use durable="replicas"'
