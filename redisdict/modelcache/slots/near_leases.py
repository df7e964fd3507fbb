"""Manage near leases: which processes may serve rows of a table from memory.

They are for `near="strict"`. A process renews its lease while it reads. A writer puts its barriers
up and notifies the holders of leases; before its COMMIT it waits until each has confirmed that it
has applied the server's messages up to then, or may no longer serve from memory.
docs/near-strict.md has the proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from redis.exceptions import NoScriptError, ResponseError

from redisdict.mapping.keys import Names
from redisdict.modelcache.slots.store import BEGIN, REFUSAL
from redisdict.wire.requests import Argument, Command, Identified, IdentifiedAnew, Operation, Sleep
from redisdict.wire.scripts import Script, check_scripts_run

RENEW: Final = Script("near_renew", __package__)
WAIT: Final = Script("near_wait", __package__)

#: Milliseconds of a lease on the server.
LEASE_MS: Final = 2000

#: Milliseconds for which a process believes in its own lease: by so much the server's clock may be
#: set forward without harm, and the two clocks' rates may differ.
OWN_MS: Final = 1000

#: Milliseconds for which a server that has just begun may not know of leases.
UNKNOWN_MS: Final = 2000

#: Seconds between two questions whether all have confirmed, at first and at most.
SHORTEST_PAUSE_S: Final = 0.0005
LONGEST_PAUSE_S: Final = 0.008

#: What the server answers where there may be leases that it doesn't know of.
UNKNOWN: Final = -1


class Progress(NamedTuple):
    """The number of announced changes of a table since the leases were begun."""

    begun: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class NearLeases:
    """The near leases of one table.

    Args:
        key: the key of the leases.
        signal: the key whose change tells processes of an announcement.
    """

    key: bytes
    signal: bytes

    @classmethod
    def of(cls, names: Names) -> NearLeases:
        return cls(names.near_leases, names.near_signal)

    def renew(
        self, process: bytes, lease_ms: int, confirmed: Progress, bound_ms: int
    ) -> Operation[tuple[Progress, bool]]:
        """Renew a process's lease, and confirm; with 0 milliseconds give it back. One script.

        Returns:
            What was announced so far, and whether the lease has been held until now.
        """
        begun, number, held = yield from _ask(
            RENEW, [self.key], process, lease_ms, *confirmed, bound_ms
        )
        return Progress(int(begun), int(number)), bool(held)

    def announce(self, process: bytes, progress: Progress) -> Operation[tuple[Progress, int]]:
        """Announce a change, or ask about one by its `Progress`. One script.

        Returns:
            The announcement, and for how many milliseconds a process that hasn't confirmed it may
            still be behind: 0 if there is none, `UNKNOWN` if the server doesn't know.
        """
        begun, number, slowest_ms = yield from _ask(
            WAIT, [self.key, self.signal], process, *progress, UNKNOWN_MS
        )
        return Progress(int(begun), int(number)), int(slowest_ms)


def wait_for_readers(
    tables: Sequence[tuple[NearLeases, bytes]], longest_ms: int
) -> Operation[None]:
    """Wait until no process can serve the rows that the writer's barriers have removed.

    Where no process holds a lease, that takes only one script for each table. Otherwise it takes
    `longest_ms` at most, or the time that a process with a longer setting has announced.

    Args:
        tables: the leases of each table, and the id of the writer's own process.
        longest_ms: for how long a process may be behind, by the writer's settings.
    """
    waiting: list[tuple[NearLeases, bytes, Progress]] = []
    for leases, process in tables:
        progress, slowest_ms = yield from leases.announce(process, Progress())
        if slowest_ms:
            longest_ms = max(longest_ms, slowest_ms)
            waiting.append((leases, process, progress))
            if slowest_ms == UNKNOWN:
                yield Sleep(longest_ms / 1000)
                return
    left_s = longest_ms / 1000
    pause_s = SHORTEST_PAUSE_S
    while waiting and left_s > 0:
        yield Sleep(min(pause_s, left_s))
        left_s -= pause_s
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        still = []
        for leases, process, progress in waiting:
            _, slowest_ms = yield from leases.announce(process, progress)
            if slowest_ms:
                still.append((leases, process, progress))
        waiting = still


def _ask(script: Script, keys: Sequence[bytes], *arguments: Argument) -> Operation[Any]:
    """Run a script with the server's incarnation; in another one it begins new leases."""
    how, code, begin = b"EVALSHA", script.digest, b""
    kind: type[Identified] = Identified
    while True:
        command: Command = (how, code, len(keys), *keys, *arguments, begin)
        try:
            return (yield kind(command))
        except NoScriptError:
            how, code = b"EVAL", script.text
        except ResponseError as error:
            if not str(error).startswith(REFUSAL):
                check_scripts_run(error)
                raise
            # The connection's name may be of before, so the server is asked for it anew.
            kind, begin = IdentifiedAnew, BEGIN
