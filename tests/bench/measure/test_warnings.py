"""Each warning fires on what it is about, and a good run has none."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
import redis

from redisdict.bench.choices import Table
from redisdict.bench.measure.server_pool import differing_settings, server_facts
from redisdict.bench.measure.services import discover, identify, running
from redisdict.bench.measure.warnings import find_warnings, warning_lines
from redisdict.models import BenchmarkRun
from redisdict.servers.process import ServerProcess
from tests.bench.records import make_record, measured
from tests.conftest import program_for_tests
from tests.missing import end_without
from tests.recorded import RecordedServer


def good(**changes: Any) -> BenchmarkRun:
    """A run without a flaw."""
    results = [measured(server_cpu_us=40.0), measured(table=Table.CONCURRENCY, concurrency=10)]
    return make_record(**{"results": results, **changes})


def servers(*names: str, persistence: str = "off", **config: str) -> dict[str, Any]:
    facts = {name: {"name": name, "persistence": persistence, "config": config} for name in names}
    return {**good().environment, "servers": facts}


def twin(operation: str, ratio: float, low: float, high: float) -> dict[str, Any]:
    own = {"kind": "A/A", "operation": operation, "ratio": ratio, "low": low, "high": high}
    return {**own, "rounds": 50}


def test_the_noise_floor_is_told_by_operation_as_it_was_used() -> None:
    quiet, walk = twin("GET", 1.0, 0.96, 1.04), twin("Iter", 0.9, 0.8, 1.1)
    assert find_warnings(good(comparisons=[quiet, walk])) == []
    more = [twin("SET", 1.0, 0.9, 1.3), twin("SET", 1.0, 0.9, 1.2), twin("DEL", 1.0, 1.0, 1.09)]
    [found] = find_warnings(good(comparisons=[quiet, walk, *more]))
    assert (
        found["text"] == "Two copies of the reference may differ by up to 30.0% (SET), 9.0% (DEL)."
    )


def test_a_good_run_has_no_warnings() -> None:
    assert find_warnings(good()) == []


DETAILS = measured().details


@pytest.mark.parametrize(
    ("name", "record", "text"),
    [
        ("noise-floor", good(comparisons=[twin("GET", 0.99, 0.93, 1.02)]), "up to 7.5% (GET)."),
        (
            "wide-interval",
            good(results=[measured(ratio_low=0.9, ratio_high=1.1)]),
            "Standard Redis SYNC BlockingConnectionPool GET",
        ),
        (
            "high-spread",
            good(results=[measured(details={**DETAILS, "spread": 0.4})]),
            "differ widely",
        ),
        (
            "drift",
            good(results=[measured(details={**DETAILS, "drift": -0.2})]),
            "changed over the rounds",
        ),
        (
            "foreign-cpu",
            good(environment={**good().environment, "foreign_cpu_share": 0.25}),
            "took 25% of the CPU time",
        ),
        (
            "placement-uncontrolled",
            good(results=[measured(placement="uncontrolled", service="Far away")]),
            "Far away",
        ),
        (
            "persistence-on",
            good(environment=servers("Redis 8", persistence="append-only file")),
            "Redis 8 (append-only file)",
        ),
        (
            "hiredis-missing",
            good(environment={**good().environment, "packages": {"hiredis": None}}),
            "Without hiredis",
        ),
        (
            "client-bound",
            good(results=[measured(ops_per_second=20_000, server_cpu_us=5.0)]),
            "In 1 cells the server was idle",
        ),
        (
            "few-cpus",
            good(environment={**servers("Dragonfly 1.40"), "cpu_count": 2}),
            "Dragonfly 1.40 can use many CPUs, and this machine has 2",
        ),
        (
            "concurrency-one",
            good(results=[measured(), measured(pool="ConnectionPool")]),
            "with one caller only",
        ),
    ],
)
def test_each_warning(name: str, record: BenchmarkRun, text: str) -> None:
    found = {warning["name"]: warning for warning in find_warnings(record)}
    assert text in found[name]["text"]
    assert found[name]["advice"]


def test_settings_that_differ() -> None:
    environment = servers("Redis 8", "Valkey 9")
    environment["servers"]["Redis 8"]["config"] = {"io-threads": "4", "hz": "10"}
    environment["servers"]["Valkey 9"]["config"] = {"io-threads": "1", "hz": "10"}
    found = find_warnings(good(environment=environment))
    assert [one["name"] for one in found] == ["settings-differ"]
    assert "io-threads differs (Redis 8: 4, Valkey 9: 1)" in found[0]["text"]


def test_what_a_server_does_not_have_does_not_differ() -> None:
    environment = servers("Redis 8", "Valkey 9", "Dragonfly 1.40")
    names = ("save", "appendonly", "io-threads", "databases", "lazyfree-lazy-user-del")
    for name in ("Redis 8", "Valkey 9"):
        environment["servers"][name] |= {
            "config": dict.fromkeys(names, "1") | {"maxmemory-policy": "noeviction"},
            "info": {"maxmemory_policy": "noeviction"},
        }
    dragonfly = environment["servers"]["Dragonfly 1.40"]
    dragonfly |= {"config": {"snapshot_cron": ""}, "info": {"maxmemory_policy": "noeviction"}}
    record = good(environment=environment | {"cpu_count": 8})
    assert find_warnings(record) == []
    dragonfly["persistence"] = "unknown"  # who tells nothing differs in nothing
    assert find_warnings(record) == []
    dragonfly["info"] = {"maxmemory_policy": "eviction"}
    [found] = find_warnings(record)
    assert "maxmemory-policy differs (Redis 8: noeviction, Valkey 9: noeviction" in found["text"]
    assert "Dragonfly 1.40: eviction)" in found["text"]


def test_real_servers_that_were_started_alike_do_not_differ() -> None:
    """But for what they really do otherwise: Dragonfly always has a limit of memory, say."""
    facts = {}
    with ExitStack() as stack:
        urls = {
            "KeyDB": stack.enter_context(RecordedServer("keydb")).url,
            "Dragonfly": stack.enter_context(RecordedServer("dragonfly")).url,
            "Valkey": stack.enter_context(ServerProcess(program_for_tests("valkey"))).url,
        }
        for title, url in urls.items():
            client = stack.enter_context(redis.Redis.from_url(url))
            facts[title] = server_facts(identify(client), client)
    assert {one["persistence"] for one in facts.values()} == {"off"}
    assert set(differing_settings(facts)) <= {"maxmemory", "lazyfree-lazy-user-del"}


@pytest.mark.parametrize("key", ["redis", "valkey", "sentinel", "cluster"])
def test_servers_that_a_run_starts_have_the_same_settings(key: str) -> None:
    (service,) = [one for one in discover(configured={}) if one.key == key]
    if not service.is_available:
        end_without(service.reason)
    with running(service) as up:
        facts = server_facts(up.identity, up.client)
    assert facts["config"]["lazyfree-lazy-user-del"] == "no"


def test_warnings_as_lines() -> None:
    record = good(warnings=[{"name": "drift", "text": "It drifted.", "advice": "Wait."}])
    assert warning_lines(record) == ["warning drift: It drifted. Wait."]
