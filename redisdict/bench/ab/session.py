"""Measure two sides in one run: processes of both, started again and again, take turns.

Processes of one program differ for as long as they live, so new ones are started for every
generation; and side A runs twice, because the difference between its two copies is the noise.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass, field, replace

from redisdict.bench.ab.contender import Contender, Turn
from redisdict.bench.ab.sides import Side
from redisdict.bench.choices import AB, Table
from redisdict.bench.errors import UsageError
from redisdict.bench.measure.group import cell_result, comparisons, group_noise_floor, note_start
from redisdict.bench.measure.placement import FREE, choose_cpus, pinned_client
from redisdict.bench.measure.rounds import Rounds, Series
from redisdict.bench.measure.server_pool import RunningServer, ServerPool
from redisdict.bench.measure.services import Service
from redisdict.bench.measure.session import Session
from redisdict.bench.plan import Group
from redisdict.bench.spec import ASYNC, PRESETS, SYNC, Cell, Precision, Role

SPEC = replace(
    PRESETS["standard"],
    preset=AB,
    precision=Precision(
        min_rounds=60, max_rounds=20_000, seconds=55, half_width=0.002, server_starts=6
    ),
    tables=(Table.WORKLOADS,),
    latency_operations=0,
)

#: A run of few calls, each measured as precisely as it can be, has time for further generations,
#: and makes no more than so many.
MOST_GENERATIONS = 20

#: The shortest time that a call gets in a generation.
LEAST_SECONDS = 0.2


@dataclass
class AbSession(Session):
    """Measures the calls that both sides know.

    Args:
        sides: A, which is the reference, and B.
        calls: the ones to measure; all of them, if empty.
        default: the service whose server both share when a side names none.
    """

    _: KW_ONLY
    sides: tuple[Side, Side]
    calls: Sequence[str] = ()
    default: Service
    _groups: dict[str, Group] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._series: dict[Cell, Series] = {}
        self._starts: dict[Cell, list[float]] = {}

    def _run(self, stack: ExitStack) -> None:
        self._cpus = choose_cpus(self.spec.placement)
        servers = ServerPool(self._token, self.reporter.note)
        servers.look_at([side.service for side in self.sides if side.service is not None])
        asked = list(dict.fromkeys(side.service or self.default for side in self.sides))
        placed = self._place(servers, asked)
        # One placement for all, under which each of them reaches its best.
        is_free = any(one.placement == FREE for one in placed)
        self._cpus = None if is_free else self._cpus
        cpus = self._cpus
        stack.enter_context(pinned_client(cpus.client if cpus else None))
        self.recorder.save(self.record)
        fewest, seconds = self.spec.precision.server_starts, self.spec.precision.seconds
        began = time.monotonic()
        spent_starting = 0.0
        each = seconds / fewest
        try:
            for number in range(max(fewest, MOST_GENERATIONS)):
                left = seconds - (time.monotonic() - began)
                if number >= fewest and each > left:
                    break
                self.reporter.begin(f"generation {number + 1}", min(each, max(left, 0)) / seconds)
                with self.interruption.deferred(), ExitStack() as own:
                    starting = time.monotonic()
                    turns = self._start(servers, number, own)
                    spent_starting += time.monotonic() - starting
                    left = seconds - (time.monotonic() - began)
                    to_come = max(fewest - number, 1)
                    left -= spent_starting / (number + 1) * (to_come - 1)
                    self._generation(turns, number, left / to_come)
                    self._keep_all(number + 1)
                each = (time.monotonic() - began) / (number + 1)
        finally:
            self.interruption.start_cleaning_up()

    def _start(
        self, servers: ServerPool, number: int, stack: ExitStack
    ) -> dict[str, list[tuple[Contender, RunningServer, Role, Side]]]:
        """Start the servers and all processes; by call, who takes turns at it."""
        first, second = self.sides
        lots = [(first, Role.REFERENCE), (second, Role.MEASURED), (first, Role.TWIN)]
        random.Random(number).shuffle(lots)  # noqa: S311 - an order
        # With two servers the noise includes what two processes of one server differ by.
        has_two = first.service != second.service
        running: dict[tuple[str, bool], RunningServer] = {}
        started = []
        for place, (side, role) in enumerate(lots):
            service = side.service or self.default
            is_twin = has_two and role is Role.TWIN and service.location is None
            if (service.title, is_twin) not in running:
                server = stack.enter_context(servers.server(service, self._cpus))
                running[service.title, is_twin] = server
                self._facts[service.title] = server.facts
            server = running[service.title, is_twin]
            # Equally long for each, and each equally often.
            prefix = f"redisbench:{self._token}:{number:02d}{place}"
            contender = stack.enter_context(Contender.of_side(side, server.location, prefix))
            started.append((contender, server, role, side))
        for contender, *_ in started:
            contender.wait()
        self.record.environment["servers"] = self._facts
        stack.enter_context(self._foreign_cpu_noted(running.values()))
        known = [
            call for call in started[0][0].calls if all(call in one[0].calls for one in started)
        ]
        if unknown := [call for call in self.calls if call not in known]:
            raise UsageError(
                f"No such call of both sides: {', '.join(unknown)}. Known: {', '.join(known)}."
            )
        return dict.fromkeys(self.calls or known, started)

    def _generation(
        self,
        turns: dict[str, list[tuple[Contender, RunningServer, Role, Side]]],
        number: int,
        seconds: float,
    ) -> None:
        precision = self.spec.precision.of_one_start
        for place, (call, started) in enumerate(turns.items()):
            group = self._groups.setdefault(call, _group(call, self.sides))
            first, second = group.rows
            cells = {Role.REFERENCE: first, Role.MEASURED: second, Role.TWIN: group.twins[0]}
            part = Rounds(
                [
                    Turn(cells[role], contender, server.pids)
                    for contender, server, role, _side in started
                ],
                group.references,
                replace(precision, seconds=max(seconds / len(turns), LEAST_SECONDS)),
                rng=random.Random(f"{self.spec.seed} {call} {number}"),  # noqa: S311 - an order
                clock=self.clock,
                should_stop=lambda: self.interruption.is_requested,
            ).run()
            for cell, series in part.items():
                self._series.setdefault(cell, Series()).extend(series)
            note_start(self._starts, group, part)
            self.reporter.advance((place + 1) / len(turns))
            if self.interruption.is_requested:
                break

    def _keep_all(self, generations: int) -> None:
        """Put the figures so far into the record, and save it."""
        record = self.record
        floors = []
        for group in self._groups.values():
            results = [
                cell_result(group, cell, self._series, None, {"starts": self._starts.get(cell, [])})
                for cell in group.rows
            ]
            record.put(results)
            record.put_comparisons(comparisons(group, self._series, generations, self._starts))
            floors.append(group_noise_floor(group, self._series))
        known = [floor for floor in floors if floor is not None and math.isfinite(floor)]
        record.noise_floor = max(known, default=None)
        self.recorder.save(record)


def _group(call: str, sides: tuple[Side, Side]) -> Group:
    mode = ASYNC if " a" in call else SYNC
    first, second = (
        Cell(table=Table.WORKLOADS, service=side.title, mode=mode, operation=call) for side in sides
    )
    twin = replace(first, role=Role.TWIN)
    references = dict.fromkeys((first, second, twin), first)
    return Group(call, (first, second), (twin,), references, {})
