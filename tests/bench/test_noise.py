"""What equal things differ by: from recorded runs, and from simulated ones whose truth is known."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from redisdict.bench import noise
from redisdict.bench.compare import compare, regressions
from redisdict.bench.measure.statistics import Verdict
from redisdict.bench.spec import SYNC
from redisdict.models import BenchmarkRun
from tests.bench.records import make_record, measured

#: Quick runs of one commit while compilers, tests and servers came and went: the load is told.
RECORDED = Path(__file__).with_name("equal_runs.json")

DECIDED = (Verdict.FASTER, Verdict.SLOWER)

DETAILS = measured().details

ALIKE = {
    **DETAILS,
    "alike": {"reference": "async GET", "value": 1.0, "low": 0.99, "high": 1.01, "rounds": 90},
}


def recorded() -> list[BenchmarkRun]:
    runs = []
    names = ("table", "service", "mode", "pool", "variant", "operation")
    figures = ("ops_per_second", "ratio", "ratio_low", "ratio_high")
    for run in json.loads(RECORDED.read_text(encoding="utf-8")):
        cells = []
        for row in run["cells"]:
            values = dict(zip((*names, *figures), row, strict=False))
            cells.append(measured(**values, details={**DETAILS, "noise_floor": row[-1]}))
        runs.append(make_record(results=cells, comparisons=[]))
    return runs


def test_recorded_runs_of_one_commit_say_nothing_of_one_another() -> None:
    runs = recorded()
    pairs = list(combinations(runs, 2))
    assert len(pairs) == 28
    for before, after in pairs:
        changes = compare(before, after)
        assert len(changes) > 50
        assert [str(one) for one in changes if one.verdict in DECIDED] == []
        assert regressions(changes, 0) == []


def test_a_cell_that_became_slower_is_found_among_all_others() -> None:
    first, second = recorded()[0], recorded()[0]
    for cell in second.cells:
        if cell.operation == "Get" and cell.mode == SYNC:
            for name in ("ops_per_second", "ratio", "ratio_low", "ratio_high"):
                setattr(cell, name, getattr(cell, name) / 1.1)
    changes = compare(first, second)
    found = [one.after for one in changes if one.verdict in DECIDED]
    rows = [cell for cell in found if cell.mode]
    assert {(cell.operation, cell.mode) for cell in rows} == {("Get", SYNC)}
    assert len(rows) == 2
    assert [one.after for one in regressions(changes, 5)] == rows


def simulated(
    rng: random.Random,
    *,
    within: float,
    between: float,
    cells: int = 60,
    starts: int = 1,
    slow: Sequence[int] = (),
    slower_by: float = 0.0,
    **changes: Any,
) -> BenchmarkRun:
    """A run whose ratios are 1, but for what its rounds and its processes make of that."""
    results = []
    for number in range(cells):
        truth = -math.log1p(slower_by) if number in slow else 0.0
        logs = [
            truth + rng.gauss(0, between) + rng.gauss(0, within * math.sqrt(starts))
            for _ in range(starts)
        ]
        ratio = math.exp(sum(logs) / starts)
        reach = math.exp(noise.REACH * within)
        results.append(
            measured(
                20_000,
                ratio,
                ratio_low=ratio / reach,
                ratio_high=ratio * reach,
                service=f"service {number}",
                details={**DETAILS, "starts": [math.exp(log) for log in logs]},
            )
        )
    spec = make_record().spec
    spec["precision"] = {**spec["precision"], "server_starts": starts}
    values = {"results": results, "comparisons": [], "spec": spec, "noise_floor": None, **changes}
    return make_record(**values)


def with_estimate(run: BenchmarkRun, calibration: BenchmarkRun | None = None) -> BenchmarkRun:
    run.environment[noise.KEY] = noise.estimate(run, calibration)
    return run


def calibration_of(deviations: dict[str, float]) -> BenchmarkRun:
    environment = {noise.KEY: {"source": "6 equal runs", "deviations": deviations}}
    started_at = datetime(2026, 2, 1, 10, 0, tzinfo=UTC)
    return make_record(environment=environment, started_at=started_at)


def share_with_a_verdict(pairs: Sequence[tuple[BenchmarkRun, BenchmarkRun]]) -> float:
    found = [any(one.verdict in DECIDED for one in compare(*pair)) for pair in pairs]
    return sum(found) / len(found)


def test_equal_runs_are_told_apart_by_the_intervals_of_their_rounds_alone() -> None:
    """The reason for all this: rounds know nothing of what differs between processes."""
    rng = random.Random(1)
    none = calibration_of({"calls": 0.0})

    def run() -> BenchmarkRun:
        return with_estimate(simulated(rng, within=0.005, between=0.015, cells=30), none)

    assert share_with_a_verdict([(run(), run()) for _ in range(40)]) > 0.5


def test_a_calibration_keeps_equal_runs_from_saying_anything() -> None:
    rng = random.Random(2)
    equal = [simulated(rng, within=0.005, between=0.015) for _ in range(6)]
    deviations = noise.calibrate(equal)
    assert deviations["calls"] == pytest.approx(0.015 * 1.76, rel=0.25)
    calibration = calibration_of(deviations)

    def run(**changes: Any) -> BenchmarkRun:
        return with_estimate(simulated(rng, within=0.005, between=0.015, **changes), calibration)

    assert share_with_a_verdict([(run(), run()) for _ in range(50)]) <= 0.02
    delayed = [(run(), run(slow=range(12), slower_by=0.25)) for _ in range(10)]
    assert share_with_a_verdict(delayed) == 1
    estimate = run().environment[noise.KEY]
    assert estimate["source"] == "the calibration of 2026-02-01 10:00"


def test_restarts_keep_equal_runs_from_saying_anything() -> None:
    rng = random.Random(3)

    def run(**changes: Any) -> BenchmarkRun:
        more = {"within": 0.002, "between": 0.01, "starts": 5, **changes}
        return with_estimate(simulated(rng, **more))

    estimate = run().environment[noise.KEY]
    assert estimate["source"] == "5 starts of each server"
    # Of the mean over five starts, with an allowance for estimating it.
    expected = 0.01 / math.sqrt(5)
    assert expected < estimate["deviations"]["calls"] < 2.2 * expected
    assert share_with_a_verdict([(run(), run()) for _ in range(50)]) <= 0.02
    delayed = [(run(), run(slow=range(6), slower_by=0.1)) for _ in range(10)]
    assert share_with_a_verdict(delayed) == 1


def test_starts_are_averaged_in_what_a_calibration_says() -> None:
    run = simulated(random.Random(4), within=0.002, between=0.0, starts=4)
    estimate = noise.estimate(run, calibration_of({"calls": 0.04, "iterations": 0.2}))
    assert estimate["deviations"]["calls"] == pytest.approx(0.02)
    assert estimate["deviations"]["iterations"] == pytest.approx(0.1)
    assert estimate["source"] == ("the calibration of 2026-02-01 10:00 and 4 starts of each server")


def test_without_restarts_and_calibration_it_is_what_is_usual() -> None:
    estimate = noise.estimate(simulated(random.Random(5), within=0.01, between=0.0))
    assert estimate["source"] == noise.USUAL
    by_starts_and_process = {
        "calls": (0.008, 0.004),
        "asynchronous calls beside those of another kind of pool": (0.008, 0.007),
        "calls of a dict beside commands": (0.015, 0.01),
        "asynchronous calls of a dict beside commands": (0.015, 0.008),
        "asynchronous calls beside blocking ones": (0.03, 0.02),
        "calls of many workers": (0.03, 0.005),
        "iterations": (0.075, 0.02),
    }
    for starts in (1, 2, 16):
        run = simulated(random.Random(5), within=0.01, between=0.0, starts=min(starts, 2))
        run.spec["precision"]["server_starts"] = starts
        assert noise.estimate(run)["deviations"] == {
            name: pytest.approx(math.hypot(usual / math.sqrt(starts), process))
            for name, (usual, process) in by_starts_and_process.items()
        }
    earlier = make_record(noise_floor=None, environment={})
    assert noise.between_runs(earlier, measured()) == 0.008
    assert noise.between_runs(earlier, measured(mode="ASYNC")) == 0.03
    assert noise.between_runs(earlier, measured(mode="ASYNC", details=ALIKE)) == 0.008
    shared = measured(mode="ASYNC", pool="OptimizedAsyncConnectionPool", details=ALIKE)
    assert noise.between_runs(earlier, shared) == 0.008


def test_another_process_of_the_client_is_in_a_calibration_and_in_no_restart() -> None:
    run = simulated(random.Random(4), within=0.002, between=0.0, starts=2)
    estimate = noise.estimate(run, calibration_of({"calls": 0.002}))
    assert estimate["deviations"]["calls"] == 0.004  # and not half of 0.002
    restarted = simulated(random.Random(4), within=0.002, between=0.03, starts=4)
    with_it, without = (
        noise.estimate(restarted)["deviations"]["calls"],
        noise._restarts(restarted.measured)["calls"],
    )
    assert with_it == pytest.approx(math.hypot(without, 0.004))


def test_nothing_is_trusted_to_be_the_same_in_every_run() -> None:
    runs = [simulated(random.Random(6), within=0.01, between=0.0) for _ in range(3)]
    assert noise.calibrate(runs) == {"calls": 0.002}


def test_the_noise_floor_counts_where_it_is_greater() -> None:
    run = make_record(noise_floor=0.02)
    earlier = measured(details={"reference": None})
    assert noise.between_runs(run, earlier) == pytest.approx(0.02 / noise.REACH)
    own = measured(details={**DETAILS, "noise_floor": 0.5})
    assert noise.between_runs(run, own) == pytest.approx(0.5 / noise.REACH)
    quiet = measured(details={**DETAILS, "noise_floor": 0.001})
    assert noise.between_runs(run, quiet) == 0.008
    proven = measured(details={**DETAILS, "noise_floor": 0.5, "least_noise": 0.03})
    assert noise.between_runs(run, proven) == 0.03
    chance = measured(details={**DETAILS, "noise_floor": 0.5, "least_noise": 0.0})
    assert noise.between_runs(run, chance) == 0.008


@pytest.mark.parametrize(
    ("ops_per_second", "ratio", "by_others", "by_host"),
    [
        (20_000, 1.0, 0.0, 0.0),
        (20_000 / math.e, 1.0, 0.1, 0.01),  # the machine
        (20_000 / math.e**2, 1.0, 0.3, 0.02),  # no longer by the square
        (20_000 * math.e, math.e, 0.1, 0.0),  # this cell alone: not the host
        (17_000, 1.0, 0.0026, 0.0016),
        (None, 1.0, 0.0, 0.0),
    ],
)
def test_a_slower_machine_shifts_ratios(
    ops_per_second: float | None, ratio: float, by_others: float, by_host: float
) -> None:
    before, after = measured(20_000, 1.0), measured(1.0, ratio)
    after.ops_per_second = ops_per_second
    both = math.hypot(by_others, by_host)
    assert noise.conditions(before, after) == pytest.approx(both, abs=1e-4)
    assert noise.conditions(before, after, 0.0) == pytest.approx(by_host, abs=1e-4)
    half = math.hypot(by_others / 2, by_host)
    assert noise.conditions(before, after, 0.5) == pytest.approx(half, abs=1e-4)


def test_a_slower_host_shifts_the_ratio_of_a_dict_to_commands_most() -> None:
    def shift(**cell: Any) -> float:
        return noise.conditions(measured(20_000, **cell), measured(15_000, **cell), 0.0)

    slower = math.log(20_000 / 15_000)
    assert shift(variant="Sync (HSET)") == pytest.approx(0.4 * slower)
    assert (
        shift(variant="Async (HSET)", mode="ASYNC", details=ALIKE)
        < shift(variant="Sync (HSET)") / 5
    )
    assert shift() < 0.01 * slower + 1e-9


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.0, 0.0), 0.0),
        ((0.02, 0.05), 0.5),
        ((0.05, 0.02), 0.5),
        ((0.6, 0.0), 1.0),
        ((None, 0.0), 1.0),  # nothing is known of it
    ],
)
def test_runs_are_disturbed_by_the_share_that_others_took(
    shares: tuple[float | None, float], expected: float
) -> None:
    runs = [
        make_record(environment={} if one is None else {"foreign_cpu_share": one}) for one in shares
    ]
    assert noise.disturbance(*runs) == pytest.approx(expected)


def test_a_change_is_found_where_no_other_program_was_the_reason() -> None:
    """The same figures, of a machine that became slower by a third."""

    def run(share: float, speed: float = 1.0, ratio: float = 1.0) -> BenchmarkRun:
        cell = measured(
            30_000 * speed * ratio, ratio, ratio_low=ratio * 0.996, ratio_high=ratio * 1.004
        )
        environment = {
            "foreign_cpu_share": share,
            noise.KEY: {"source": "restarts", "deviations": {"calls": 0.004}},
        }
        return make_record(results=[cell], comparisons=[], environment=environment)

    def verdict(share: float) -> Verdict:
        [change] = compare(run(0.01), run(share, 0.65, 0.97))
        return change.verdict

    assert verdict(0.01) is Verdict.SLOWER
    assert verdict(0.5) is Verdict.UNSURE
