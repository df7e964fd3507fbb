"""Metrics and spans as OpenTelemetry is given them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings

from redisdict import PersistentDict, get_client, instrumentation
from redisdict.connections.registry import get_backend
from redisdict.exceptions import BackendUnavailable
from redisdict.metrics import METRICS, opentelemetry, start_opentelemetry
from tests.missing import need_package

need_package("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

ALIAS = "redisdict.alias"


@pytest.fixture
def mapping(redis_url: str, alias_for: Any) -> Iterator[PersistentDict[str, int]]:
    with override_settings(REDISDICT={"shop": alias_for(redis_url)}):
        yield PersistentDict("d", using="shop")
        get_client("shop").close()


def finished(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    """The spans of this test: a thread of another one may have sent something to its own alias."""
    found = spans.get_finished_spans()
    return [span for span in found if (span.attributes or {}).get(ALIAS, "shop") == "shop"]


# Metrics.


@pytest.fixture
def metrics() -> Iterator[Callable[[], dict[str, list[Any]]]]:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    start_opentelemetry(provider)

    def read() -> dict[str, list[Any]]:
        data: Any = reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    yield read
    opentelemetry.stop(provider)


def test_metrics(
    metrics: Callable[[], dict[str, list[Any]]], mapping: PersistentDict[str, int]
) -> None:
    mapping["a"] = 1
    assert mapping["a"] == 1
    assert mapping.get("b") is None
    points = metrics()
    durations = {
        point.attributes["db.operation.name"]: point
        for point in points["db.client.operation.duration"]
    }
    assert durations["HGET"].count == 2
    assert durations["HGET"].attributes["db.system.name"] == "redis"
    assert durations["HGET"].attributes["server.address"] == "127.0.0.1"
    assert isinstance(durations["HGET"].attributes["server.port"], int)
    reads = {
        point.attributes["redisdict.result"]: point.value for point in points["redisdict.reads"]
    }
    assert reads == {"hit": 1, "miss": 1}
    [idle] = [
        point
        for point in points["db.client.connection.count"]
        if point.attributes["db.client.connection.state"] == "idle"
    ]
    assert idle.value == 1
    assert idle.attributes["db.client.connection.pool.name"] == "shop/sync"
    assert set(points) <= {metric.opentelemetry_name for metric in METRICS}
    mapping.clear()


# Spans.


@pytest.fixture
def provider() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    yield made, exporter
    made.shutdown()


@pytest.fixture
def spans(provider: tuple[TracerProvider, InMemorySpanExporter]) -> Iterator[InMemorySpanExporter]:
    instrumentation.instrument(provider[0])
    yield provider[1]
    instrumentation.uninstrument()


def test_a_span_for_each_command(
    spans: InMemorySpanExporter, mapping: PersistentDict[str, int]
) -> None:
    mapping["secret"] = 1
    mapping.update({"secret": 12345, "more": 2})
    one, *others = finished(spans)
    assert one.name == "HSET"
    assert one.kind is SpanKind.CLIENT
    attributes: Any = dict(one.attributes or {})
    assert attributes["db.system"] == "redis"
    assert attributes["db.statement"] == "HSET ? ? ?"
    assert attributes["server.address"] == attributes["net.peer.name"] == "127.0.0.1"
    assert attributes["server.port"] == attributes["net.peer.port"]
    assert attributes["db.redis.database_index"] == 0
    assert attributes["db.redis.args_length"] == 4
    assert attributes["redisdict.alias"] == "shop"
    assert (one.end_time or 0) > (one.start_time or 0)
    assert "secret" not in one.to_json() + "".join(other.to_json() for other in others)
    assert "12345" not in "".join(other.to_json() for other in others)
    mapping.clear()


def test_spans_of_tasks_have_their_parent(
    spans: InMemorySpanExporter,
    provider: tuple[TracerProvider, InMemorySpanExporter],
    mapping: PersistentDict[str, int],
) -> None:
    tracer = provider[0].get_tracer("test")

    async def view(number: int) -> None:
        with tracer.start_as_current_span(f"view {number}"):
            await mapping.aget("a")

    async def main() -> None:
        await asyncio.gather(*[view(number) for number in range(5)])
        await get_backend("shop").aclose()

    asyncio.run(main())
    found = finished(spans)
    parents = {span.context.span_id: span.name for span in found if span.context}
    children = [span for span in found if span.name == "HGET"]
    assert sorted(parents[span.parent.span_id] for span in children if span.parent) == [
        f"view {number}" for number in range(5)
    ]


def test_an_error(spans: InMemorySpanExporter, alias_for: Any) -> None:
    with override_settings(REDISDICT={"shop": alias_for("redis://:hidden@127.0.0.1:1/0")}):
        with pytest.raises(BackendUnavailable):
            PersistentDict("d", using="shop").get("a")
    [span] = finished(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "redisdict.exceptions.BackendUnavailable"
    assert "hidden" not in span.to_json()


@pytest.mark.parametrize(
    ("chosen", "has_old", "has_new"),
    [("", True, False), ("database", False, True), ("http,database/dup", True, True)],
)
def test_the_stable_conventions(
    provider: tuple[TracerProvider, InMemorySpanExporter],
    mapping: PersistentDict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    chosen: str,
    has_old: bool,
    has_new: bool,
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", chosen)
    instrumentation.instrument(provider[0])
    try:
        mapping.get("a")
    finally:
        instrumentation.uninstrument()
    [span] = finished(provider[1])
    attributes = span.attributes or {}
    assert ("db.system" in attributes) is has_old
    assert ("db.system.name" in attributes) is has_new
    assert attributes.get("db.query.text") == ("HGET ? ?" if has_new else None)


def test_the_instrumentation_of_redis_is_followed(
    provider: tuple[TracerProvider, InMemorySpanExporter],
    redis_url: str,
    alias_for: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each command is one span, whoever has sent it, and none after the end."""
    module = need_package("opentelemetry.instrumentation.redis")
    from opentelemetry import trace
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider[0])
    monkeypatch.setattr(instrumentation, "_follower", None)
    instrumentor = module.RedisInstrumentor()
    instrumentor.instrument(tracer_provider=provider[0])
    try:
        with override_settings(REDISDICT={"shop": alias_for(redis_url)}):
            mapping: PersistentDict[str, int] = PersistentDict("d", using="shop")
            mapping["a"] = 1

            async def read() -> int | None:
                found = await mapping.aget("a")
                await get_backend("shop").aclose()
                return found

            assert asyncio.run(read()) == 1
            get_client("shop").get("other")
            with suppress_instrumentation():
                mapping.get("a")
            names = [span.name for span in finished(provider[1])]
            assert names == ["HSET", "HGET", "GET"]
            own, _, theirs = finished(provider[1])
            shared = {"db.system", "net.peer.name", "net.peer.port", "db.redis.database_index"}
            for name in shared & set(theirs.attributes or {}):
                assert (own.attributes or {})[name] == (theirs.attributes or {})[name], name
            assert set(theirs.attributes or {}) <= set(own.attributes or {}) | {"net.transport"}
            instrumentor.uninstrument()
            mapping.clear()
            assert len(finished(provider[1])) == 3
    finally:
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


def test_it_is_found_by_opentelemetry_instrument(
    provider: tuple[TracerProvider, InMemorySpanExporter], mapping: PersistentDict[str, int]
) -> None:
    need_package("opentelemetry.instrumentation.instrumentor")
    instrumentor = instrumentation.RedisDictInstrumentor()
    instrumentor.instrument(tracer_provider=provider[0])
    try:
        mapping.get("a")
    finally:
        instrumentor.uninstrument()
    assert [span.name for span in finished(provider[1])] == ["HGET"]
