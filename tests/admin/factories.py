"""Runs as `redisbench` stores them, with figures that a reader can recognise in a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from redisdict.bench.choices import Table
from redisdict.bench.operations import DICT_OPERATIONS, POOL_OPERATIONS
from redisdict.bench.spec import MODES, POOLS, VARIANTS
from redisdict.models import BenchmarkResult, BenchmarkRun

__all__ = [
    "FIRST_DAY",
    "make_full_run",
    "make_result",
    "make_run",
    "make_runs",
    "measured_results",
]

FIRST_DAY = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

SERVICES = ("Standard Redis", "Valkey")

AVAILABLE = [
    {"title": title, "source": "started for this run", "address": "", "reason": ""}
    for title in SERVICES
]

MISSING = {
    "title": "Dragonfly",
    "source": "not available",
    "address": "",
    "reason": "no program `dragonfly`; install it or give its address with --url",
}

WARNING = {
    "name": "noise-floor",
    "text": "Two copies of the reference differ by 3.1%.",
    "advice": "Differences below that mean nothing.",
}


def server(name: str, **config: str) -> dict[str, Any]:
    """What a run keeps of one server."""
    return {
        "name": name,
        "executable": name.split()[0].lower() + "-server",
        "persistence": "off",
        "info": {"maxmemory_policy": "noeviction", "io_threads_active": 0},
        "config": {"save": "", "appendonly": "no", **config},
        "keys": 0,
    }


def make_run(results: Sequence[BenchmarkResult] | None = None, **fields: Any) -> BenchmarkRun:
    """A finished run, saved; without `results` one with figures for every row of the report."""
    values: dict[str, Any] = {
        "label": "before",
        "preset": "quick",
        "status": BenchmarkRun.Status.FINISHED,
        "started_at": FIRST_DAY,
        "finished_at": FIRST_DAY + timedelta(seconds=83),
        "commit": "0123456789ab",
        "machine": "Linux x86_64, Test CPU, 2 CPUs",
        "services": [*AVAILABLE, MISSING],
        "noise_floor": 0.0123,
        "spec": {"preset": "quick", "seed": 1, "precision": {"min_rounds": 30}},
        "environment": {
            "cpu_model": "Test CPU",
            "is_virtual_machine": True,
            "packages": {"redis": "8.1.0", "hiredis": "3.5.0", "uvloop": None},
            "load_average": [0.5, 0.25, 0.1],
            "servers": {
                "Standard Redis": server("Redis 7.0.15"),
                "Valkey": server("Valkey 9.1.2", appendonly="yes"),
            },
        },
        "warnings": [WARNING],
        **fields,
    }
    run = BenchmarkRun.objects.create(**values)
    chosen = measured_results() if results is None else list(results)
    for position, result in enumerate(chosen):
        result.run = run
        result.position = position
    BenchmarkResult.objects.bulk_create(chosen)
    return run


def measured_results() -> list[BenchmarkResult]:
    """The rows of both tables; Dragonfly isn't there. The n-th figure is 10,000 + n."""
    results = [
        make_result(Table.POOLS, service=service, mode=mode, pool=pool, operation=operation)
        for service in SERVICES
        for mode in MODES
        for pool in POOLS[mode]
        for operation in POOL_OPERATIONS
    ]
    results.append(
        BenchmarkResult(
            table=Table.POOLS,
            service="Dragonfly",
            status=BenchmarkResult.Status.UNAVAILABLE,
            reason=MISSING["reason"],
        )
    )
    results += [
        make_result(
            Table.DICT, service="Valkey", mode=mode, pool="", variant=variant, operation=operation
        )
        for variant, (mode, _is_hash) in VARIANTS.items()
        for operation in DICT_OPERATIONS
    ]
    for number, result in enumerate(results):
        if result.ops_per_second is not None:
            result.ops_per_second = 10_000.0 + number
    return results


def make_result(table: str, **fields: Any) -> BenchmarkResult:
    """One measured cell, not saved: 2.5 % slower than the reference, give or take 0.5 %."""
    values: dict[str, Any] = {
        "table": table,
        "status": BenchmarkResult.Status.MEASURED,
        "placement": "same",
        "rounds": 200,
        "operations": 2000,
        "ops_per_second": 10_000.0,
        "ratio": 0.975,
        "ratio_low": 0.970,
        "ratio_high": 0.980,
        "p50_us": 30.0,
        "p90_us": 40.5,
        "p99_us": 99.0,
        "p999_us": None,
        "max_us": 1234.0,
        "client_cpu_us": 20.0,
        "server_cpu_us": 5.0,
        "details": {"reference": "Valkey SYNC ConnectionPool GET", "spread": 0.04, "drift": -0.01},
        **fields,
    }
    return BenchmarkResult(**values)


def make_full_run(label: str, faster_by: float = 0.0) -> BenchmarkRun:
    """A run of every service, table and pair, all of them decided, with every kind of warning.

    `faster_by` is by what share all cells are faster than they are without it.
    """
    pools = {"Redis Sentinel": ("Default",), "Redis Cluster": ("Default",)}
    rows = [
        (service, mode, pool)
        for service in FULL_SERVICES
        for mode in MODES
        for pool in pools.get(service, POOLS[mode])
    ]
    results = [
        make_result(Table.POOLS, service=service, mode=mode, pool=pool, operation=operation)
        for service, mode, pool in rows
        for operation in POOL_OPERATIONS
    ]
    results += [
        make_result(Table.DICT, service="Valkey", mode=mode, variant=variant, operation=operation)
        for variant, (mode, _is_hash) in VARIANTS.items()
        for operation in DICT_OPERATIONS
    ]
    results += [
        make_result(
            Table.CONCURRENCY,
            service=service,
            mode=mode,
            pool=pool,
            operation="GET",
            concurrency=workers,
            connections=connections,
        )
        for service, mode, pool in rows
        for workers, connections in ((10, 5), (50, 64))
    ]
    results += [
        make_result(Table.WORKLOADS, service="Valkey", mode=mode, operation=f"workload {number}")
        for mode in MODES
        for number in range(15)
    ]
    for result in results:
        for name in ("ratio", "ratio_low", "ratio_high"):
            setattr(result, name, getattr(result, name) * (1 + faster_by))
    names = ("noise-floor", "few-cpus", "settings-differ", "drift", "client-bound")
    return make_run(
        results,
        label=label,
        machine="Full machine",
        services=[{**AVAILABLE[0], "title": title} for title in FULL_SERVICES],
        comparisons=list(_full_comparisons(rows)),
        warnings=[{**WARNING, "name": name} for name in names],
        environment={
            "machine_hash": "full",
            "servers": {title: server(f"{title} 9.1") for title in FULL_SERVICES},
        },
    )


FULL_SERVICES = (
    "Standard Redis", "KeyDB", "Dragonfly", "Valkey", "Redis Sentinel", "Redis Cluster",
)  # fmt: skip


def _full_comparisons(rows: Sequence[tuple[str, str, str]]) -> Iterator[dict[str, Any]]:
    pairs = [("service", "Standard Redis", title, "Standard Redis") for title in FULL_SERVICES[1:]]
    pairs += [
        ("pool", service, f"{mode} {pool}", f"{mode} {POOLS[mode][0]}")
        for service, mode, pool in rows
        if pool not in ("Default", POOLS[mode][0])
    ]
    for kind, service, left, right in pairs:
        for operation in POOL_OPERATIONS:
            yield _slower(kind, service, left, right, operation)
    variants = list(VARIANTS)
    for kind, left, right in (
        ("layout", variants[0], variants[1]),
        ("layout", variants[2], variants[3]),
        ("mode", variants[2], variants[0]),
        ("mode", variants[3], variants[1]),
    ):
        for operation in DICT_OPERATIONS:
            yield _slower(kind, "Valkey", left, right, operation)


def _slower(kind: str, service: str, left: str, right: str, operation: str) -> dict[str, Any]:
    return {
        "kind": kind, "group": service, "table": "pools", "service": service,
        "operation": operation, "concurrency": 1, "connections": 0, "left": left, "right": right,
        "ratio": 0.8, "low": 0.75, "high": 0.85, "rounds": 100, "least_difference": 0.01,
        "verdict": "slower",
    }  # fmt: skip


def make_runs(count: int, results_each: int) -> None:
    """Many runs, one a day, fast."""
    runs = BenchmarkRun.objects.bulk_create(
        BenchmarkRun(
            label=f"run {number}",
            preset="standard" if number % 2 else "quick",
            status=BenchmarkRun.Status.FINISHED,
            started_at=FIRST_DAY + timedelta(days=number),
            finished_at=FIRST_DAY + timedelta(days=number, minutes=5),
            commit=f"{number:012x}",
            machine=f"Machine {number % 3}",
            services=[*AVAILABLE, MISSING],
            noise_floor=0.01,
            warnings=[WARNING],
        )
        for number in range(count)
    )
    BenchmarkResult.objects.bulk_create(
        (
            make_result(
                Table.CONCURRENCY,
                run=run,
                position=position,
                service="Valkey",
                mode="SYNC",
                pool="ConnectionPool",
                operation="GET",
                concurrency=position + 1,
            )
            for run in runs
            for position in range(results_each)
        ),
        batch_size=2000,
    )
