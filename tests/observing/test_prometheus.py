"""Metrics as Prometheus is given them, of one process and of several."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from redisdict import PersistentDict
from redisdict.connections import observation
from redisdict.exceptions import BackendUnavailable
from redisdict.metrics import METRICS, prometheus, start_prometheus
from tests.missing import need_package

prometheus_client = need_package("prometheus_client")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def registry() -> Iterator[Any]:
    made = prometheus_client.CollectorRegistry()
    start_prometheus(made)
    yield made
    prometheus.stop(made)


@pytest.fixture
def mapping(redis_url: str, alias_for: Any) -> Iterator[PersistentDict[str, int]]:
    with override_settings(REDISDICT={"shop": alias_for(redis_url)}):
        made: PersistentDict[str, int] = PersistentDict("d", using="shop")
        yield made
        made.clear()


def test_operations_and_what_they_find(registry: Any, mapping: PersistentDict[str, int]) -> None:
    mapping.update({"a": 1, "b": 2})
    assert mapping["a"] == 1
    assert mapping.get("c") is None
    assert mapping.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}

    def value(name: str, **labels: str) -> float | None:
        found: float | None = registry.get_sample_value(
            f"redisdict_{name}", {"alias": "shop", **labels}
        )
        return found

    assert value("operation_duration_seconds_count", operation="HGET") == 2
    assert value("reads_total", result="hit") == 3
    assert value("reads_total", result="miss") == 2
    assert value("pool_connections", mode="sync", state="idle") == 1
    assert value("connections_opened_total", mode="sync") == 1
    assert (value("operation_duration_seconds_sum", operation="HGET") or 0) > 0


def test_tasks(registry: Any, mapping: PersistentDict[str, int]) -> None:
    async def main() -> None:
        assert await mapping.aget("a") is None

    asyncio.run(main())
    labels = {"alias": "shop", "result": "miss"}
    assert registry.get_sample_value("redisdict_reads_total", labels) == 1


def test_errors(registry: Any, alias_for: Any) -> None:
    with override_settings(REDISDICT={"shop": alias_for("redis://127.0.0.1:1/0")}):
        lost: PersistentDict[str, int] = PersistentDict("d", using="shop")
        with pytest.raises(BackendUnavailable):
            lost.get("a")
    labels = {"alias": "shop", "error": "BackendUnavailable"}
    assert registry.get_sample_value("redisdict_errors_total", labels) == 1


def test_names_are_the_documented_ones(registry: Any) -> None:
    exported = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in registry.collect()
    }
    assert exported == {metric.prometheus_name for metric in METRICS}


def test_once_is_enough(registry: Any) -> None:
    start_prometheus(registry)
    assert len(observation._observers) == 1


def test_the_setting(redis_url: str, alias_for: Any) -> None:
    """In a process of its own, whose registry is the global one."""
    code = f"""
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["redisdict"],
    REDISDICT={{"shop": {alias_for(redis_url)!r}}},
    REDISDICT_METRICS=["prometheus"],
)
django.setup()
from redisdict import PersistentDict
PersistentDict("d", using="shop").get("a")
import prometheus_client
print(prometheus_client.generate_latest().decode())
"""
    output = run_python(code)
    assert 'redisdict_reads_total{alias="shop",result="miss"} 1.0' in output


def test_several_processes(redis_url: str, alias_for: Any, tmp_path: Path) -> None:
    """As under gunicorn: each writes its own counts, and whoever is scraped adds them up."""
    code = f"""
import os, sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["redisdict"],
    REDISDICT={{"shop": {alias_for(redis_url)!r}}},
    REDISDICT_METRICS=["prometheus"],
)
django.setup()
from redisdict import PersistentDict
mapping = PersistentDict("d", using="shop")
mapping.get("before the fork")
children = []
for number in range(3):
    child = os.fork()
    if not child:
        mapping.get("a")
        mapping.get_or_set("b%d" % number, lambda: 1)
        sys.exit()  # as a worker does, which runs what atexit has
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
mapping.clear()
import prometheus_client
from prometheus_client import multiprocess
registry = prometheus_client.CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(prometheus_client.generate_latest(registry).decode())
"""
    output = run_python(code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    lines = dict(
        line.rsplit(" ", 1) for line in output.splitlines() if line.startswith("redisdict_")
    )
    assert float(lines['redisdict_computations_total{event="computed"}']) == 3
    misses = float(lines['redisdict_reads_total{alias="shop",result="miss"}'])
    assert misses >= 1 + 3 + 3


def test_the_audit_writes_a_textfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from redisdict.modelcache.audit import passes

    monkeypatch.setattr(passes, "totals", {("shop.Product", "default"): (10, 1)})
    path = tmp_path / "audit.prom"
    prometheus.write_textfile(str(path))
    text = path.read_text()
    assert 'database="default",model="shop.Product",result="disagree"} 1.0' in text
    assert 'database="default",model="shop.Product",result="agree"} 9.0' in text


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:redisdict", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
