"""Find out what disturbs measurements on this machine, and how fast it can be at best."""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from redisdict.bench.choices import Table
from redisdict.bench.errors import WrongReply
from redisdict.bench.measure import environment
from redisdict.bench.measure.cleanup import new_token
from redisdict.bench.measure.environment import HIGH_FOREIGN_SHARE, CpuTimes, cpu_shares
from redisdict.bench.measure.placement import can_pin
from redisdict.bench.measure.rounds import Clock, Rounds, ratio_between
from redisdict.bench.measure.server_pool import start_own_servers
from redisdict.bench.measure.statistics import Ratio
from redisdict.bench.spec import PRESETS, SYNC, Cell, Precision
from redisdict.bench.workloads.calls import Calls, Workload
from redisdict.bench.workloads.cells import CellFactory, WorkloadCell
from redisdict.bench.workloads.drivers import SyncDriver

#: A clock coarser than this shows in blocks of a few hundred microseconds.
COARSE_CLOCK_NS = 1000

FLOOR_ROUNDS = 500

#: As a real run calls.
SPEC = replace(PRESETS["standard"], key_count=10)


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at. `advice` is empty when there is nothing to do."""

    name: str
    finding: str
    advice: str = ""


@dataclass(frozen=True)
class Floor:
    """One GET over a bare socket and through redis-py, client and server on one CPU."""

    socket_us: float
    client_us: float
    socket_against_client: Ratio


def diagnose(clock: Clock = time.perf_counter_ns) -> Iterator[Diagnosis]:
    """Look at this machine for a second."""
    yield Diagnosis("machine", environment.machine())
    if environment.is_virtual_machine():
        yield Diagnosis(
            "virtual machine", "its CPUs are shared with others", "Trust ratios, not ops/s."
        )
    if environment.cpus_allowed() == 1:
        yield Diagnosis(
            "CPUs",
            "one for everything",
            "Anything else that runs disturbs; --placement split isn't possible.",
        )
    if not can_pin():
        yield Diagnosis(
            "pinning",
            "this system doesn't let a process choose its CPU",
            "Expect jumps when the scheduler moves client or server; Linux can do better.",
        )
    governor = environment.cpu_governor()
    if governor not in ("", "performance"):
        yield Diagnosis(
            "CPU clock rate",
            f"governed by {governor!r}",
            "For steady ops/s: cpupower frequency-set --governor performance",
        )
    yield from _load()
    step = _clock_step(clock)
    advice = (
        "Use longer blocks (block_operations in a --spec file)." if step > COARSE_CLOCK_NS else ""
    )
    yield Diagnosis("clock", f"moves in steps of {step:.0f} ns", advice)
    if environment.package_versions()["hiredis"] is None:
        yield Diagnosis("hiredis", "isn't installed", "pip install hiredis")


def _load() -> Iterator[Diagnosis]:
    before = CpuTimes.now(())
    time.sleep(1)
    shares = cpu_shares(before, CpuTimes.now(()))
    if shares:
        share = shares["foreign_cpu_share"]
        advice = "Stop what else runs here." if share > HIGH_FOREIGN_SHARE else ""
        yield Diagnosis("other processes", f"took {share:.0%} of the CPU time", advice)
    steal = shares.get("steal_share", 0.0)
    if steal > 0.01:
        yield Diagnosis(
            "steal", f"the host withheld {steal:.0%}", "Measure at another time or place."
        )


def _clock_step(clock: Clock) -> float:
    steps = []
    for _ in range(100):
        began = now = clock()
        while now == began:
            now = clock()
        steps.append(now - began)
    return statistics.median(steps)


def measure_floor(clock: Clock = time.perf_counter_ns) -> Floor | None:
    """Measure what the socket alone costs here, and what the client adds; half a second.

    Raises:
        ProgramMissing, ServerStartError: no server can be started here.
    """
    key, value = "redisbench:floor", b"x" * 100
    with ExitStack() as stack:
        server = start_own_servers(["client"], stack)["client"]
        factory = CellFactory(
            SPEC,
            hosts={("client", False): server},
            token=new_token(),
            loop=stack.enter_context(asyncio.Runner()).get_loop(),
            stack=stack,
        )
        client = factory.open(_cell("client"))
        factory.backend(client.cell).client().set(key, value)
        lead_in = SPEC.lead_in_operations
        block = SPEC.block_operations + lead_in
        raw = RawGet(urlsplit(server.location).port or 0, key, value, block=block, lead_in=lead_in)
        raw.open()
        stack.callback(raw.close)
        cells = [WorkloadCell(_cell("socket"), raw, SyncDriver(), server.probe), client]
        series = Rounds(
            cells,
            {},
            Precision(min_rounds=FLOOR_ROUNDS, max_rounds=FLOOR_ROUNDS, seconds=10),
            rng=random.Random(1),  # noqa: S311 - an order, not a secret
            clock=clock,
        ).run()
    socket_series, client_series = (series[cell.cell] for cell in cells)
    ratio = ratio_between(socket_series, client_series)
    if ratio is None:
        return None
    place = client_series.placement
    return Floor(
        statistics.median(socket_series.times_at(place)) / 1000,
        statistics.median(client_series.times_at(place)) / 1000,
        ratio,
    )


def _cell(name: str) -> Cell:
    return Cell(table=Table.POOLS, service=name, mode=SYNC, pool="ConnectionPool", operation="GET")


class RawGet(Workload):
    """GET of one key over a bare TCP socket; the reply is compared byte by byte."""

    def __init__(self, port: int, key: str, value: bytes, *, block: int, lead_in: int = 0) -> None:
        self.lead_in = lead_in
        self._port = port
        self._command = b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key.encode())
        self._expected = b"$%d\r\n%b\r\n" % (len(value), value)
        self._block = block

    def open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def prepare(self) -> Calls:
        return Calls(self._get, [()] * self._block)

    def check(self, replies: Sequence[Any]) -> None:
        if any(reply != self._expected for reply in replies):
            raise WrongReply("A GET over the bare socket got a wrong reply.")

    def facts(self) -> dict[str, Any]:
        return {}

    def _get(self) -> bytes:
        self._socket.sendall(self._command)
        reply = self._socket.recv(65_536)
        while len(reply) < len(self._expected):
            reply += self._socket.recv(65_536)
        return reply
