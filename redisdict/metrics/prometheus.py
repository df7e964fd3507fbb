"""Export the metrics through prometheus_client, of one process or of many.

With many (`PROMETHEUS_MULTIPROC_DIR`, as under gunicorn) prometheus_client asks no process when it
is scraped, but reads the files into which each has written its values. So counts that are kept
elsewhere are written there every few seconds, after an exchange with a server, and at the process's
end.
"""

from __future__ import annotations

import atexit
import os
from time import monotonic
from typing import Any

from redisdict import forks
from redisdict.connections import observation
from redisdict.connections.observation import Exchange
from redisdict.exceptions import ConfigurationError
from redisdict.metrics.definitions import BOUNDS_S, DURATION, ERRORS, METRICS, READS, Metric
from redisdict.metrics.exchanges import hits_and_misses, name_of
from redisdict.metrics.totals import read_totals

#: Seconds between two times that a process writes down what was counted elsewhere.
TAKE_OVER_EVERY_S = 5.0

MISSING = (
    "Metrics for Prometheus need the package prometheus_client, which isn't installed:"
    ' pip install "django-redisdict[prometheus]".'
)


class Exporter:
    """Counts into metrics of prometheus_client.

    Args:
        registry: whose metrics they are.

    Raises:
        ConfigurationError: prometheus_client isn't installed.
    """

    def __init__(self, registry: Any = None) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise ConfigurationError(MISSING) from error
        self._client: Any = prometheus_client
        self._registry = prometheus_client.REGISTRY if registry is None else registry
        # Collected before the metrics, since it was registered before them.
        self._registry.register(self)
        self._metrics = {metric.name: self._make(metric) for metric in METRICS}
        self._children: dict[tuple[Any, ...], Any] = {}
        self._taken: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._lock = forks.Lock()
        self._is_of_many = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._next_at = 0.0
        forks.on_fork(self._renew)

    def _make(self, metric: Metric) -> Any:
        name = f"redisdict_{metric.name}"
        arguments = {"registry": self._registry, "labelnames": metric.labels}
        if metric.kind == "counter":
            return self._client.Counter(name, metric.help, **arguments)
        if metric.kind == "gauge":
            # Of processes that have ended nothing is left in use.
            arguments["multiprocess_mode"] = "livesum"
            return self._client.Gauge(name, metric.help, **arguments)
        return self._client.Histogram(name, metric.help, buckets=BOUNDS_S, **arguments)

    def _renew(self) -> None:
        """In a forked child, count from here on: earlier counts are the parent's."""
        self._children.clear()
        self._taken = {(metric, labels): value for metric, labels, value in read_totals()}

    def describe(self) -> list[Any]:
        """Report that this collector has no metrics of its own."""
        return []

    def collect(self) -> list[Any]:
        """Take over the counts that are kept elsewhere; prometheus_client calls it for a scrape."""
        self.take_over()
        return []

    def observe(self, exchange: Exchange) -> None:
        """Count an exchange."""
        alias, operation = exchange.server.config.alias, name_of(exchange.request)
        self._child(DURATION, alias, operation).observe(exchange.duration_ns / 1e9)
        if exchange.error is not None:
            self._child(ERRORS, alias, type(exchange.error).__name__).inc()
        else:
            hits, misses = hits_and_misses(exchange)
            if hits:
                self._child(READS, alias, "hit").inc(hits)
            if misses:
                self._child(READS, alias, "miss").inc(misses)
        if self._is_of_many and monotonic() >= self._next_at:
            self._next_at = monotonic() + TAKE_OVER_EVERY_S
            self.take_over()

    def take_over(self) -> None:
        """Write the counts that were added elsewhere since the last time."""
        with self._lock:
            for metric, labels, value in read_totals():
                child = self._child(metric, *labels)
                if metric.kind == "gauge":
                    child.set(value)
                    continue
                before = self._taken.get((metric, labels), 0.0)
                self._taken[metric, labels] = value
                # Less than before: what counted it was made anew.
                child.inc(value - before if value >= before else value)

    def _child(self, metric: Metric, *labels: str) -> Any:
        key = (metric.name, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._metrics[metric.name].labels(*labels)
        return child

    def close(self) -> None:
        """Leave the registry as it was, and count nothing more."""
        observation.remove_observer(self.observe)
        for metric in self._metrics.values():
            self._registry.unregister(metric)
        self._registry.unregister(self)


_exporters: dict[Any, Exporter] = {}


def start(registry: Any = None) -> Exporter:
    """Do what `redisdict.metrics.start_prometheus()` does."""
    found = _exporters.get(registry)
    if found is None:
        found = _exporters[registry] = Exporter(registry)
        observation.add_observer(found.observe)
        if found._is_of_many:
            atexit.register(found.take_over)
    return found


def stop(registry: Any = None) -> None:
    """End the export that `start()` began."""
    found = _exporters.pop(registry, None)
    if found is not None:
        found.close()
        atexit.unregister(found.take_over)


def write_textfile(path: str) -> None:
    """Write the metrics of the audit, for the textfile collector of the node exporter.

    Raises:
        ConfigurationError: prometheus_client isn't installed.
        OSError: the file can't be written.
    """
    try:
        from prometheus_client import CollectorRegistry, Counter
        from prometheus_client import write_to_textfile as write
    except ImportError as error:
        raise ConfigurationError(MISSING) from error
    from redisdict.metrics.definitions import AUDITED

    registry = CollectorRegistry()
    name = f"redisdict_{AUDITED.name}"
    counter = Counter(name, AUDITED.help, labelnames=AUDITED.labels, registry=registry)
    for metric, labels, value in read_totals():
        if metric is AUDITED:
            counter.labels(*labels).inc(value)
    write(path, registry)
