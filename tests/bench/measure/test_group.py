"""From rounds of which every figure is known to the results of a group."""

from __future__ import annotations

import math
import statistics
from array import array
from collections.abc import Sequence
from dataclasses import replace

import pytest

from redisdict.bench.choices import CellStatus, Table
from redisdict.bench.measure.group import cell_result, comparisons, group_noise_floor
from redisdict.bench.measure.latency import Latencies
from redisdict.bench.measure.rounds import MOVED, Block, Failure, Series
from redisdict.bench.measure.services import KNOWN
from redisdict.bench.plan import Group, plan
from redisdict.bench.spec import PRESETS, Cell, Role

SPEC = replace(PRESETS["quick"], operations=("GET",))
REDIS, VALKEY = (service for service in KNOWN if service.key in ("redis", "valkey"))

#: Microseconds of an operation in the rounds; the median is 20.
ROUNDS = [18, 19, 20, 21, 22] * 20


def series_of(group: Group, **factors: float) -> dict[Cell, Series]:
    """Every cell takes what the rounds say, times the factor for its pool, variant or role."""
    found = {}
    for cell in group.cells:
        names = (cell.role.value, cell.variant, cell.pool, cell.service)
        factor = next((factors[name] for name in names if name in factors), 1.0)
        found[cell] = Series()
        for microseconds in ROUNDS:
            found[cell].add(Block(round(microseconds * 10_000 * factor), 10), "same")
    return found


def pools_group() -> Group:
    return plan(replace(SPEC, tables=(Table.POOLS,)), [REDIS, VALKEY])[1]


def test_the_figures_of_a_cell() -> None:
    group = pools_group()
    cell = next(cell for cell in group.measured if cell.pool == "AsyncConnectionPool")
    latencies = Latencies.of(array("q", [30_000] * 99 + [900_000]), 5.0, 4.0)
    series = series_of(group, AsyncConnectionPool=2.0)
    result = cell_result(group, cell, series, latencies, {"keys": 7})
    assert result.is_measured
    assert result.ops_per_second == pytest.approx(1e6 / 40)
    assert (result.ratio, result.ratio_low, result.ratio_high) == pytest.approx((0.5, 0.5, 0.5))
    assert (result.rounds, result.operations, result.placement) == (100, 1000, "same")
    assert result.client_cpu_us == 5
    assert (result.p50_us, result.max_us, result.server_cpu_us) == (30, 900, 4)
    assert result.details["reference"] == "Standard Redis SYNC ConnectionPool GET"
    assert result.details["total_ops_per_second"] == pytest.approx(
        1e6 / (2 * statistics.fmean(ROUNDS))
    )
    assert result.details["keys"] == 7
    assert result.details["noise_floor"] == 0


def test_a_stall_shows_in_the_total_and_not_in_the_median() -> None:
    group = pools_group()
    series = series_of(group)
    cell = group.measured[0]
    series[cell].add(Block(10**9, 10), "same")
    for other in series.values():
        if other is not series[cell]:
            other.skip()
    result = cell_result(group, cell, series, None, {})
    assert result.ops_per_second == pytest.approx(50_000)
    assert result.details["total_ops_per_second"] < 10_000


def test_a_failed_cell_keeps_its_reason() -> None:
    group = pools_group()
    series = series_of(group)
    series[group.measured[0]].failure = Failure("reset by peer")
    result = cell_result(group, group.measured[0], series, None, {})
    assert (result.status, result.reason, result.ratio) == (
        CellStatus.FAILED, "reset by peer", None,
    )  # fmt: skip


def test_a_cell_whose_reference_failed_has_a_speed_and_no_ratio() -> None:
    group = pools_group()
    series = series_of(group)
    cell = group.measured[0]
    series[group.references[cell]].failure = Failure("reset by peer")
    result = cell_result(group, cell, series, None, {})
    assert result.ops_per_second == pytest.approx(50_000)
    assert result.ratio is None
    assert comparisons(group, series, 1) == [
        one for one in comparisons(group, series, 1) if one["kind"] == "pool"
    ]


def test_too_few_rounds_are_no_figure() -> None:
    group = pools_group()
    series = {cell: Series() for cell in group.cells}
    for own in series.values():
        for _ in range(5):
            own.add(Block(1000, 10), "same")
    result = cell_result(group, group.measured[0], series, None, {})
    assert result.status == CellStatus.UNAVAILABLE
    assert result.reason == "ended after 5 rounds; at least 6 are needed for a figure"


def test_the_figure_is_that_of_the_most_frequent_placement() -> None:
    group = pools_group()
    cell = group.measured[0]
    series = series_of(group)
    own = series[cell]
    for number in range(len(own.placements)):
        own.placements[number] = ("same", "same", MOVED, MOVED, MOVED)[number % 5]
    result = cell_result(group, cell, series, None, {})
    assert (result.placement, result.rounds) == ("same", 40)
    assert result.ops_per_second == pytest.approx(1e6 / 18.5)


def test_the_noise_floor_is_that_of_the_twins() -> None:
    group = pools_group()
    assert group_noise_floor(group, series_of(group)) == 0
    assert group_noise_floor(group, series_of(group, twin=1.02)) == pytest.approx(0.0198, abs=1e-4)
    failed = series_of(group)
    for twin in group.twins:
        failed[twin].failure = Failure("reset")
    assert group_noise_floor(group, failed) is None


def test_the_noise_floor_is_what_the_twins_interval_leaves_open() -> None:
    group = pools_group()
    series = series_of(group, BlockingConnectionPool=1.1)
    for twin in group.twins:
        for place, time in enumerate(series[twin].times):
            # On the whole as fast as the reference, and nobody can say so exactly.
            series[twin].times[place] = time and time * (1.15 if place % 2 else 1 / 1.15)
    found = {one["left"]: one for one in comparisons(group, series, 5)}
    blocking = found["SYNC BlockingConnectionPool"]
    assert blocking["high"] < 0.95
    assert (blocking["verdict"], blocking["least_difference"]) == (
        "unsure", pytest.approx(math.log(1.15)),
    )  # fmt: skip
    result = cell_result(group, group.measured[0], series, None, {})
    assert result.details["noise_floor"] == pytest.approx(math.log(1.15))


def test_what_the_starts_differ_by_is_a_part_of_the_interval() -> None:
    group = pools_group()
    series = series_of(group, BlockingConnectionPool=1.1)
    row = ("SYNC BlockingConnectionPool", "SYNC ConnectionPool")

    def verdict(logs: Sequence[float]) -> str:
        """With these ratios of the blocking pool to its twin of the plain one, start by start."""
        ratios = [math.exp(log) / 1.1 for log in logs]
        starts = {
            cell: ratios if cell.pool == "BlockingConnectionPool" else [1.0] * len(logs)
            for cell in group.measured
        }
        found = comparisons(group, series, 5, starts)
        (one,) = [one for one in found if (one["left"], one["right"]) == row]
        return str(one["verdict"])

    assert verdict([]) == "slower"
    assert verdict([0.0, 0.3]) == "slower"  # two say nothing of how they scatter
    assert verdict([0.01, 0.0, -0.01, 0.0, 0.0]) == "slower"
    assert verdict([0.3, -0.3, 0.2, -0.2, 0.0]) == "unsure"


def test_comparisons_of_services_and_pools() -> None:
    group = pools_group()
    series = series_of(group, reference=1.2, twin=1.2, BlockingConnectionPool=1.1)
    found = {(one["kind"], one["left"], one["right"]): one for one in comparisons(group, series, 1)}
    assert set(found) == {
        ("A/A", "SYNC ConnectionPool", "SYNC ConnectionPool"),
        ("service", "Valkey", "Standard Redis"),
        ("pool", "SYNC BlockingConnectionPool", "SYNC ConnectionPool"),
        ("pool", "ASYNC AsyncBlockingConnectionPool", "ASYNC AsyncConnectionPool"),
        ("pool", "ASYNC OptimizedAsyncConnectionPool", "ASYNC AsyncConnectionPool"),
    }
    service = found["service", "Valkey", "Standard Redis"]
    assert service["ratio"] == pytest.approx(1.2)
    assert service["verdict"] == "faster"
    assert (
        found["pool", "SYNC BlockingConnectionPool", "SYNC ConnectionPool"]["verdict"] == "slower"
    )


def test_nothing_below_the_noise_floor_is_called_a_difference() -> None:
    group = pools_group()
    series = series_of(group, twin=1.15, BlockingConnectionPool=1.1)
    verdicts = {one["left"]: one["verdict"] for one in comparisons(group, series, 5)}
    assert verdicts["SYNC BlockingConnectionPool"] == "unsure"


def dict_groups() -> tuple[Group, ...]:
    return plan(replace(PRESETS["quick"], tables=(Table.DICT,)), [REDIS])


def test_the_noise_of_iterations_is_theirs_alone() -> None:
    least = {}
    for group in dict_groups():
        series = series_of(group)
        for twin in group.twins:
            if twin.operation == "Iter":
                for place, time in enumerate(series[twin].times):
                    series[twin].times[place] = time and 2 * time
        assert group_noise_floor(group, series) in (0, None)
        found = [one for one in comparisons(group, series, 100) if one["kind"] == "layout"]
        least |= {one["operation"]: one["least_difference"] for one in found}
    assert least["Iter"] == pytest.approx(0.6931, abs=1e-4)
    assert least["Items"] == pytest.approx(0.015)
    assert least["Get"] == pytest.approx(0.001)


def test_iterations_of_one_dict_are_free_of_a_servers_variance() -> None:
    _, group = dict_groups()
    series = series_of(group, **{"Async (HSET)": 1.1})
    found = [one for one in comparisons(group, series, 1) if one["operation"] == "Iter"]
    by_name = {(one["kind"], one["left"]): one for one in found}
    assert by_name["mode", "Async (HSET)"]["verdict"] == "slower"
    assert by_name["layout", "Async (HSET)"]["verdict"] == "unsure"


def test_with_one_server_start_no_difference_below_one_percent_is_called_one() -> None:
    group = pools_group()
    series = series_of(group, BlockingConnectionPool=1.009)
    for starts, verdict in ((1, "same"), (5, "slower")):
        found = {one["left"]: one["verdict"] for one in comparisons(group, series, starts)}
        assert found["SYNC BlockingConnectionPool"] == verdict


def test_comparisons_of_dicts() -> None:
    group = plan(replace(SPEC, tables=(Table.DICT,)), [REDIS])[0]
    series = series_of(group, **{"Sync (HSET)": 1.25, "Async (HSET)": 2.5})
    found = {(one["kind"], one["left"], one["right"]): one for one in comparisons(group, series, 1)}
    assert found["layout", "Sync (HSET)", "Sync (No HSET)"]["ratio"] == pytest.approx(0.8)
    assert found["mode", "Async (HSET)", "Sync (HSET)"]["ratio"] == pytest.approx(0.5)
    assert found["layout", "Async (HSET)", "Async (No HSET)"]["ratio"] == pytest.approx(0.4)
    assert {role.value for role in Role} >= {cell.role.value for cell in series}
