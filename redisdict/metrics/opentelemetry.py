"""Export the metrics through opentelemetry-api, by the conventions for database clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from redisdict.connections import observation
from redisdict.connections.observation import Exchange
from redisdict.exceptions import ConfigurationError
from redisdict.metrics.conventions import attributes_of, error_type, pool_state
from redisdict.metrics.definitions import BOUNDS_S, DURATION, ERRORS, METRICS, READS, Metric
from redisdict.metrics.exchanges import hits_and_misses, name_of
from redisdict.metrics.totals import Total, read_totals

MISSING = (
    "Metrics for OpenTelemetry need the package opentelemetry-api, which isn't installed:"
    ' pip install "django-redisdict[opentelemetry]".'
)

#: Metrics that each exchange updates; all others are read when a reader asks.
DIRECT = (DURATION, READS, ERRORS)


#: Kinds of exchanges whose attributes are remembered.
MOST_REMEMBERED = 1000


class Exporter:
    """Counts into instruments of a meter.

    Raises:
        ConfigurationError: opentelemetry-api isn't installed.
    """

    def __init__(self, meter_provider: Any = None) -> None:
        try:
            from opentelemetry import metrics
        except ImportError as error:
            raise ConfigurationError(MISSING) from error
        from redisdict import __version__

        self._metrics: Any = metrics
        meter = metrics.get_meter("redisdict", __version__, meter_provider)
        self._duration = meter.create_histogram(
            DURATION.opentelemetry_name,
            unit=DURATION.unit,
            description=DURATION.help,
            explicit_bucket_boundaries_advisory=list(BOUNDS_S),
        )
        self._reads = meter.create_counter(
            READS.opentelemetry_name, unit=READS.unit, description=READS.help
        )
        self._errors = meter.create_counter(
            ERRORS.opentelemetry_name, unit=ERRORS.unit, description=ERRORS.help
        )
        #: The attributes of exchanges: they don't change, and making them costs as much as
        #: recording.
        self._attributes: dict[tuple[Any, ...], dict[str, Any]] = {}
        for metric in METRICS:
            if metric not in DIRECT:
                self._make_observable(meter, metric)

    def _make_observable(self, meter: Any, metric: Metric) -> None:
        is_counter = metric.kind == "counter"
        create = meter.create_observable_counter if is_counter else None
        # The numbers of connections and entries are added up over processes.
        create = create or meter.create_observable_up_down_counter
        create(
            metric.opentelemetry_name,
            callbacks=[self._reader_of(metric)],
            unit=metric.unit,
            description=metric.help,
        )

    def _reader_of(self, metric: Metric) -> Callable[[Any], Iterator[Any]]:
        def read(_options: Any) -> Iterator[Any]:
            for total in read_totals():
                if total.metric is metric:
                    yield self._metrics.Observation(total.value, _attributes(total))

        return read

    def observe(self, exchange: Exchange) -> None:
        """Count an exchange."""
        alias = exchange.server.config.alias
        key = exchange.server, name_of(exchange.request), type(exchange.error)
        attributes = self._attributes.get(key)
        if attributes is None:
            if len(self._attributes) >= MOST_REMEMBERED:
                self._attributes.clear()
            attributes = self._attributes[key] = attributes_of(exchange)
        self._duration.record(exchange.duration_ns / 1e9, attributes)
        if exchange.error is not None:
            error = error_type(exchange.error)
            self._errors.add(1, {"redisdict.alias": alias, "error.type": error})
            return
        hits, misses = hits_and_misses(exchange)
        if hits:
            self._reads.add(hits, {"redisdict.alias": alias, "redisdict.result": "hit"})
        if misses:
            self._reads.add(misses, {"redisdict.alias": alias, "redisdict.result": "miss"})


def _attributes(total: Total) -> dict[str, str]:
    labels = dict(zip(total.metric.labels, total.labels, strict=True))
    if total.metric.opentelemetry.startswith("db.client.connection."):
        return pool_state(labels)
    return {f"redisdict.{name}": value for name, value in labels.items()}


_exporters: dict[Any, Exporter] = {}


def start(meter_provider: Any = None) -> Exporter:
    """Do what `redisdict.metrics.start_opentelemetry()` does."""
    found = _exporters.get(meter_provider)
    if found is None:
        found = _exporters[meter_provider] = Exporter(meter_provider)
        observation.add_observer(found.observe)
    return found


def stop(meter_provider: Any = None) -> None:
    """Count nothing more; the instruments stay, as OpenTelemetry has it."""
    found = _exporters.pop(meter_provider, None)
    if found is not None:
        observation.remove_observer(found.observe)
