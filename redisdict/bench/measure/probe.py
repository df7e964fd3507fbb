"""Find the servers that are much slower on one CPU, before anything is measured.

A server with one thread is measured best on the client's CPU. A server whose threads wait for each
other by spinning is slower there: KeyDB 6.3.4 answers 0.3 to 0.6 of Redis's GETs a second, and 0.4
to 0.9 with two CPUs. (0.05, if client and server belong to one session: Linux then shares the CPU
out among all threads of both, spinning ones included; see sched(7) on autogroups. So servers are
started in sessions of their own.) Each server that a run starts is sent a few hundred GETs under
both placements. If several of its threads work, or if it is slower on one CPU, it is compared with
the reference under both; if these ratios differ by more than noise, both are measured.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import redis

from redisdict.bench.measure.placement import FREE, SAME, Cpus, pin_process, pinned_client
from redisdict.bench.measure.server_pool import RunningServer, ServerPool, pin_all
from redisdict.bench.measure.services import Service
from redisdict.bench.measure.statistics import LEAST_ROUNDS, Ratio, paired_ratio

#: Times that every server is asked under each placement, half of them at a time.
TURNS = LEAST_ROUNDS + 6

#: GETs of one turn, and others before them that aren't timed.
CALLS, LEAD_IN = 20, 8

#: Calls after a change of placement that aren't timed, and the longest time for them.
SETTLE_CALLS, SETTLE_S = 200, 0.5

#: Connections that share the calls, so that a server can use its threads.
CONNECTIONS = 4

#: A thread with less than this share of a server's CPU time isn't counted as working.
LEAST_SHARE = 0.1

#: The factor by which one CPU has to slow a server down for it to count as crippled.
CRIPPLED = 1.5

#: Ratios that differ by less count as equal.
LEAST_DIFFERENCE = 1.1

#: The addition to the title of a service that is measured under both placements.
NAMES = {SAME: "one CPU", FREE: "unpinned"}


@dataclass(frozen=True)
class Probed:
    """What one server did: nanoseconds a call by placement, and how many threads were at work."""

    times: Mapping[str, Sequence[float]]
    threads: int

    @property
    def is_crippled(self) -> bool:
        """Whether it is clearly slower on one CPU than on all CPUs."""
        return paired_ratio(self.times[SAME], self.times[FREE]).high < 1 / CRIPPLED

    @property
    def is_doubtful(self) -> bool:
        """Whether it has to be compared with the reference under both placements."""
        median = statistics.median(self.times[SAME]) / statistics.median(self.times[FREE])
        return self.threads > 1 or median > CRIPPLED


def placements(own: Probed, reference: Probed) -> tuple[str, ...]:
    """Choose the placements under which a server is measured, the one that suits it first.

    Both when its ratios to the reference differ by more than their noise; otherwise, if it has
    several threads, those CPUs that they want.
    """
    if not own.is_doubtful:
        return (SAME,)
    pinned, free = (ratio_under(place, own, reference) for place in (SAME, FREE))
    apart = math.log(LEAST_DIFFERENCE)
    if math.log(free.low) - math.log(pinned.high) > apart:
        return (FREE, SAME)
    if math.log(pinned.low) - math.log(free.high) > apart:
        return (SAME, FREE)
    return (FREE,) if own.threads > 1 or own.is_crippled else (SAME,)


def ratio_under(place: str, own: Probed, reference: Probed) -> Ratio:
    """Compute how fast a server is against the reference under one placement."""
    return paired_ratio(own.times[place], reference.times[place])


@dataclass
class Prober:
    """Probes the servers of a run.

    Args:
        servers: brings them up.
        cpus: the CPU for both, under `SAME`.
    """

    servers: ServerPool
    cpus: Cpus
    said: list[str] = field(default_factory=list)

    def placed(self, services: Sequence[Service]) -> list[Service]:
        """Give each service its placement; one that is measured under both becomes two.

        What isn't started here, or is several processes, stays as it is pinned. The first has the
        reference.
        """
        first, *others = services
        base = self._alone(first) if _can_be_probed(first) else SAME
        found = [replace(first, placement=base)]
        for service in others:
            if not _can_be_probed(service):
                found.append(replace(service, placement=base))
            elif not _can_be_probed(first):
                found.append(replace(service, placement=self._alone(service)))
            elif self.probe(service).is_doubtful:
                own, reference = self.probe_beside(service, first)
                found += self._places(service, first, own, reference)
            else:
                found.append(replace(service, placement=base))
        return found

    def _alone(self, service: Service) -> str:
        """Choose the placement of a server that has nothing beside it."""
        if not self.probe(service).is_crippled:
            return SAME
        self.said.append(f"{service.title} is measured unpinned: it is much slower on one CPU.")
        return FREE

    def _places(
        self, service: Service, reference: Service, own: Probed, other: Probed
    ) -> Iterator[Service]:
        chosen = placements(own, other)
        if chosen != (SAME,):
            ratios = " and ".join(
                f"{ratio_under(place, own, other).value:.2f} {NAMES[place]}"
                for place in (SAME, FREE)
            )
            kept = "under both" if len(chosen) > 1 else NAMES[chosen[0]]
            self.said.append(
                f"{service.title}: GET is {ratios} of {reference.title}; it is measured {kept}."
            )
        for place in chosen:
            title = f"{service.title} ({NAMES[place]})" if len(chosen) > 1 else service.title
            yield replace(service, title=title, placement=place)

    def probe(self, service: Service) -> Probed:
        """Ask one server under both placements.

        Raises:
            RedisDictError, redis.exceptions.RedisError, OSError: it can't be asked.
        """
        return self._probe([service])[0]

    def probe_beside(self, service: Service, reference: Service) -> tuple[Probed, Probed]:
        """Ask two servers in turn under both placements.

        Raises:
            RedisDictError, redis.exceptions.RedisError, OSError: one of them can't be asked.
        """
        own, other = self._probe([service, reference])
        return own, other

    def _probe(self, services: Sequence[Service]) -> list[Probed]:
        with ExitStack() as stack:
            asked = [
                _Asked(stack.enter_context(self.servers.server(service)), stack)
                for service in services
            ]
            times: list[dict[str, list[float]]] = [{SAME: [], FREE: []} for _ in asked]
            for place in (SAME, FREE) * 2:
                cpus = self.cpus if place == SAME else None
                with pinned_client(cpus.client if cpus else None):
                    for one in asked:
                        one.place(cpus)
                    for _ in range(TURNS // 2):
                        for one, own in zip(asked, times, strict=True):
                            own[place].append(one.turn())
            return [
                Probed(own, one.threads_at_work()) for one, own in zip(asked, times, strict=True)
            ]


class _Asked:
    """One server that is asked, and what its threads do meanwhile."""

    def __init__(self, server: RunningServer, stack: ExitStack) -> None:
        self._pids = server.pids
        self._allowed = os.sched_getaffinity(0)
        self._clients = [
            stack.enter_context(redis.Redis.from_url(server.location)) for _ in range(CONNECTIONS)
        ]
        for client in self._clients:
            client.ping()
        self._before = self._thread_times()

    def place(self, cpus: Cpus | None) -> None:
        """Put it there, and ask until its threads have found their CPUs.

        Right after pinning has ended they all are on one CPU still, for up to a hundred calls.
        """
        if cpus is not None:
            pin_all(self._pids, cpus)
        else:
            for pid in self._pids:
                pin_process(pid, self._allowed)
        until = time.monotonic() + SETTLE_S
        calls = 0
        while calls < SETTLE_CALLS and time.monotonic() < until:
            self.turn()
            calls += CALLS + LEAD_IN

    def turn(self) -> float:
        """Nanoseconds a call."""
        clients = [self._clients[number % CONNECTIONS] for number in range(CALLS + LEAD_IN)]
        for client in clients[:LEAD_IN]:
            client.get("redisbench:probe")
        began = time.perf_counter_ns()
        for client in clients[LEAD_IN:]:
            client.get("redisbench:probe")
        return (time.perf_counter_ns() - began) / CALLS

    def threads_at_work(self) -> int:
        """Count the threads that used CPU time while the server was probed."""
        now = self._thread_times()
        used = [time_ns - self._before.get(path, 0) for path, time_ns in now.items()]
        return sum(one > LEAST_SHARE * sum(used) for one in used)

    def _thread_times(self) -> dict[str, int]:
        times = {}
        for pid in self._pids:
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                times[str(path)] = int(path.read_text().split()[0])
        return times


def _can_be_probed(service: Service) -> bool:
    return service.location is None and not service.has_own_pool
