"""Measure a whole run: services up, group after group measured and saved, all taken down."""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.utils.module_loading import import_string

from redisdict.bench import noise
from redisdict.bench.choices import CellStatus, RunStatus, Table
from redisdict.bench.errors import CELL_ERRORS, SameServer, UsageError, describe
from redisdict.bench.measure.cleanup import Interruption, new_token
from redisdict.bench.measure.environment import CpuTimes, cpu_shares
from redisdict.bench.measure.group import GroupOutcome, measure_group
from redisdict.bench.measure.placement import AUTO, FREE, Cpus, choose_cpus, pinned_client
from redisdict.bench.measure.probe import Prober
from redisdict.bench.measure.progress import Reporter
from redisdict.bench.measure.rounds import Clock, frozen_heap
from redisdict.bench.measure.server_pool import RunningServer, ServerPool
from redisdict.bench.measure.services import Service
from redisdict.bench.measure.warnings import find_warnings
from redisdict.bench.plan import Group, plan, time_budget
from redisdict.bench.records import Recorder, result_of
from redisdict.bench.spec import BenchmarkSpec, Cell, Role
from redisdict.bench.workloads.cells import CellFactory
from redisdict.models import BenchmarkResult, BenchmarkRun

NO_POOL_CLASS = (
    "redis-py's client of a Cluster has connections of its own for each node, and no pool class;"
    " it is measured when no --pool is given."
)


@dataclass
class Session:
    """Measures one run.

    Args:
        services: those selected, in the order of the report, including those that aren't available.
        record: gets the results; if it has some already, the missing ones are added.
        calibration: the calibration, which says how much equal runs differ on this machine.
    """

    spec: BenchmarkSpec
    services: Sequence[Service]
    _: KW_ONLY
    record: BenchmarkRun
    recorder: Recorder
    reporter: Reporter
    interruption: Interruption
    clock: Clock = time.perf_counter_ns
    calibration: BenchmarkRun | None = None
    has_wrong_reply: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._token = new_token()
        self._facts: dict[str, dict[str, Any]] = {}
        self._placed: list[Service] = []
        self._cpus: Cpus | None = None

    def run(self) -> None:
        """Measure, and leave everything in the record, whatever happens.

        Raises:
            Interrupted: after all that was measured is saved and all that was started is stopped.
            SameServer: two names stand for one server.
            UsageError: none of the services can be measured.
        """
        record = self.record
        try:
            with self.interruption.listening(), frozen_heap(), ExitStack() as stack:
                self._run(stack)
            is_partial = any(one.status == CellStatus.FAILED for one in record.cells)
            record.status = RunStatus.PARTIAL if is_partial else RunStatus.FINISHED
        except BaseException as error:
            is_interrupted = isinstance(error, KeyboardInterrupt)
            record.status = RunStatus.INTERRUPTED if is_interrupted else RunStatus.FAILED
            record.error = describe(error)
            raise
        finally:
            record.finished_at = datetime.now(UTC)
            record.environment[noise.KEY] = noise.estimate(record, self.calibration)
            record.warnings = find_warnings(record)
            self.recorder.save(record)

    def _run(self, stack: ExitStack) -> None:
        self._cpus = choose_cpus(self.spec.placement)
        servers = ServerPool(self._token, self.reporter.note)
        measurable = self._from_first_that_starts(servers, self._look_at_services(servers))
        self._placed = self._place(servers, measurable)
        # An optional package, whose absence has been reported before.
        is_uvloop = self.spec.event_loop == "uvloop"
        factory = import_string("uvloop.new_event_loop") if is_uvloop else None
        loop = stack.enter_context(asyncio.Runner(loop_factory=factory)).get_loop()
        self.record.environment |= {"event_loop": type(loop).__module__, "retries": 0}
        groups = [group for group in plan(self.spec, self._placed) if not self._is_done(group)]
        if not groups and not self.record.cells:
            raise UsageError(
                "There is nothing to measure: none of the chosen tables (--table) has"
                " a chosen operation (--operation)."
            )
        self.recorder.save(self.record)
        try:
            self._measure(groups, servers, loop)
        finally:
            self.interruption.start_cleaning_up()

    def _look_at_services(self, servers: ServerPool) -> list[Service]:
        """Find the services that can be measured; the others get a row with the reason."""
        reasons = servers.look_at([service for service in self.services if service.is_available])
        available = []
        for service in self.services:
            if not service.is_available:
                self._put_row(service.title, CellStatus.UNAVAILABLE, service.reason)
            elif service.is_cluster and self.spec.pools:
                self._put_row(service.title, CellStatus.UNAVAILABLE, NO_POOL_CLASS)
            elif service.title in reasons:
                self._put_row(service.title, CellStatus.FAILED, reasons[service.title])
            else:
                available.append(service)
        return available

    def _from_first_that_starts(
        self, servers: ServerPool, available: Sequence[Service]
    ) -> Sequence[Service]:
        """Drop services up to the first that can be brought up: it has the reference."""
        for number, service in enumerate(available):
            self.reporter.note(f"{service.title}: {service.source} {service.address}".rstrip())
            try:
                with servers.server(service):
                    return available[number:]
            except SameServer:
                raise
            except CELL_ERRORS as error:
                self._put_row(service.title, CellStatus.FAILED, describe(error))
        reasons = [f"{one.service}: {one.reason}" for one in self.record.cells if one.reason]
        raise UsageError(
            "None of the services can be measured. " + " ".join(reasons)
            if reasons
            else "No service is selected; `redisbench services` lists what there is."
        )

    def _place(self, servers: ServerPool, services: Sequence[Service]) -> list[Service]:
        """Choose the placement of each service; one that is measured under two becomes two."""
        if self.spec.placement != AUTO or self._cpus is None or len(os.sched_getaffinity(0)) < 2:
            return list(services)
        prober = Prober(servers, self._cpus)
        try:
            return prober.placed(services)
        except CELL_ERRORS as error:
            # Its cells will say so in their own place.
            self.reporter.note(f"a server could not be probed: {describe(error)}")
            return list(services)
        finally:
            for line in prober.said:
                self.reporter.note(line)
            self.record.environment["placements"] = prober.said

    def _pinned(self, placement: str) -> Cpus | None:
        """Find where client and servers go under this placement; empty is the run's own."""
        return None if placement == FREE else self._cpus

    def _measure(
        self, groups: Sequence[Group], servers: ServerPool, loop: asyncio.AbstractEventLoop
    ) -> None:
        budgets = [time_budget(group, self.spec) for group in groups]
        seconds_left = self.spec.precision.seconds
        for number, group in enumerate(groups):
            share = budgets[number] / sum(budgets[number:])
            self.reporter.begin(group.name, budgets[number] / sum(budgets))
            began_ns = self.clock()
            with self.interruption.deferred():
                try:
                    self._keep(group, self._group(group, seconds_left * share, servers, loop))
                except SameServer:
                    raise
                except CELL_ERRORS as error:
                    reason = describe(error)
                    self._put(result_of(cell, CellStatus.FAILED, reason) for cell in group.rows)
                    self.reporter.note(f"{group.name}: {reason}")
                self.recorder.save(self.record)
            seconds_left = max(seconds_left - (self.clock() - began_ns) / 1e9, 1.0)
        if any(cell.concurrency > 1 for group in groups for cell in group.measured):
            with self.interruption.deferred():
                self._put_beside(servers, groups[0].references)

    def _put_beside(self, servers: ServerPool, references: Mapping[Cell, Cell]) -> None:
        """Put another tool's figures beside, if the run itself starts the reference's server."""
        title = next(iter(references.values())).service
        service = next(one for one in self.services if one.title == title)
        if service.location is not None or self.interruption.is_requested:
            return
        connections = max(self.spec.concurrency)
        try:
            cpus = self._cpus
            with (
                pinned_client(cpus.client if cpus else None),
                servers.server(service, cpus) as server,
            ):
                # Behind sentinels and in a Cluster there are several addresses.
                port = None if "," in server.location else urlsplit(server.location).port
                found = port and redis_benchmark(port, connections, max(self.spec.value_bytes))
        except CELL_ERRORS as error:
            self.reporter.note(f"redis-benchmark on {title}: {describe(error)}")
            return
        if found:
            facts = {"service": title, "connections": connections, "ops_per_second": found}
            self.record.environment["redis_benchmark"] = facts

    def _group(
        self, group: Group, seconds: float, servers: ServerPool, loop: asyncio.AbstractEventLoop
    ) -> GroupOutcome:
        def start(stack: ExitStack) -> CellFactory:
            running = self._running_servers(stack, group, servers)
            cpus = self._pinned(self._placement_of(group))
            stack.enter_context(pinned_client(cpus.client if cpus else None))
            stack.enter_context(self._foreign_cpu_noted(running.values()))
            return CellFactory(self.spec, hosts=running, token=self._token, loop=loop, stack=stack)

        return measure_group(
            group,
            self.spec,
            replace(self.spec.precision, seconds=seconds),
            start,
            clock=self.clock,
            on_round=self.reporter.advance,
            should_stop=lambda: self.interruption.is_requested,
        )

    def _running_servers(
        self, stack: ExitStack, group: Group, servers: ServerPool
    ) -> dict[tuple[str, bool], RunningServer]:
        """Start the servers of a group; the twin of one that is started is its own process.

        So the noise floor holds what two processes of one program differ by. All of them are
        placed alike, as the service is that the group is about.
        """
        services = {service.title: service for service in self._placed}
        placement = self._placement_of(group)
        cpus = self._pinned(placement)
        running: dict[tuple[str, bool], RunningServer] = {}
        for cell in group.cells:
            is_twin = cell.role is Role.TWIN
            if (cell.service, is_twin) in running:
                continue
            service = services[cell.service]
            if is_twin and service.location is not None:
                running[cell.service, True] = running[cell.service, False]
            else:
                server = stack.enter_context(servers.server(service, cpus, placement))
                running[cell.service, is_twin] = server
                self._facts[cell.service] = running[cell.service, is_twin].facts
        self.record.environment["servers"] = self._facts
        return running

    def _placement_of(self, group: Group) -> str:
        about = group.rows[0].service
        return next(one.placement for one in self._placed if one.title == about)

    @contextmanager
    def _foreign_cpu_noted(self, running: Iterable[RunningServer]) -> Iterator[None]:
        own = (os.getpid(), *(pid for server in running for pid in server.pids))
        before = CpuTimes.now(own)
        yield
        after = CpuTimes.now(own)
        facts = self.record.environment
        for name, share in cpu_shares(before, after).items():
            facts[name] = max(facts.get(name, 0.0), share)

    def _keep(self, group: Group, outcome: GroupOutcome) -> None:
        record = self.record
        self.has_wrong_reply |= outcome.has_wrong_reply
        self._put(outcome.results)
        record.put_comparisons(outcome.comparisons)
        if outcome.noise_floor is not None:
            record.noise_floor = max(record.noise_floor or 0.0, outcome.noise_floor)
        for result in outcome.results:
            if result.status == CellStatus.FAILED:
                self.reporter.note(f"{group.name}, {result.operation}: {result.reason}")

    def _put_row(self, title: str, status: CellStatus, reason: str) -> None:
        row = Cell(table=Table.POOLS, service=title, mode="", operation="")
        self._put([result_of(row, status, reason)])
        if status == CellStatus.FAILED:
            self.reporter.note(f"{title}: {reason}")

    def _put(self, results: Iterable[BenchmarkResult]) -> None:
        """Put results in order: by tables, then services as in the report; else as planned."""
        self.record.put(results)
        tables = list(Table)
        titles = [service.title for service in self.services]

        def place(result: BenchmarkResult) -> tuple[int, int]:
            # A service that is measured under two placements has them behind its title.
            title = result.service
            number = next(
                number
                for number, known in enumerate(titles)
                if title == known or title.startswith(f"{known} (")
            )
            return tables.index(Table(result.table)), number

        self.record.cells.sort(key=place)

    def _is_done(self, group: Group) -> bool:
        """Return whether a run that is being completed has all the figures of this group."""
        measured = {result.key for result in self.record.cells if result.is_measured}
        wanted = {cell.key for cell in group.measured}
        return wanted <= measured


REQUESTS = 20_000

TIMEOUT_S = 60


def redis_benchmark(port: int, connections: int, value_bytes: int) -> dict[str, float] | None:
    """Ask `redis-benchmark` for operations a second of SET and GET over so many connections.

    None where the program isn't installed or doesn't work with this server.
    """
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if program is None:
        return None
    command = [program, "-h", "127.0.0.1", "-p", str(port), "-c", str(connections)]
    command += ["-n", str(REQUESTS), "-d", str(value_bytes), "-r", "100", "-t", "set,get", "--csv"]
    try:
        output = subprocess.run(  # noqa: S603 - a known program and numbers
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    rows = csv.DictReader(output.splitlines())
    return {row["test"]: float(row["rps"]) for row in rows if row.get("rps")} or None
