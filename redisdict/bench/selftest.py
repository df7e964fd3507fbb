"""Test whether the benchmark finds a known difference, and no others.

Three servers of one program run side by side: a reference, its A/A twin, and a second server. They
are measured as they are, and with blocks that are made 2 % and 5 % longer by waiting, optionally
while another process works without pause.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import redis

from redisdict.bench.choices import Table
from redisdict.bench.measure.cleanup import new_token
from redisdict.bench.measure.placement import PlacementProbe
from redisdict.bench.measure.rounds import Block, Clock, OpenCell, Rounds, Series, ratio_between
from redisdict.bench.measure.server_pool import start_own_servers
from redisdict.bench.measure.statistics import Ratio, Verdict, judge
from redisdict.bench.operations import least_difference
from redisdict.bench.spec import PRESETS, SYNC, Cell, Precision
from redisdict.bench.workloads.calls import Calls, blocks_of, key_names
from redisdict.bench.workloads.cells import CellFactory
from redisdict.bench.workloads.drivers import SyncDriver, Timed
from redisdict.servers.process import interpreter

#: How much longer the blocks of the second server are made.
DELAYS = (0.0, 0.02, 0.05)

#: One of so many may be wrong, as an interval of 95 % has it.
ONE_WRONG_OF = 20

#: How far a ratio may be from the truth, one of `ONE_WRONG_OF` excepted; and how far that one may.
CLOSE = 0.01
FARTHEST = 0.05

MAX_ROUNDS = 20_000

#: The rows of the loops that no harness is around.
BARE = "bare loop"

#: As a real run calls.
SPEC = replace(PRESETS["standard"], key_count=112)

MEASURED = ("SET", "GET")

#: Works as long as the process that started it, which may be killed, is there.
NEIGHBOUR = """
import os
parent = os.getppid()
while os.getppid() == parent:
    sum(range(100_000))
"""

#: The reference, its A/A twin from which the noise floor comes, and the one that is judged.
FIRST, TWIN, SECOND = "first server", "twin", "second server"


@dataclass(frozen=True)
class Finding:
    """The result for one cell whose true ratio is known."""

    operation: str
    delay: float
    ratio: Ratio
    verdict: Verdict

    @property
    def error(self) -> float:
        """The distance of the ratio from the truth: 0.01 is 1 %."""
        return self.ratio.value * (1 + self.delay) - 1

    @property
    def is_right(self) -> bool:
        """A delay is called slower, and none is called neither faster nor slower."""
        if self.delay:
            return self.verdict is Verdict.SLOWER
        return self.verdict not in (Verdict.FASTER, Verdict.SLOWER)


@dataclass(frozen=True)
class SelfTest:
    """The findings of one run.

    `bare_loops`: operation -> how fast the plainest loop over the same client is, against ours.
    """

    findings: list[Finding]
    bare_loops: dict[str, Ratio]


def broken_promises(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for each promise that the findings don't keep; none when all are kept.

    Of ratios between equal servers and of verdicts on them 19 of 20 are right and no ratio is off
    by more than 5 %; every delay of 5 % is found, and 19 of 20 of 2 %. A line names each finding
    that is off, by how much, and how many may be.
    """
    for delay in DELAYS:
        chosen = [one for one in findings if one.delay == delay]
        if not chosen:
            yield f"{_of_delay(delay)}: there is no ratio, because no round measured both servers"
            continue
        few = len(chosen) // ONE_WRONG_OF
        wrong = [f"{one.operation} {one.verdict}" for one in chosen if not one.is_right]
        allowed = 0 if delay == max(DELAYS) else few
        if len(wrong) > allowed:
            yield (
                f"{_of_delay(delay)}: {allowed} of {len(chosen)} verdicts may be wrong,"
                f" and {len(wrong)} are: {', '.join(wrong)}"
            )
        if delay:
            continue
        for bound, allowed in ((CLOSE, few), (FARTHEST, 0)):
            off = [f"{one.operation} {one.error:+.3%}" for one in chosen if abs(one.error) > bound]
            if len(off) > allowed:
                yield (
                    f"{_of_delay(delay)}: {allowed} of {len(chosen)} ratios may be off by more than"
                    f" {bound:.0%}, and {len(off)} are: {', '.join(off)}"
                )


def _of_delay(delay: float) -> str:
    return f"a delay of {delay:.0%}" if delay else "equal servers"


def selftest(seconds: float, seed: int, *, clock: Clock = time.perf_counter_ns) -> SelfTest:
    """Run it once, for at most so many seconds, on servers of its own.

    They are started afresh as often as in a standard run.

    Raises:
        ProgramMissing, ServerStartError: no server can be started here.
    """
    precision = Precision(
        min_rounds=200,
        max_rounds=MAX_ROUNDS,
        seconds=seconds,
        half_width=0.004,
        server_starts=PRESETS["standard"].precision.server_starts,
    )
    total: dict[Cell, Series] = {}
    for number in range(precision.server_starts):
        rng = random.Random(f"{seed} {number}")  # noqa: S311 - an order, not a secret
        for cell, series in _rounds(precision.of_one_start, rng, clock).items():
            total.setdefault(cell, Series()).extend(series)
    findings = []
    bare_loops = {}
    for operation in MEASURED:
        reference = total[_cell(FIRST, operation)]
        twin = ratio_between(total[_cell(TWIN, operation)], reference)
        floor = 0.0 if twin is None else abs(math.log(twin.value))
        least = least_difference(operation, floor, precision.server_starts)
        for delay in DELAYS:
            ratio = ratio_between(total[_cell(SECOND, operation, delay)], reference)
            if ratio is not None:
                findings.append(Finding(operation, delay, ratio, judge(ratio, least)))
        bare_loop = ratio_between(total[_cell(BARE, operation)], reference)
        if bare_loop is not None:
            bare_loops[operation] = bare_loop
    return SelfTest(findings, bare_loops)


def _rounds(precision: Precision, rng: random.Random, clock: Clock) -> Mapping[Cell, Series]:
    """Run the rounds of one start of the servers."""
    with ExitStack() as stack:
        servers = start_own_servers((FIRST, TWIN, SECOND), stack)
        rows = [(FIRST, 0.0), (TWIN, 0.0), *((SECOND, delay) for delay in DELAYS)]
        hosts = {(_cell(name, "", delay).service, False): servers[name] for name, delay in rows}
        hosts[_cell(BARE, "").service, False] = servers[FIRST]
        token = new_token()
        factory = CellFactory(
            SPEC,
            hosts=hosts,
            token=token,
            loop=stack.enter_context(asyncio.Runner()).get_loop(),
            stack=stack,
        )
        cells: list[OpenCell] = []
        for operation in MEASURED:
            cells += [
                factory.open(_cell(name, operation, delay), driver=_DelayedDriver(delay))
                for name, delay in rows
            ]
            client = factory.backend(_cell(BARE, operation)).client()
            prefix = f"redisbench:{token}:{operation}"
            cells.append(_BareLoop(operation, client, prefix, servers[FIRST].probe))
        references = {cell.cell: _cell(FIRST, cell.cell.operation) for cell in cells}
        return Rounds(cells, references, precision, rng=rng, clock=clock).run()


def _cell(server: str, operation: str, delay: float = 0.0) -> Cell:
    return Cell(
        table=Table.POOLS,
        service=f"{server} +{delay:.0%}",
        mode=SYNC,
        pool="ConnectionPool",
        operation=operation,
    )


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Start a process that works without pause, on whatever CPU the system gives it."""
    command = [interpreter(), "-I", "-S", "-c", NEIGHBOUR]
    process = subprocess.Popen(command)  # noqa: S603 - fixed words
    try:
        yield
    finally:
        process.kill()
        process.wait()


class _BareLoop:
    """The plainest of loops over redis-py's client, against which the harness is measured."""

    def __init__(
        self, operation: str, client: redis.Redis, prefix: str, probe: PlacementProbe
    ) -> None:
        self.cell = _cell(BARE, operation)
        self._client = client
        self._loop = _set_all if operation == "SET" else _get_all
        value = b"x" * max(SPEC.value_bytes)
        pairs = [(key, value) for key in key_names(prefix, SPEC.key_count)]
        _set_all(client, pairs)
        self._blocks = itertools.cycle(
            blocks_of(pairs, SPEC.block_operations + SPEC.lead_in_operations)
        )
        self.placement = probe

    def prepare(self) -> None:
        self._pairs = next(self._blocks)

    def run(self, clock: Clock) -> Block:
        timed = self._pairs[SPEC.lead_in_operations :]
        self._loop(self._client, self._pairs[: SPEC.lead_in_operations])
        started_ns = clock()
        self._loop(self._client, timed)
        return Block(clock() - started_ns, len(timed))

    def check(self) -> None:
        """Nothing is kept that could be looked at."""


def _get_all(client: redis.Redis, pairs: list[tuple[str, bytes]]) -> None:
    for key, _value in pairs:
        client.get(key)


def _set_all(client: redis.Redis, pairs: list[tuple[str, bytes]]) -> None:
    for key, value in pairs:
        client.set(key, value)


class _DelayedDriver(SyncDriver):
    """Makes every block longer by a share of itself, by waiting in the timed region."""

    def __init__(self, delay: float) -> None:
        self._delay = delay

    def run(self, clock: Clock, calls: Calls, lead_in: int = 0) -> Timed:
        timed = super().run(clock, calls, lead_in)
        if not self._delay:
            return timed
        wanted_ns = timed.duration_ns * self._delay
        began_ns = waited_ns = clock()
        while waited_ns - began_ns < wanted_ns:
            waited_ns = clock()
        waited_ns -= began_ns
        return Timed(timed.duration_ns + waited_ns, timed.replies)
