"""Export metrics of requests, their durations, hits and more to Prometheus and OpenTelemetry.

Nothing is measured before one of the functions below is called. With the setting
`REDISDICT_METRICS = ["prometheus"]` (or `"opentelemetry"`) that happens when a server is first
used. docs/operations.md lists the metrics.
"""

from __future__ import annotations

from typing import Any

from redisdict.metrics.definitions import METRICS, Metric

__all__ = ["METRICS", "Metric", "start_opentelemetry", "start_prometheus"]


def start_prometheus(registry: Any = None) -> None:
    """Export the metrics to Prometheus, through `prometheus_client`; call it once.

    With `PROMETHEUS_MULTIPROC_DIR` they are in the files of prometheus_client's multiprocess mode,
    at most five seconds after they were counted.

    Args:
        registry: a `prometheus_client.CollectorRegistry`; None for its own.

    Raises:
        ConfigurationError: prometheus_client isn't installed.
    """
    from redisdict.metrics.prometheus import start

    start(registry)


def start_opentelemetry(meter_provider: Any = None) -> None:
    """Export the metrics to OpenTelemetry, under the names of its database conventions.

    Args:
        meter_provider: None for the global one.

    Raises:
        ConfigurationError: opentelemetry-api isn't installed.
    """
    from redisdict.metrics.opentelemetry import start

    start(meter_provider)
