"""Remember what is known of a server, by connection and for all, and name its incarnation.

An incarnation is named by INFO's ids of the server's process and of its history.

A server that starts again, and a replica that takes over, may have an older state than there was
before. Users that must not trust that state recognize another incarnation by these ids:

- `run_id`: of the process, random (Redis, Valkey, KeyDB);
- `process_id`: all have it, but in containers it is often 1;
- `master_replid`: of the history of the data, random, a new one whenever a replica is promoted, and
  on Dragonfly when the process starts.

A server may take another `master_replid` for no such reason (Redis does an hour after its last
replica has left), so a name that differs means "ask again", and only then "another incarnation".
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from redisdict.wire.requests import Batch, Identified, IdentifiedAnew

logger = logging.getLogger("redisdict")

#: Bytes of a name.
LENGTH = 8

#: In place of a name where the server doesn't tell.
UNKNOWN = b""

#: What a server is asked; Redis 6.2 takes one section a call.
QUESTIONS = Batch([(b"INFO", b"server"), (b"INFO", b"replication")])

FIELDS = frozenset({b"run_id", b"process_id", b"master_replid"})


class Incarnations:
    """Makes the names of incarnations from the INFO of one backend's servers.

    Args:
        address: how the server is called in the log.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._has_complained = False

    def name_of(self, replies: Sequence[Any]) -> bytes:
        """Make the name that the replies to `QUESTIONS` stand for: 8 bytes, or `UNKNOWN`.

        Raises:
            redis.exceptions.RedisError: the server refuses for now.
        """
        lines: set[bytes] = set()
        refusal: Exception | None = None
        for reply in replies:
            if isinstance(reply, Exception):
                if not _is_for_good(reply):
                    raise reply
                refusal = reply
            else:
                lines |= {line for line in reply.splitlines() if line.partition(b":")[0] in FIELDS}
        if not lines or refusal is not None:
            self._complain(refusal)
        if not lines:
            return UNKNOWN
        return hashlib.blake2b(b"\n".join(sorted(lines)), digest_size=LENGTH).digest()

    def _complain(self, refusal: Exception | None) -> None:
        if self._has_complained:
            return
        self._has_complained = True
        why = "tells neither in INFO" if refusal is None else f"refuses INFO ({refusal})"
        logger.warning(
            "A ModelDict needs the run_id, process_id and master_replid of %s, which %s. Without"
            " them it detects a restart with an older state, or the takeover by a replica that"
            " lagged, only if the server has lost its scripts; otherwise it may give old rows. Let"
            " its user call INFO (ACL: +info).",
            self._address,
            why,
        )


class Assurance:
    """The knowledge that a server can make writes safe, shared by its connections.

    Attributes:
        holds: until one of them has seen a write that wasn't safe.
    """

    __slots__ = ("holds",)

    def __init__(self) -> None:
        self.holds = True


class Known:
    """The known properties and abilities of the server at the end of one connection.

    A connection can't outlive the process at its other end, so an answer received over it is valid
    until it is connected again. redis-py's connections report when they are.

    Attributes:
        name: the name of its incarnation, see above; None until it is asked for.
        assurances: for each guarantee (see `redisdict.connections.durability`) that it has given.
    """

    __slots__ = ("__weakref__", "assurances", "name")

    def __init__(self) -> None:
        self.name: bytes | None = None
        self.assurances: dict[str, Assurance] = {}

    def forget(self, _connection: object = None) -> None:
        """Forget all: the connection was connected again, maybe to another server."""
        self.name = None
        self.assurances.clear()

    def is_assured_of(self, guarantee: str) -> bool:
        """Whether the server has confirmed that it can give it, and no doubt has arisen since."""
        assurance = self.assurances.get(guarantee)
        return assurance is not None and assurance.holds

    def doubt(self, guarantee: str) -> None:
        """Let it be asked for again, over every connection that shares this knowledge."""
        assurance = self.assurances.pop(guarantee, None)
        if assurance is not None:
            assurance.holds = False


class Capabilities:
    """The abilities of a backend's server: assumed until the server itself denies them.

    One flag for each ability that only some servers have and that is worth a try. Version numbers
    don't show it: KeyDB reports Redis 6.3, Dragonfly 7.4 and Valkey 7.2.
    """

    def __init__(self) -> None:
        self._assurances: dict[str, Assurance] = {}
        #: It has run a script. That is asked once, before the first lock, which one has to free.
        self.runs_scripts = False
        self.forget()

    def forget(self) -> None:
        """Try everything again: another server may have taken its place."""
        #: HSCAN has NOVALUES (Redis 7.4, Valkey 8, Dragonfly).
        self.has_scan_without_values = True
        #: There is HGETDEL (Redis 8, Valkey 9).
        self.has_hash_getdel = True
        for assurance in self._assurances.values():
            assurance.holds = False

    def assurance_of(self, guarantee: str) -> Assurance:
        """Return the object for a guarantee that all connections with this answer share."""
        assurance = self._assurances.get(guarantee)
        if assurance is None or not assurance.holds:
            assurance = self._assurances[guarantee] = Assurance()
        return assurance


def known_of(connection: Any) -> Known:
    """Find the knowledge of a redis-py connection, or of a `SharedConnection`."""
    known: Known | None = getattr(connection, "incarnation", None)
    if known is None:
        known = connection.incarnation = Known()
        # redis-py keeps a weak reference to the object of the method; the connection has it.
        connection.register_connect_callback(known.forget)
    return known


def is_identified(request: Any) -> bool:
    """Whether the request names the incarnation of the server that it is sent to."""
    return request.is_identified if type(request) is Batch else isinstance(request, Identified)


def is_asked_anew(request: Any) -> bool:
    """Whether the server has to be asked for it again."""
    commands = request.commands if type(request) is Batch else [request]
    return any(type(command) is IdentifiedAnew for command in commands)


def named(request: Any, name: bytes) -> Any:
    """Put an incarnation's name into a request, which is then ready to be packed."""
    if type(request) is not Batch:
        return (*request, name)
    commands = [
        (*command, name) if isinstance(command, Identified) else command
        for command in request.commands
    ]
    return dataclasses.replace(request, commands=commands)


def named_at_once(request: Any, known: Known) -> Any:
    """Put in the name that is known of a connection's server.

    None where it has to be asked for first, or where there is more to say for the request.
    """
    has_wait = type(request) is Batch and request.wait is not None
    if known.name is None or has_wait or is_asked_anew(request):
        return None
    return named(request, known.name)


def _is_for_good(refusal: Exception) -> bool:
    """Whether the refusal is permanent: the user may not ask, or there is no INFO."""
    if isinstance(refusal, NoPermissionError):
        return True
    return isinstance(refusal, ResponseError) and "unknown command" in str(refusal).lower()
