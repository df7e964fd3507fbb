"""Two runs: what is proven, and what can't be said."""

from __future__ import annotations

import pytest

from redisdict.bench.choices import CellStatus
from redisdict.bench.cli.inspect import comparison_text
from redisdict.bench.compare import compare, obstacles, regressions
from redisdict.bench.measure.statistics import Verdict
from redisdict.models import BenchmarkResult
from tests.bench.records import changed, make_record, measured


def verdict(
    before: BenchmarkResult, after: BenchmarkResult, **changes: object
) -> tuple[Verdict, str]:
    (change,) = compare(make_record(results=[before]), make_record(results=[after], **changes))
    return change.verdict, change.reason


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(1.2, Verdict.FASTER), (0.8, Verdict.SLOWER), (1.01, Verdict.SAME), (1.0, Verdict.SAME)],
)
def test_ratios_are_compared(ratio: float, expected: Verdict) -> None:
    assert verdict(measured(ratio=0.5), measured(ratio=0.5 * ratio)) == (expected, "")


def test_speeds_are_not_compared() -> None:
    """A run on a day when the machine is half as fast is no regression, and proves less."""
    assert verdict(measured(20_000, 0.5), measured(17_000, 0.5)) == (Verdict.SAME, "")
    assert verdict(measured(20_000, 0.5), measured(10_000, 0.5)) == (Verdict.UNSURE, "")


def alike(through: float, reference: str = "async GET", **changes: object) -> BenchmarkResult:
    stored = {"reference": reference, "value": through}
    stored |= {"low": through / 1.01, "high": through * 1.01}
    details = {**measured().details, "alike": {**stored, "rounds": 500}}
    return measured(mode="ASYNC", details=details, **changes)


def test_an_asynchronous_call_is_compared_through_one_of_its_kind() -> None:
    assert verdict(alike(0.9, ratio=0.5), alike(0.9, ratio=0.4)) == (Verdict.SAME, "")
    assert verdict(alike(0.9, ratio=0.5), alike(0.7, ratio=0.5)) == (Verdict.SLOWER, "")
    one, other = alike(0.9, ratio=0.5), alike(0.7, "another GET", ratio=0.5)
    assert verdict(one, other) == (Verdict.SAME, "")
    assert verdict(measured(mode="ASYNC", ratio=0.5), alike(0.7, ratio=0.5))[0] is Verdict.UNSURE


def rows_of(ratio: float, **changes: object) -> list[BenchmarkResult]:
    return [
        measured(ratio=ratio, ratio_low=ratio / 1.03, ratio_high=ratio * 1.03, pool=pool, **changes)
        for pool in ("one", "two", "three", "four", "five")
    ]


def test_rows_of_one_service_are_judged_together_as_well() -> None:
    """A difference that no row proves is proven by all of them; rows of others don't matter."""
    before = make_record(results=[*rows_of(1.0), *rows_of(1.0, service="Valkey"), measured()])
    after = make_record(results=[*rows_of(1.0), *rows_of(0.93, service="Valkey"), measured()])
    changes = compare(before, after)
    assert {change.verdict for change in changes[:11]} == {Verdict.UNSURE, Verdict.SAME}
    of_redis, of_valkey = changes[11:]
    assert (of_redis.after.service, of_redis.after.pool) == ("Standard Redis", "all 6 rows")
    assert of_redis.verdict in (Verdict.UNSURE, Verdict.SAME)
    assert (of_valkey.after.service, of_valkey.after.pool) == ("Valkey", "all 5 rows")
    assert of_valkey.verdict is Verdict.SLOWER
    assert of_valkey.ratio is not None
    assert of_valkey.ratio.value == pytest.approx(0.93)
    assert regressions(changes, 5) == [of_valkey]


def test_one_row_alone_does_not_stand_for_all() -> None:
    other = make_record(results=[*rows_of(1.0)[:4], *rows_of(0.9)[4:]])
    changes = compare(make_record(results=rows_of(1.0)), other)
    assert changes[-1].after.pool == "all 5 rows"
    assert changes[-1].verdict is Verdict.UNSURE


def test_a_wide_interval_proves_nothing() -> None:
    wide = measured(ratio=0.9, ratio_low=0.7, ratio_high=1.2)
    assert verdict(measured(), wide) == (Verdict.UNSURE, "")


def test_the_noise_floor_of_either_run_counts() -> None:
    assert verdict(measured(), measured(ratio=1.05))[0] is Verdict.FASTER
    details = {**measured().details, "noise_floor": 0.1}
    noisy = measured(ratio=1.05, details=details)
    assert verdict(measured(), noisy)[0] is Verdict.UNSURE
    assert verdict(changed(noisy, ratio=1.0), measured(ratio=1.05))[0] is Verdict.UNSURE


def test_an_iteration_is_not_accused_of_its_server_processes_variance() -> None:
    before, after = measured(operation="Iter"), measured(operation="Iter", ratio=1.05)
    assert verdict(before, after)[0] is Verdict.UNSURE
    assert verdict(before, measured(operation="Iter", ratio=1.5))[0] is Verdict.FASTER


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (measured(placement="split"), "another placement (same and split)"),
        (measured(details={"reference": "Valkey SYNC ConnectionPool GET"}), "another reference"),
        (measured(status=CellStatus.FAILED), "it measured before and failed now"),
        (measured(ratio_low=None, ratio_high=None), "without an interval"),
    ],
)
def test_not_comparable(after: BenchmarkResult, reason: str) -> None:
    assert verdict(measured(), after) == (Verdict.NOT_COMPARABLE, reason)


def test_the_reference_says_nothing_about_itself() -> None:
    cell = measured(ratio_low=1.0, ratio_high=1.0)
    assert verdict(cell, cell) == (Verdict.NOT_COMPARABLE, "it is the reference")


def test_other_machines_and_other_specifications_are_not_comparable() -> None:
    here = make_record(results=[measured()])
    elsewhere = make_record(results=[measured()], environment={"machine_hash": "beef"})
    assert obstacles(here, elsewhere) == ["another machine"]
    other = make_record(results=[measured()], spec={**here.spec, "value_bytes": 10})
    assert obstacles(here, other) == ["another specification (value_bytes 100 and 10)"]
    assert compare(here, other)[0].reason == "another specification (value_bytes 100 and 10)"
    assert obstacles(here, here) == []


def test_more_rounds_or_another_seed_are_comparable() -> None:
    here = make_record(results=[measured()])
    again = make_record(results=[measured()], spec={**here.spec, "seed": 5, "precision": {}})
    assert obstacles(here, again) == []


def test_cells_of_one_run_only_are_left_out() -> None:
    before = make_record(results=[measured(), measured(operation="SET")])
    after = make_record(results=[measured(), measured(operation="DEL")])
    assert [str(change.after) for change in compare(before, after)] == [
        "Standard Redis SYNC BlockingConnectionPool GET"
    ]


def test_a_regression_is_proven_and_beyond_the_threshold() -> None:
    before = make_record(results=[measured(operation=name) for name in ("SET", "GET", "DEL")])
    after = make_record(
        results=[
            measured(ratio=0.8, operation="SET"),
            measured(ratio=0.93, operation="GET"),
            measured(ratio=0.7, ratio_low=0.4, ratio_high=1.3, operation="DEL"),
        ]
    )
    changes = compare(before, after)
    assert [change.verdict for change in changes] == [
        Verdict.SLOWER, Verdict.SLOWER, Verdict.UNSURE,
    ]  # fmt: skip
    assert [change.after.operation for change in regressions(changes, 10)] == ["SET"]
    assert [change.after.operation for change in regressions(changes, 5)] == ["SET", "GET"]
    assert regressions(changes, 25) == []


def test_the_text_shows_every_cell_and_counts_the_verdicts() -> None:
    before = make_record(results=[measured(), measured(operation="SET")])
    after = make_record(
        results=[measured(ratio=0.8), changed(measured(operation="SET"), placement="split")],
        label="after",
    )
    text = comparison_text(before, after, compare(before, after), width=80)
    assert "before (2026-03-01 12:30) -> after (2026-03-01 12:30)" in text
    assert "0.80 [0.77, 0.83]" in text
    assert "not comparable: another placement" in text
    assert text.endswith("1 slower, 1 not comparable\n")


def test_in_short_only_what_is_decided_is_shown() -> None:
    before = make_record(results=[measured(), measured(operation="SET"), measured(operation="DEL")])
    after = make_record(results=[measured(ratio=0.8), *before.cells[1:]])
    text = comparison_text(before, after, compare(before, after), width=120, is_verbose=False)
    assert len([line for line in text.splitlines() if "ConnectionPool" in line]) == 1
    assert text.endswith("1 slower, 2 same (--verbose)\n")
    elsewhere = make_record(results=before.cells, environment={"machine_hash": "beef"})
    text = comparison_text(before, elsewhere, compare(before, elsewhere), 120, is_verbose=False)
    assert text.endswith("not comparable: another machine\n3 not comparable (--verbose)\n")


def test_nothing_in_common() -> None:
    text = comparison_text(make_record(), make_record(), [], width=80)
    assert text.endswith("The runs have no cell in common.\n")
