"""A run as it looks after measuring, for the tests of everything that comes after."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from redisdict.bench.choices import CellStatus, RunStatus, Table
from redisdict.bench.operations import DICT_OPERATIONS, POOL_OPERATIONS
from redisdict.bench.report.files import RESULT_FIELDS, RUN_FIELDS
from redisdict.bench.selection import spec_to_dict
from redisdict.bench.spec import POOLS, PRESETS, VARIANTS
from redisdict.models import BenchmarkResult, BenchmarkRun

__all__ = ["changed", "comparison", "make_record", "measured", "values_of", "whole"]

REFERENCE = "Standard Redis SYNC ConnectionPool"


def measured(
    ops_per_second: float = 20_000.0, ratio: float = 1.0, **changes: Any
) -> BenchmarkResult:
    """A cell with all its figures."""
    values: dict[str, Any] = {
        "table": Table.POOLS,
        "status": CellStatus.MEASURED,
        "service": "Standard Redis",
        "mode": "SYNC",
        "pool": "BlockingConnectionPool",
        "operation": "GET",
        "placement": "same",
        "rounds": 1000,
        "operations": 10_000,
        "ops_per_second": ops_per_second,
        "ratio": ratio,
        "ratio_low": ratio * 0.99,
        "ratio_high": ratio * 1.01,
        "p50_us": 30.5,
        "p90_us": 40.0,
        "p99_us": 90.25,
        "p999_us": None,
        "max_us": 500.0,
        "client_cpu_us": 20.0,
        "server_cpu_us": 5.0,
        "details": {
            "reference": f"{REFERENCE} GET",
            "noise_floor": 0.004,
            "total_ops_per_second": ops_per_second * 0.9,
            "spread": 0.05,
            "drift": 0.01,
            "latency_calls": 2000,
        },
    }
    return BenchmarkResult(**{**values, **changes})


def make_record(**changes: Any) -> BenchmarkRun:
    """Two services, one of which isn't there, and the four dicts."""
    results = []
    for mode in ("ASYNC", "SYNC"):
        for pool in POOLS[mode]:
            for place, operation in enumerate(POOL_OPERATIONS):
                is_reference = pool == "ConnectionPool"
                cell = measured(
                    10_000.0 * (place + 1) + len(pool),
                    0.4,
                    mode=mode,
                    pool=pool,
                    operation=operation,
                )
                if is_reference:
                    cell = changed(cell, ratio=1.0, ratio_low=1.0, ratio_high=1.0)
                details = {**cell.details, "reference": f"{REFERENCE} {operation}"}
                results.append(changed(cell, details=details))
    missing = BenchmarkResult(
        table=Table.POOLS,
        status=CellStatus.UNAVAILABLE,
        service="KeyDB",
        reason="No KeyDB program is here: see compose.yaml | or build it.",
    )
    results.append(missing)
    for variant, (mode, _) in VARIANTS.items():
        for operation in DICT_OPERATIONS:
            speed = 2_512_345.6 if operation == "Iter" else 50_000.4
            cell = measured(speed, 1.5, table=Table.DICT, mode=mode, variant=variant)
            results.append(changed(cell, operation=operation))
    values: dict[str, Any] = {
        "preset": "standard",
        "identifier": uuid.UUID("12345678-1234-5678-1234-567812345678"),
        "started_at": datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC),
        "finished_at": datetime(2026, 3, 1, 12, 34, tzinfo=UTC),
        "label": "before",
        "status": RunStatus.FINISHED,
        "machine": "Linux x86_64, Test CPU, 2 CPUs",
        "commit": "0123456789ab",
        "noise_floor": 0.004,
        "spec": spec_to_dict(PRESETS["standard"]),
        "services": [{"title": "Standard Redis", "source": "PATH", "address": "", "reason": ""}],
        "environment": {
            "machine_hash": "feed",
            "cpu_count": 8,
            "packages": {"redis": "8.1.0", "hiredis": "3.5.0"},
            "event_loop": "asyncio",
            "between_runs": {
                "source": "what such machines usually show",
                "deviations": {"calls": 0.008, "iterations": 0.075},
            },
            "servers": {
                "Standard Redis": {"name": "Redis 7.0.15", "persistence": "off", "config": {}}
            },
        },
        "comparisons": [
            comparison("layout", "Sync (HSET)", "Sync (No HSET)", 0.97, "Get", "slower"),
            comparison("layout", "Sync (HSET)", "Sync (No HSET)", 1.0, "Set", "same"),
            comparison("service", "Valkey", "Standard Redis", 1.12, "GET", "faster"),
            comparison("service", "Valkey", "Standard Redis", 1.01, "SET", "unsure"),
            comparison(
                "pool", "SYNC BlockingConnectionPool", "SYNC ConnectionPool", 0.99, "GET", "same"
            ),
            comparison("A/A", "SYNC ConnectionPool", "SYNC ConnectionPool", 1.0, "GET", "same"),
        ],
        "results": results,
    }
    values |= changes
    run = BenchmarkRun(**{name: value for name, value in values.items() if name != "results"})
    run.cells = values["results"]
    return run


def changed(cell: BenchmarkResult, **changes: Any) -> BenchmarkResult:
    """A copy of the cell with these values."""
    return BenchmarkResult(**{**values_of(cell), **changes})


def whole(run: BenchmarkRun) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """All that is exported of a run, and of its cells."""
    return {name: getattr(run, name) for name in RUN_FIELDS}, [*map(values_of, run.cells)]


def values_of(cell: BenchmarkResult) -> dict[str, Any]:
    """All that is exported of a cell."""
    return {name: getattr(cell, name) for name in RESULT_FIELDS}


def comparison(
    kind: str, left: str, right: str, ratio: float, operation: str, verdict: str
) -> dict[str, Any]:
    return {
        "kind": kind,
        "group": "Standard Redis: pools",
        "table": "pools",
        "service": "Standard Redis",
        "operation": operation,
        "concurrency": 1,
        "connections": 0,
        "left": left,
        "right": right,
        "ratio": ratio,
        "low": round(ratio - 0.01, 4),
        "high": round(ratio + 0.01, 4),
        "rounds": 1000,
        "least_difference": 0.004,
        "verdict": verdict,
    }
