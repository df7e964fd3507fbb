"""Does the benchmark find a difference that is there, and none where there is none?

Two servers of one program run side by side. The second is measured as it is (A/A), and with blocks
that are made 2 % and 5 % longer by waiting. All this may happen while another process works without
pause.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from redisdict.bench.leftovers import new_token
from redisdict.bench.placement import PlacementProbe, choose_cpus, pin_process, pinned_client
from redisdict.bench.runner import Clock, Rounds
from redisdict.bench.series import ratio_between
from redisdict.bench.spec import PRESETS, SYNC, Cell, Precision, Role, Table
from redisdict.bench.statistics import Ratio, Verdict, judge, noise_floor
from redisdict.bench.workloads.calls import Calls
from redisdict.bench.workloads.cells import WorkloadCell
from redisdict.bench.workloads.commands import Get, Set, StringCommands
from redisdict.bench.workloads.drivers import SyncDriver, Timed
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.ledger import interpreter
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_embeddable_program

__all__ = ["DELAYS", "Finding", "busy_neighbour", "selftest"]

#: How much longer the blocks of the second server are made.
DELAYS = (0.0, 0.02, 0.05)

MAX_ROUNDS = 20_000

#: As in a real run.
BLOCK = PRESETS["standard"].block_operations
LEAD_IN = PRESETS["standard"].lead_in_operations

OPERATIONS: dict[str, type[StringCommands]] = {"SET": Set, "GET": Get}

FIRST, SECOND = "first server", "second server"


@dataclass(frozen=True)
class Finding:
    """What the benchmark said about one cell of which the truth is known."""

    operation: str
    delay: float
    ratio: Ratio
    verdict: Verdict

    @property
    def error(self) -> float:
        """How far the ratio is from the truth: 0.01 is 1 %."""
        return self.ratio.value * (1 + self.delay) - 1

    @property
    def is_right(self) -> bool:
        """A delay is called slower, and none is called neither faster nor slower."""
        if self.delay:
            return self.verdict is Verdict.SLOWER
        return self.verdict not in (Verdict.FASTER, Verdict.SLOWER)


def selftest(seconds: float, seed: int, *, clock: Clock = time.perf_counter_ns) -> list[Finding]:
    """One run of about so many seconds, on two servers of its own.

    Raises:
        ProgramMissing, ServerStartError: no server can be started here.
    """
    with ExitStack() as stack:
        program = find_embeddable_program()
        servers = {name: stack.enter_context(ServerProcess(program)) for name in (FIRST, SECOND)}
        cpus = choose_cpus("same")
        if cpus is not None:
            for server in servers.values():
                pin_process(server.pid, {cpus.server})
        stack.enter_context(pinned_client(cpus.client if cpus else None))
        opener = _Opener(servers, seed, stack)
        references, twins, cells = {}, {}, {}
        for operation in OPERATIONS:
            references[operation] = opener.open(FIRST, operation, Role.REFERENCE)
            twins[operation] = opener.open(FIRST, operation, Role.TWIN)
            for delay in DELAYS:
                cells[operation, delay] = opener.open(SECOND, operation, Role.MEASURED, delay)
        series = Rounds(
            [*references.values(), *twins.values(), *cells.values()],
            {cell.cell: references[operation].cell for (operation, _), cell in cells.items()},
            Precision(min_rounds=200, max_rounds=MAX_ROUNDS, seconds=seconds, half_width=0.005),
            rng=random.Random(seed),  # noqa: S311 - an order, not a secret
            clock=clock,
        ).run()
        ratios = {
            key: ratio_between(series[cell.cell], series[references[key[0]].cell])
            for key, cell in cells.items()
        }
        floors = [
            ratio_between(series[twin.cell], series[references[operation].cell])
            for operation, twin in twins.items()
        ]
    floor = noise_floor([ratio for ratio in floors if ratio is not None])
    return [
        Finding(operation, delay, ratio, judge(ratio, floor))
        for (operation, delay), ratio in ratios.items()
        if ratio is not None
    ]


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """A process that works without pause, on whatever CPU the system gives it."""
    command = [interpreter(), "-I", "-S", "-c", "while True: sum(range(1000))"]
    process = subprocess.Popen(command)  # noqa: S603 - fixed words
    try:
        yield
    finally:
        process.kill()
        process.wait()


class _DelayedDriver(SyncDriver):
    """Makes every block longer by a share of itself, by waiting in the timed region."""

    def __init__(self, delay: float) -> None:
        self._delay = delay

    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        timed = super().run(clock, calls, lead_in)
        wanted_ns = timed.duration_ns * self._delay
        began_ns = waited_ns = clock()
        while waited_ns - began_ns < wanted_ns:
            waited_ns = clock()
        waited_ns -= began_ns
        return Timed(timed.duration_ns + waited_ns, timed.cpu_ns + waited_ns, timed.replies)


class _Opener:
    """Opens cells on the two servers, each with a pool of its own."""

    def __init__(self, servers: dict[str, ServerProcess], seed: int, stack: ExitStack) -> None:
        self._servers = servers
        self._seed = seed
        self._stack = stack
        self._probes = {name: PlacementProbe(server.pid) for name, server in servers.items()}
        for probe in self._probes.values():
            stack.callback(probe.close)

    def open(self, server: str, operation: str, role: Role, delay: float = 0.0) -> WorkloadCell:
        cell = Cell(
            table=Table.POOLS,
            service=f"{server} +{delay:.0%}",
            mode=SYNC,
            pool="ConnectionPool",
            operation=operation,
            role=role,
        )
        values = {
            "LOCATION": self._servers[server].url,
            "POOL_CLASS": "redisdict.pools.ConnectionPool",
        }
        backend = Backend(parse_alias(f"selftest {server}", values))
        self._stack.callback(backend.close)
        workload = OPERATIONS[operation](
            backend.client(),
            backend.client(),
            f"redisbench:{new_token()}",
            rng=random.Random(self._seed),  # noqa: S311 - data, not secrets
            key_count=100,
            value_bytes=100,
            block=BLOCK + LEAD_IN,
            lead_in=LEAD_IN,
        )
        workload.open()
        driver = _DelayedDriver(delay) if delay else SyncDriver()
        return WorkloadCell(cell, workload, driver, self._probes[server])
