"""A run of `manage.py redisbench` as its users call it, on real servers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from redisdict.bench.choices import CellStatus, RunStatus
from redisdict.bench.measure.cleanup import LEDGER
from redisdict.bench.measure.placement import FREE, SAME
from redisdict.bench.measure.probe import Prober
from redisdict.bench.measure.services import Service
from redisdict.bench.operations import WORKLOADS
from redisdict.bench.records import find_run
from redisdict.models import BenchmarkRun
from redisdict.servers.process import ServerProcess
from tests.bench.cli.command.calling import ONE, Outcome
from tests.conftest import is_installed

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("operations", "with_pools", "with_dicts"),
    [(["get", "set"], 2, 2), pytest.param([], 4, 5, marks=pytest.mark.deep)],
    ids=["two operations", "all operations"],
)
@pytest.mark.usefixtures("packaged_servers_only")
def test_a_run_measures_prints_and_saves(
    spec: str, operations: list[str], with_pools: int, with_dicts: int
) -> None:
    chosen = [word for name in operations for word in ("--operation", name)]
    outcome = Outcome("--spec", spec, "--label", "mine", "--format", "markdown", *chosen)
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("# Benchmark Results (Median of up to 8 interleaved rounds)\n")
    record = find_run("mine")
    assert record.status == RunStatus.FINISHED
    assert record.finished_at is not None
    # A service that isn't there has its row in its place.
    assert list(dict.fromkeys(one.service for one in record.cells)) == [
        "Standard Redis", "KeyDB", "Dragonfly", "Valkey", "Redis Sentinel", "Redis Cluster",
    ]  # fmt: skip
    measured = [one for one in record.cells if one.is_measured]
    # Redis, if there is one, and Valkey with five pools, Sentinel and Cluster with two; four dicts.
    services = 5 * is_installed("redis") + 5 + 2 + 2
    assert len(measured) == services * with_pools + 4 * with_dicts
    for one in measured:
        assert one.ops_per_second
        assert one.p50_us
        assert one.max_us
        assert one.client_cpu_us
        assert one.ratio
    assert record.noise_floor is not None
    assert {one["kind"] for one in record.comparisons} == {
        "A/A", "layout", "mode", "pool", "service",
    }  # fmt: skip
    valkey = record.environment["servers"]["Valkey"]
    assert valkey["name"].startswith("Valkey 9")
    assert valkey["resp_version"] == 3
    assert "measuring Valkey: pools" in outcome.err


def test_many_workers_and_further_workloads(spec: str) -> None:
    tables = ["--table", "concurrency", "--table", "workloads"]
    outcome = Outcome(
        "--spec", spec, "--label", "mine", "--service", "valkey", *tables, "--verbose"
    )
    assert outcome.status == 0, outcome.err
    record = find_run("mine")
    measured = [one for one in record.cells if one.is_measured]
    # Two pools go without the small size.
    assert sum(one.concurrency == 3 for one in measured) == (5 * 2 - 2) * 4
    assert sum(one.concurrency == 1 for one in measured) == 2 * len(WORKLOADS)
    left_out = [one for one in record.cells if one.status == CellStatus.UNAVAILABLE]
    assert {(one.pool, one.connections) for one in left_out} == {
        ("AsyncConnectionPool", 2),
        ("ConnectionPool", 2),
    }
    if shutil.which("redis-benchmark"):
        assert "redis-benchmark over 3 connections to Valkey" in " ".join(outcome.out.split())


def test_a_service_that_one_cpu_cripples_has_rows_under_both_placements(
    spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def placed(prober: Prober, services: Sequence[Service]) -> list[Service]:
        (valkey,) = services
        prober.said.append("Valkey is slow on Mondays.")
        both = [("unpinned", FREE), ("one CPU", SAME)]
        beside = [
            replace(valkey, title=f"Valkey ({name})", placement=place) for name, place in both
        ]
        return [replace(valkey, placement=SAME), *beside]

    monkeypatch.setattr(Prober, "placed", placed)
    chosen = (*ONE, "--placement", "auto")
    outcome = Outcome("--spec", spec, "--label", "mine", *chosen, "--verbose")
    assert outcome.status == 0, outcome.err
    record = find_run("mine")
    found = {one.service: one.placement for one in record.measured}
    assert found == {"Valkey": "same", "Valkey (unpinned)": "free", "Valkey (one CPU)": "same"}
    assert "Valkey (unpinned) against Valkey: GET" in outcome.out
    assert "Valkey is slow on Mondays." in " ".join(outcome.out.split())


def test_selection(spec: str) -> None:
    chosen = ["--service", "valkey", "--mode", "async", "--pool", "OptimizedAsyncConnectionPool"]
    chosen += ["--operation", "set", "--placement", "auto"]
    outcome = Outcome("--spec", spec, "--no-save", "--format", "csv", *chosen)
    rows = [line.split(",") for line in outcome.out.splitlines()]
    assert {tuple(row[5:9]) for row in rows[1:]} == {
        ("Valkey", "", "ASYNC", "OptimizedAsyncConnectionPool")
    }
    assert [row[10] for row in rows[1:]] == ["SET", "Set", "Set"]
    assert not BenchmarkRun.objects.exists()


@pytest.mark.parametrize("name", ["table", "markdown", "json", "csv"])
def test_the_report_goes_to_the_file(spec: str, tmp_path: Path, name: str) -> None:
    path = tmp_path / "report"
    outcome = Outcome("--spec", spec, "--no-save", *ONE, "--format", name, "--output", str(path))
    assert (outcome.status, outcome.out) == (0, "")
    assert "ConnectionPool" in path.read_text()


def test_keys_on_another_ones_server_are_removed(spec: str, other_server: ServerProcess) -> None:
    url = f"Mine={other_server.url}"
    chosen = ("--service", "mine", "--url", url, "--mode", "sync")
    outcome = Outcome("--spec", spec, "--no-save", *chosen)
    assert outcome.status == 0, outcome.err
    assert "warning placement-uncontrolled" not in outcome.err
    with other_server.client() as client:
        assert client.keys() == [b"theirs"]


def test_nothing_is_noted_on_servers_of_the_run_itself(spec: str, valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        before = client.hlen(LEDGER)
        Outcome("--spec", spec, "--no-save", *ONE)
        assert client.hlen(LEDGER) == before
