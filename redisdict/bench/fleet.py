"""The servers of a run: brought up, identified, pinned, noted; and taken down again.

Addresses that were given are looked at before anything is measured, since two names for one server
would compare it with itself. Servers that the run starts live as long as their group, but for the
one that has the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from redisdict.bench.errors import CELL_ERRORS, SameServer, describe
from redisdict.bench.leftovers import keys_removed_after
from redisdict.bench.placement import Cpus, PlacementProbe, pin_process
from redisdict.bench.replication import wait_for_replicas
from redisdict.bench.serverinfo import cpu_clock, local_pid, server_facts
from redisdict.bench.services import RunningService, Service, running
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend

__all__ = ["Fleet", "Member"]


@dataclass(frozen=True)
class Member:
    """A service that answers, and what a measurement needs of it."""

    service: Service
    location: str
    probe: PlacementProbe
    cpu_ns: Callable[[], int | None]
    pids: tuple[int, ...]
    facts: dict[str, Any]


class Fleet:
    """Brings services up and remembers who they are.

    Args:
        token: in the name of every key of this run.
        tell: for what the user should know at once.
        cpus: where servers that this run starts are pinned; None leaves them alone.
    """

    def __init__(self, token: str, cpus: Cpus | None, tell: Callable[[str], None]) -> None:
        self._token = token
        self._tell = tell
        self._cpus = cpus
        self._names_by_run_id: dict[str, str] = {}

    def look_at(self, services: Sequence[Service]) -> dict[str, str]:
        """Connect to the given addresses once: title -> why it can't be measured.

        Raises:
            SameServer: two of them are one server.
        """
        reasons = {}
        for service in services:
            if service.location is None:
                continue
            try:
                with running(service) as up:
                    self._remember(up)
            except CELL_ERRORS as error:
                if isinstance(error, SameServer):
                    raise
                reasons[service.title] = describe(error)
        return reasons

    @contextmanager
    def member(self, service: Service) -> Iterator[Member]:
        """The service, running; a server that was started is stopped at the end.

        Raises:
            RedisDictError, redis.exceptions.RedisError, OSError: it can't be brought up.
        """
        with ExitStack() as stack:
            up = stack.enter_context(running(service))
            self._remember(up)
            self._pin(up)
            backend = Backend(parse_alias(f"redisbench {service.title}", {"LOCATION": up.location}))
            stack.callback(backend.close)
            client = backend.client()
            if up.pids:
                wait_for_replicas(client)
            else:
                stack.enter_context(keys_removed_after(client, self._token, self._keys_left(up)))
            pid = local_pid(up)
            pids = (pid,) if pid else ()
            probe = PlacementProbe(pid)
            stack.callback(probe.close)
            yield Member(
                service=service,
                location=up.location,
                probe=probe,
                cpu_ns=cpu_clock(up.pids[: up.primary_count] or pids),
                pids=up.pids or pids,
                facts=server_facts(up, client),
            )

    def _keys_left(self, up: RunningService) -> Callable[[str], None]:
        def tell(reason: str) -> None:
            self._tell(
                f"keys of this run may be left on {up.service.title} ({reason});"
                " the next run on that server removes them."
            )

        return tell

    def _remember(self, up: RunningService) -> None:
        title = up.service.title
        if up.pids or not up.identity.run_id:
            return
        other = self._names_by_run_id.setdefault(up.identity.run_id, title)
        if other != title:
            raise SameServer(
                f"{other!r} and {title!r} are one server ({up.identity.name}, {up.service.address})"
                " under two names; comparing it with itself says nothing. Leave one of them out."
            )

    def _pin(self, up: RunningService) -> None:
        """All processes of a service go to one CPU, replicas as well.

        A write wakes the replicas. On another CPU that takes an interrupt, which costs more or
        less depending on what else runs there: with a busy neighbour a SET behind Sentinel came
        out 20 % slower. On one CPU it is within 3 %.
        """
        if self._cpus is not None:
            for pid in up.pids:
                pin_process(pid, {self._cpus.server})
