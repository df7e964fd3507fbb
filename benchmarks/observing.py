"""What metrics and spans cost a `d.get()`, against the same without them, in one interleaved run.

    python -m benchmarks.observing

Blocks of fifty calls take turns, after ten that aren't timed, in random order each round; the
client's CPU time of a block is compared with that of the block without observers of the round.
"off again" is a second one without: how far it is from 1 is what the figures are known to.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program

CALLS = 50
WARMING = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.observing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    arguments = parser.parse_args()
    with ServerProcess(find_program("redis"), listen="tcp") as server:
        settings.configure(REDISDICT={"default": {"LOCATION": server.url}}, INSTALLED_APPS=[])
        django.setup()
        from benchmarks.tables import circumstances

        print(circumstances())
        measure(arguments.rounds)
    return 0


def observers() -> dict[str, Callable[[Any], None] | None]:
    """Each side by its name: what observes; None for nobody."""
    from redisdict.instrumentation import Spans
    from redisdict.metrics import opentelemetry, prometheus

    found: dict[str, Callable[[Any], None] | None] = {"off": None, "off again": None}
    found["an observer that does nothing"] = lambda exchange: None
    try:
        import prometheus_client

        registry = prometheus_client.CollectorRegistry()
        found["metrics for Prometheus"] = prometheus.Exporter(registry).observe
    except ImportError:
        sys.stderr.write("prometheus_client isn't installed\n")
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider

        meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
        found["metrics for OpenTelemetry"] = opentelemetry.Exporter(meters).observe
        found["spans"] = Spans(TracerProvider())
    except ImportError:
        sys.stderr.write("opentelemetry-sdk isn't installed\n")
    return found


def measure(rounds: int) -> None:
    from redisdict import PersistentDict
    from redisdict.connections import observation

    mapping: PersistentDict[str, bytes] = PersistentDict("observing")
    mapping["key"] = b"x" * 100
    sides = observers()
    times: dict[str, list[int]] = {name: [] for name in sides}
    get = mapping.get
    gc.collect()
    gc.freeze()
    gc.disable()
    for _ in range(rounds):
        for name in random.sample(list(sides), len(sides)):
            observer = sides[name]
            if observer is not None:
                observation.add_observer(observer)
            for _ in range(WARMING):
                get("key")
            began = time.thread_time_ns()
            for _ in range(CALLS):
                get("key")
            times[name].append(time.thread_time_ns() - began)
            if observer is not None:
                observation.remove_observer(observer)
    gc.enable()
    report(times)


def report(times: dict[str, list[int]]) -> None:
    off = times["off"]
    print(f"{'':32} µs of CPU a call   ratio to off   90 % of rounds")
    for name, own in times.items():
        ratios = [math.log(one / other) for one, other in zip(own, off, strict=True)]
        low, *_, high = statistics.quantiles(ratios, n=20)
        print(
            f"{name:32} {statistics.median(own) / CALLS / 1000:16.2f}"
            f" {math.exp(statistics.median(ratios)):14.3f}"
            f"   {math.exp(low):.2f} to {math.exp(high):.2f}"
        )


if __name__ == "__main__":
    sys.exit(main())
