"""A short run of the stress test; the long one is `python -m tests.stress.modelcache`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import program_for_tests
from tests.modelcache.availability import cluster_for_tests, mariadb_for_tests

pytestmark = pytest.mark.deep

HERE = Path(__file__).parents[2]


def stress(*arguments: str, module: str = "tests.stress.modelcache") -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=LONGEST_S + 100,
        check=False,
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    print(result)
    return result


#: A run ends when it has seen enough, and lasts so long at least. Seconds.
LEAST_S = 3

#: A run that hasn't seen enough by then, or hasn't found what it looks for, has failed.
LONGEST_S = 700

Result = dict[str, Any]


def stress_until(*arguments: str, **enough: int) -> Result:
    """Run until each of these figures of the result is greater than its number."""
    least = {"took_s": LEAST_S, **enough}
    words = [word for name in least for word in ("--enough", f"{name}={least[name]}")]
    result = stress("--seconds", str(LONGEST_S), *words, *arguments)
    if "--until-stale" not in arguments or not is_old(result):
        assert {name: result[name] for name in least if result[name] <= least[name]} == {}
    return result


def assert_nothing_is_old(*arguments: str, **enough: int) -> Result:
    result = stress_until("--until-stale", *arguments, **enough)
    assert result["stale_reads"] == result["own_changes_not_seen"] == 0, result
    assert result["other_complaints"] == 0, result
    return result


def is_old(result: Result) -> bool:
    return bool(result["stale_reads"] or result["own_changes_not_seen"])


def assert_is_found(*arguments: str) -> None:
    result = stress("--until-stale", "--seconds", str(LONGEST_S), *arguments)
    assert result["stale_reads"] > 0


PLACES = {
    "read committed": ("--database", "postgres"),
    "repeatable read": ("--database", "postgres", "--isolation", "repeatable read"),
    "sqlite": ("--database", "sqlite"),
}
ON_MARIADB = {
    "mariadb": ("--database", "mariadb"),
    "mariadb, repeatable read": ("--database", "mariadb", "--isolation", "repeatable read"),
}
WITH_MARIADB = PLACES | ON_MARIADB
on_each_database = pytest.mark.parametrize("where", PLACES.values(), ids=PLACES)
on_each_and_mariadb = pytest.mark.parametrize("where", WITH_MARIADB.values(), ids=WITH_MARIADB)


@pytest.fixture(autouse=True)
def _programs(request: pytest.FixtureRequest) -> None:
    """The programs are here, or the test ends."""
    if "mariadb" in request.node.name:
        mariadb_for_tests()
    program_for_tests("redis")
    cluster_for_tests()


@on_each_and_mariadb
def test_nobody_reads_an_old_row(where: tuple[str, ...]) -> None:
    assert_nothing_is_old(*where, checks=500, hits=1000, killed_at_random=3)


#: Few rows and changes, so that most are in the readers' memory.
NEAR = ("--rows", "5", "--writes", "0.01", "--processes", "4", "--kill-every", "2")


@pytest.mark.parametrize("database", ["postgres", "sqlite"])
def test_nobody_reads_an_old_row_from_memory(database: str) -> None:
    where = ("--cache", "strict", "--database", database)
    assert_nothing_is_old(*where, *NEAR, near_hits=100)


@pytest.mark.parametrize("tracking", ["auto", "plain"])
def test_nobody_reads_an_old_row_while_slots_move(tracking: str) -> None:
    where = ("--behind", "cluster", "--tracking", tracking)
    assert_nothing_is_old("--cache", "strict", *where, *NEAR, near_hits=100, slots_moved=2)


def test_writers_that_do_not_wait_would_be_found() -> None:
    assert_is_found("--cache", "strict_no_wait", *NEAR)


@on_each_database
def test_nobody_is_given_an_old_result(where: tuple[str, ...]) -> None:
    few_writes = ("--cache", "results", "--writes", "0.01")
    assert_nothing_is_old(*few_writes, *where, hits=100, fills=10, killed_at_random=3)


@on_each_database
def test_nobody_is_given_an_old_list(where: tuple[str, ...]) -> None:
    few_writes = ("--cache", "lists", "--writes", "0.03")
    assert_nothing_is_old(*few_writes, *where, hits=100, killed_at_random=3)


@on_each_database
def test_nobody_is_given_an_old_result_of_some_values(where: tuple[str, ...]) -> None:
    few_writes = ("--cache", "declared", "--writes", "0.03")
    assert_nothing_is_old(*few_writes, *where, hits=100, killed_at_random=3)


@on_each_and_mariadb
def test_nobody_is_given_anything_old_of_all_that_there_is(where: tuple[str, ...]) -> None:
    few_writes = ("--cache", "everything", "--writes", "0.02")
    hits = {f"hits_of_{kind}": 50 for kind in ("declared", "results", "lists")}
    assert_nothing_is_old(*few_writes, *where, **hits, killed_at_random=3)


@pytest.mark.parametrize(
    "cache",
    [
        "post_save",
        "no_net",
        "no_barriers",
        "results_without_versions",
        "results_without_barriers",
        "lists_no_values",
        "lists_no_barriers",
        "declared_no_values",
        "declared_no_barriers",
        "everything_no_barriers",
    ],
)
def test_the_same_run_finds_old_rows(cache: str) -> None:
    """In a cache written by hand, and in ours where it doesn't see statements."""
    few = ("--rows", "6", "--processes", "4", "--kill-every", "5")
    assert_is_found("--writes", "0.15", *few, "--cache", cache)


def test_the_same_run_finds_old_rows_on_mariadb() -> None:
    few = ("--rows", "6", "--processes", "4", "--kill-every", "5", "--writes", "0.15")
    assert_is_found("--database", "mariadb", "--cache", "no_barriers", *few)


def test_a_thousand_readers_of_a_missing_row_in_eight_processes_are_one_query() -> None:
    result = stress(module="tests.stress.modelcache.crowd")
    assert (result["found"], result["queries"]) == (1000, 1)


@on_each_database
def test_the_audit_raises_no_false_alarm(where: tuple[str, ...]) -> None:
    result = stress_until("--auditors", "1", *where, audited=500, killed_at_random=0)
    assert result["alarms"] == 0, result


def test_the_audit_finds_what_nobody_has_told_of() -> None:
    stress_until("--auditors", "1", "--writes", "0.2", "--cache", "no_net", alarms=0)
