"""Define every metric, with its kind, unit and labels. docs/operations.md has the same list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric, for both exporters.

    Attributes:
        name: without a prefix; Prometheus has `redisdict_` before it, and `_total` behind a
            counter's.
        kind: a counter only grows while the process lives.
        unit: as OpenTelemetry writes it (UCUM): "s", "By", or in braces what is counted.
        labels: the labels of its series.
        help: what it measures.
        opentelemetry: its name in OpenTelemetry, if the database conventions have one.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str
    opentelemetry: str = ""

    @property
    def prometheus_name(self) -> str:
        return f"redisdict_{self.name}{'_total' if self.kind == 'counter' else ''}"

    @property
    def opentelemetry_name(self) -> str:
        return self.opentelemetry or f"redisdict.{self.name}"


DURATION = Metric(
    name="operation_duration_seconds",
    kind="histogram",
    unit="s",
    labels=("alias", "operation"),
    help="Time from sending a command, or several together, to the reply. Includes retries.",
    opentelemetry="db.client.operation.duration",
)
READS = Metric(
    name="reads",
    kind="counter",
    unit="{key}",
    labels=("alias", "result"),
    help="Keys or fields that plain commands of dicts and caches have read: hit or miss.",
)
ERRORS = Metric(
    name="errors",
    kind="counter",
    unit="{error}",
    labels=("alias", "error"),
    help="Exchanges with a server that ended with an error, by its class.",
)
RETRIES = Metric(
    name="retries",
    kind="counter",
    unit="{request}",
    labels=("alias",),
    help="Requests that were sent again after a lost connection.",
)
GIVEN_UP = Metric(
    name="unavailable",
    kind="counter",
    unit="{request}",
    labels=("alias",),
    help="Requests that were given up and raised BackendUnavailable.",
)
OPENED = Metric(
    name="connections_opened",
    kind="counter",
    unit="{connection}",
    labels=("alias", "mode"),
    help="Connections opened by the present pools, including reconnects.",
)
POOL_CONNECTIONS = Metric(
    name="pool_connections",
    kind="gauge",
    unit="{connection}",
    labels=("alias", "mode", "state"),
    help="Connections of the pools: idle or used.",
    opentelemetry="db.client.connection.count",
)
POOL_LIMIT = Metric(
    name="pool_limit",
    kind="gauge",
    unit="{connection}",
    labels=("alias", "mode"),
    help="Connections that the pools can have at most.",
    opentelemetry="db.client.connection.max",
)
POOL_WAITING = Metric(
    name="pool_waiting",
    kind="gauge",
    unit="{request}",
    labels=("alias", "mode"),
    help="Callers that wait for a connection now.",
    opentelemetry="db.client.connection.pending_requests",
)
POOL_WAITS = Metric(
    name="pool_waits",
    kind="counter",
    unit="{request}",
    labels=("alias", "mode"),
    help="Callers that have waited for a connection.",
)
POOL_WAITED = Metric(
    name="pool_wait_seconds",
    kind="counter",
    unit="s",
    labels=("alias", "mode"),
    help="Total time that callers have waited for a connection.",
)
MODELS = Metric(
    name="model_events",
    kind="counter",
    unit="{event}",
    labels=("model", "alias", "event"),
    help="What happened to a cached model, by the names of CacheStats; also barriers (rounds of"
    " writers' barriers) and lease_waits (lookups that waited for another's lease).",
)
NEAR = Metric(
    name="near_events",
    kind="counter",
    unit="{event}",
    labels=("alias", "kind", "event"),
    help="Reads of near caches that memory answered (hits) or didn't (misses), changed keys that"
    " the server reported (pushes), entries removed to make room (evictions).",
)
NEAR_ITEMS = Metric(
    name="near_items",
    kind="gauge",
    unit="{item}",
    labels=("alias", "kind"),
    help="Entries that near caches keep in this process's memory.",
)
NEAR_BYTES = Metric(
    name="near_bytes",
    kind="gauge",
    unit="By",
    labels=("alias", "kind"),
    help="Size of these entries.",
)
NEAR_OFF = Metric(
    name="near_off",
    kind="gauge",
    unit="{dict}",
    labels=("alias", "kind"),
    help="Near caches that can't answer from memory now: the server doesn't report changes.",
)
COMPUTATIONS = Metric(
    name="computations",
    kind="counter",
    unit="{computation}",
    labels=("event",),
    help="get_or_set(): values computed (computed), callers that got the old value after"
    " soft_timeout (soft_timeout), failed computations whose old value is served (failed).",
)
AUDITED = Metric(
    name="audit_cells",
    kind="counter",
    unit="{cell}",
    labels=("model", "database", "result"),
    help="Cells that the audit of ModelDict has compared with the database: agree or disagree.",
)

#: All of them, in the order of the documentation.
METRICS: tuple[Metric, ...] = (
    DURATION,
    READS,
    ERRORS,
    RETRIES,
    GIVEN_UP,
    OPENED,
    POOL_CONNECTIONS,
    POOL_LIMIT,
    POOL_WAITING,
    POOL_WAITS,
    POOL_WAITED,
    MODELS,
    NEAR,
    NEAR_ITEMS,
    NEAR_BYTES,
    NEAR_OFF,
    COMPUTATIONS,
    AUDITED,
)

#: Bounds of the histogram, in seconds: of a hit on this machine, of a slow command elsewhere.
BOUNDS_S = (
    0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0,
)  # fmt: skip
