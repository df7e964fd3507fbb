"""Disturbances: of the server, of its connections, and of the processes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import redis
from redis.crc import key_slot

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Program
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.backends.failover import fail_over, mend, switches_of
from tests.backends.test_cluster import move_slot
from tests.stress.near.board import PROCESSES, Board, now

#: Behind Sentinel, seconds after the switch in which a process may still hear the old primary: it
#: asks the sentinels every second, and a question takes a while.
SETTLE_S = 2.0

#: Seconds before a switch that nobody has brought about, in which an answered write may be lost.
DOUBTFUL_S = 10.0


class Processes(Protocol):
    """The processes that read and write."""

    def kill(self, process: int) -> None:
        """End one at once, and start it anew."""

    def pid(self, process: int) -> int:
        """Tell the id of one."""


class Servers:
    """One server. Others are its subclasses."""

    def __init__(self, program: Program, arguments: tuple[str, ...] = ()) -> None:
        self.topology: Any = ServerProcess(program, arguments=arguments)

    @property
    def location(self) -> str:
        return str(self.topology.url)

    def primaries(self) -> list[ServerProcess]:
        return [self.topology]

    def ways(self) -> list[Callable[[Disturber], None]]:
        return [stop_server]

    @contextmanager
    def watched(self) -> Iterator[Callable[[], int]]:
        """Watch for switches to another primary; gives what tells how many there were."""
        yield lambda: 0


class BehindSentinels(Servers):
    """A primary and its replicas, with sentinels."""

    def __init__(self, program: Program) -> None:
        self.topology = SentinelTopology(program, down_after_ms=2000)

    @property
    def location(self) -> str:
        return str(self.topology.location)

    def primaries(self) -> list[ServerProcess]:
        return [self.topology.current_primary()]

    def ways(self) -> list[Callable[[Disturber], None]]:
        return [fail_over_by_kill, fail_over_by_hanging]

    @contextmanager
    def watched(self) -> Iterator[Callable[[], int]]:
        with switches_of(self.topology) as switches:
            yield lambda: len(switches.times)


class InACluster(Servers):
    """Three primaries that share the slots."""

    def __init__(self, program: Program) -> None:
        self.topology = ClusterTopology(program, node_timeout_ms=5000)

    @property
    def location(self) -> str:
        return str(self.topology.location)

    def primaries(self) -> list[ServerProcess]:
        return list(self.topology.primaries)

    def ways(self) -> list[Callable[[Disturber], None]]:
        return [stop_server, move_slots, move_slots]


class Disturber:
    """Does one thing after the other, until there has been enough.

    Args:
        prefix: of the keys.
        pause_s: seconds between two, on average.
        only: the names of those that are done; all if there is none.
    """

    def __init__(
        self,
        servers: Servers,
        board: Board,
        processes: Processes,
        prefix: str,
        pause_s: float,
        only: Collection[str] = (),
    ) -> None:
        self.servers = servers
        self.board = board
        self.processes = processes
        self.prefix = prefix
        self._pause_s = pause_s
        self._only = only
        self.done: dict[str, int] = {}
        #: From when till when a primary was lost that nobody had taken away.
        self.doubtful: list[tuple[float, float]] = []
        self._switches: Callable[[], int] = lambda: 0
        self._known_switches = 0
        #: When each began and ended, by the clock of the board.
        self.log: list[tuple[str, float, float]] = []

    def run(self, is_enough: Callable[[], bool]) -> None:
        ways = [
            kill_listeners,
            kill_all_connections,
            kill_process,
            stop_process,
            flush,
            forget_scripts,
            *self.servers.ways(),
        ]
        ways = [way for way in ways if not self._only or way.__name__ in self._only]
        with self.servers.watched() as self._switches:
            while True:
                random.shuffle(ways)  # each as often as the others, in a short run as well
                for way in ways:
                    self._pause(is_enough)
                    if is_enough():
                        return
                    self._do(way)

    def _do(self, way: Callable[[Disturber], None]) -> None:
        began = now()
        way(self)
        self.log.append((way.__name__, round(began / 1e9, 3), round(now() / 1e9, 3)))
        self.done[way.__name__] = self.done.get(way.__name__, 0) + 1
        self.look_for_switches()

    def expect_switch(self) -> None:
        """Say that a primary is about to be taken away."""
        self._known_switches += 1

    def look_for_switches(self) -> None:
        """Find out whether sentinels have chosen another primary though nobody took one away.

        On a busy machine they do, when one doesn't answer for so long. It isn't known since when.
        """
        if self._switches() <= self._known_switches:
            return
        self.board.pause()
        time.sleep(SETTLE_S)
        self._known_switches = self._switches()
        began = self.log[-1][1] if self.log else 0.0
        self.doubtful.append((began - DOUBTFUL_S, now() / 1e9))
        self.board.forgive()
        self.board.resume()

    def _pause(self, is_enough: Callable[[], bool]) -> None:
        until = time.monotonic() + random.expovariate(1 / self._pause_s)
        while time.monotonic() < until and not is_enough():
            time.sleep(0.02)

    @contextmanager
    def clients(self) -> Iterator[list[redis.Redis]]:
        clients = [server.client() for server in self.servers.primaries()]
        try:
            yield clients
        finally:
            for client in clients:
                client.close()


def kill_listeners(disturber: Disturber) -> None:
    with disturber.clients() as clients:
        for client in clients:
            for each in client.client_list():
                if "t" in each["flags"] and random.random() < 0.5:
                    client.client_kill_filter(_id=each["id"])


def kill_all_connections(disturber: Disturber) -> None:
    with disturber.clients() as clients:
        for client in clients:
            client.client_kill_filter(_type="normal", skipme=True)


def kill_process(disturber: Disturber) -> None:
    disturber.processes.kill(random.randrange(PROCESSES))


def stop_process(disturber: Disturber) -> None:
    pid = disturber.processes.pid(random.randrange(PROCESSES))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(random.uniform(0.1, 1.5))
        os.kill(pid, signal.SIGCONT)


def stop_server(disturber: Disturber) -> None:
    server = random.choice(disturber.servers.primaries())
    os.kill(server.pid, signal.SIGSTOP)
    try:
        time.sleep(random.uniform(0.1, 1.5))
    finally:
        os.kill(server.pid, signal.SIGCONT)


def flush(disturber: Disturber) -> None:
    with disturber.clients() as clients:
        disturber.board.begin_flush()
        for client in clients:
            client.flushall()
        disturber.board.end_flush()


def forget_scripts(disturber: Disturber) -> None:
    with disturber.clients() as clients:
        for client in clients:
            client.script_flush()


def fail_over_by_kill(disturber: Disturber) -> None:
    _fail_over(disturber, "killed")


def fail_over_by_hanging(disturber: Disturber) -> None:
    _fail_over(disturber, "hung")


def _fail_over(disturber: Disturber, fault: Any) -> None:
    """Have another server become the primary, and the old one come back after a while.

    While two may answer nothing is judged. What the old one had answered may be lost.
    """
    board, topology = disturber.board, disturber.servers.topology
    board.pause()
    disturber.expect_switch()
    with switches_of(topology) as switches:
        lost = fail_over(topology, fault)
        switches.wait_for(1)
    time.sleep(SETTLE_S)
    board.forgive()
    board.resume()
    time.sleep(random.uniform(1, 3))
    board.pause()
    mend(topology, lost)
    time.sleep(SETTLE_S)
    board.resume()


def move_slots(disturber: Disturber) -> None:
    """Give the slots of the dicts, one after the other, to other nodes."""
    with disturber.clients() as clients:
        keys = {key for client in clients for key in client.scan_iter(count=1000)}
    slots = sorted({key_slot(key) for key in keys})
    for slot in random.sample(slots, min(2, len(slots))):
        move_slot(disturber.servers.topology, slot)
