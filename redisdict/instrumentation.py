"""Make an OpenTelemetry span for each command, or for several sent together.

The drivers use connections and not redis-py's client, so its instrumentation
(opentelemetry-instrumentation-redis) doesn't see their commands. While it is active, this module
makes the spans: with the same names and attributes, in threads and in tasks. Without it,
`instrument()` starts them, or `opentelemetry-instrument`, which finds `RedisDictInstrumentor` by
its entry point.

By default attributes are the older ones, as redis-py's instrumentation sets them; with
`OTEL_SEMCONV_STABILITY_OPT_IN=database` those of the stable conventions, with `database/dup` both.
No span has a key or a value: a statement is `HSET ? ? ?`.
"""

from __future__ import annotations

import os
import sys
from time import time_ns
from typing import TYPE_CHECKING, Any

from redisdict.connections import observation
from redisdict.exceptions import ConfigurationError

if TYPE_CHECKING:
    from redisdict.connections.observation import Exchange

MISSING = (
    "Spans need the package opentelemetry-api, which isn't installed:"
    ' pip install "django-redisdict[opentelemetry]".'
)

#: The module of redis-py's instrumentation.
REDIS_INSTRUMENTATION = "opentelemetry.instrumentation.redis"

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"


class Spans:
    """Makes a span for each exchange.

    Args:
        tracer_provider: None for the global one.
        follows: whether there are spans only while redis-py's instrumentation is active.

    Raises:
        ConfigurationError: opentelemetry-api isn't installed.
    """

    def __init__(self, tracer_provider: Any = None, *, follows: bool = False) -> None:
        try:
            from opentelemetry import trace
        except ImportError as error:
            raise ConfigurationError(MISSING) from error
        from redisdict import __version__

        self._trace: Any = trace
        self._tracer = trace.get_tracer("redisdict", __version__, tracer_provider)
        self._follows = follows
        chosen = {part.strip() for part in os.environ.get(OPT_IN, "").split(",")}
        self._has_new = bool(chosen & {"database", "database/dup"})
        self._has_old = "database" not in chosen
        self._is_enabled = _find_switch()

    def __call__(self, exchange: Exchange) -> None:
        """Make the span of an exchange that has ended, as a child of the current span."""
        if not self._is_enabled() or (self._follows and not is_redis_instrumented()):
            return
        ended_ns = time_ns()
        span = self._tracer.start_span(
            _span_name(exchange.request),
            kind=self._trace.SpanKind.CLIENT,
            attributes=self._attributes(exchange),
            start_time=ended_ns - exchange.duration_ns,
        )
        if span.is_recording() and exchange.error is not None and not _is_expected(exchange.error):
            span.record_exception(exchange.error)
            span.set_status(self._trace.StatusCode.ERROR, type(exchange.error).__name__)
        span.end(ended_ns)

    def _attributes(self, exchange: Exchange) -> dict[str, Any]:
        from redisdict.metrics.conventions import attributes_of, statement_of
        from redisdict.wire.requests import Batch

        found = attributes_of(exchange)
        request: Any = exchange.request
        statement = statement_of(request)
        is_batch = type(request) is Batch
        chosen: dict[str, Any] = {
            name: found[name]
            for name in ("server.address", "server.port", "error.type", "redisdict.alias")
            if name in found
        }
        if self._has_new:
            chosen |= {
                "db.system.name": found["db.system.name"],
                "db.namespace": found["db.namespace"],
                "db.operation.name": found["db.operation.name"],
                "db.query.text": statement,
            }
            if is_batch and len(request.commands) > 1:
                chosen["db.operation.batch.size"] = len(request.commands)
        if self._has_old:
            chosen |= {
                "db.system": "redis",
                "db.statement": statement,
                "db.redis.database_index": int(found["db.namespace"]),
                "net.peer.name": found.get("server.address", ""),
            }
            if "server.port" in found:
                chosen["net.peer.port"] = found["server.port"]
            if is_batch:
                chosen["db.redis.pipeline_length"] = len(request.commands)
            else:
                chosen["db.redis.args_length"] = len(request)
        return chosen


def _span_name(request: Any) -> str:
    """Name a span as redis-py's instrumentation does: by its commands, each once."""
    from redisdict.metrics.exchanges import name_of
    from redisdict.wire.requests import Batch

    if type(request) is not Batch:
        return name_of(request)
    return " ".join(dict.fromkeys(name_of(command) for command in request.commands)) or "redis"


def _is_expected(error: BaseException) -> bool:
    """Whether an error is a reply that the drivers handle, such as an unknown script."""
    from redis.exceptions import NoScriptError

    return isinstance(error, NoScriptError)


def _find_switch() -> Any:
    """Find the switch of `suppress_instrumentation()`, if that package is installed."""
    try:
        from opentelemetry.instrumentation.utils import is_instrumentation_enabled
    except ImportError:
        return lambda: True
    return is_instrumentation_enabled


def is_redis_instrumented() -> bool:
    """Return whether redis-py's instrumentation is active. Imports nothing."""
    module: Any = sys.modules.get(REDIS_INSTRUMENTATION)
    if module is None or not hasattr(module, "RedisInstrumentor"):
        return False
    return bool(module.RedisInstrumentor().is_instrumented_by_opentelemetry)


_spans: Spans | None = None
_follower: Spans | None = None


def instrument(tracer_provider: Any = None) -> None:
    """Make a span for each exchange with a server from now on; call it once.

    Not needed if opentelemetry-instrumentation-redis is active before a dict is first used.

    Raises:
        ConfigurationError: opentelemetry-api isn't installed.
    """
    global _spans
    if _spans is None:
        _spans = Spans(tracer_provider)
    if _follower is not None:
        observation.remove_observer(_follower)
    observation.add_observer(_spans)


def uninstrument() -> None:
    """End the spans that `instrument()` started."""
    global _spans
    if _spans is not None:
        observation.remove_observer(_spans)
        _spans = None


def follow_redis() -> None:
    """Make spans while redis-py's instrumentation is active. Called before a server is used."""
    global _follower
    if _spans is None and _follower is None and is_redis_instrumented():
        _follower = Spans(follows=True)
        observation.add_observer(_follower)


def __getattr__(name: str) -> Any:
    if name != "RedisDictInstrumentor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

    class RedisDictInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # it may be missing
        """Lets `opentelemetry-instrument` call `instrument()`."""

        def instrumentation_dependencies(self) -> list[str]:
            return []

        def _instrument(self, **options: Any) -> None:
            instrument(options.get("tracer_provider"))

        def _uninstrument(self, **options: Any) -> None:
            uninstrument()

    globals()[name] = RedisDictInstrumentor
    return RedisDictInstrumentor
