"""The scripts on real servers do, step by step, what the model of the server does."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import NoScriptError

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.mapping.keys import Names
from redisdict.modelcache.slots.lease import ABSENT
from redisdict.modelcache.slots.store import (
    BLOCKED,
    BUSY,
    LEASED,
    RowStore,
    new_token,
    put_barriers,
)
from redisdict.wire.combinators import intercept
from redisdict.wire.requests import Batch, Operation
from redisdict.wire.server_state import UNKNOWN, is_identified, named
from tests.depth import examples
from tests.modelcache.server_model import (
    NAMELESS,
    Barriers,
    Generation,
    Lease,
    ServerModel,
    Value,
)

TOKENS = [b"%016d" % number for number in range(3)]
INCARNATIONS = [UNKNOWN, b"earlier!", b"present!"]
LONG_MS = 60_000


@pytest.fixture
def backend(server_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[Backend]:
    made = Backend(parse_alias("test", alias_for(server_url)))
    yield made
    made.close()


@pytest.fixture
def store(backend: Backend) -> Iterator[RowStore]:
    """The cells of a table that no other test has, nor another example of this one."""
    name = secrets.token_hex(4)
    yield RowStore(Names(backend.config.key_prefix, (name, "default")), b"12345678")
    client = backend.client()
    for key in client.scan_iter(f"{backend.config.key_prefix}:*"):
        client.delete(key)


rows = st.lists(st.sampled_from([b"1", b"2"]), min_size=1, max_size=2, unique=True)
tokens = st.sampled_from(TOKENS)
rows_or_table = st.one_of(rows, st.just([None]))
incarnations = st.sampled_from(INCARNATIONS)
some_body = st.sampled_from([b"", b"a body", None])
steps = st.one_of(
    st.tuples(st.just("read"), rows, tokens, st.sampled_from([0, LONG_MS]), incarnations),
    st.tuples(st.just("fill"), rows, tokens, some_body, incarnations),
    st.tuples(st.just("block"), rows_or_table, tokens, st.just(LONG_MS), incarnations),
    st.tuples(st.just("lift"), rows_or_table, tokens, st.just(0), incarnations),
)


@pytest.fixture(params=[1, 50], ids=["by MGET", "by script"])
def _many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From how many rows on MGET reads them."""
    monkeypatch.setattr("redisdict.modelcache.slots.store.MANY", request.param)


@pytest.mark.usefixtures("_many")
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=12))
def test_the_model_is_true(backend: Backend, done: list[tuple[Any, ...]]) -> None:
    name = secrets.token_hex(4)
    store = RowStore(Names(backend.config.key_prefix, (name, "default")), b"12345678")
    model = ServerModel(knows_read_script=False)

    def run_on_model(operation: Any) -> Any:
        answer: Any = None
        error: Exception | None = None
        while True:
            try:
                request = operation.throw(error) if error else operation.send(answer)
            except StopIteration as stop:
                return stop.value
            try:
                answer, error = model.execute(request), None
            except Exception as refusal:  # noqa: BLE001  # goes to the operation
                error = refusal

    def operation_of(step: tuple[Any, ...]) -> Any:
        *others, incarnation = step
        return as_of(incarnation, _operation_of(*others))

    def _operation_of(kind: str, items: list[Any], token: bytes, argument: Any) -> Any:
        keys = [store.table_key if item is None else store.prefix + item for item in items]
        if kind == "read":
            return store.read(keys, token, argument)
        if kind == "fill":
            return store.fill(keys, token, [argument] * len(keys), None)
        if kind == "block":
            return store.block(keys, token, argument)
        return store.lift(keys, token)

    client = backend.client()
    names: dict[bytes, bytes] = {}  # of generations, as the model calls them
    for step in done:
        assert backend.driver.run(operation_of(step)) == run_on_model(operation_of(step))
        for key in (store.table_key, store.prefix + b"1", store.prefix + b"2"):
            assert _as_model(client.get(key), names) == model.cells.get(key), step
    client.delete(store.table_key, store.prefix + b"1", store.prefix + b"2")


def as_of(incarnation: bytes, operation: Operation[Any]) -> Operation[Any]:
    """The operation, over a connection that leads to this incarnation of the server."""

    def answer(request: Any) -> Operation[Any]:
        # What is plain is sent as it is, so the driver puts no name of its own into it.
        request = named(request, incarnation) if is_identified(request) else request
        if isinstance(request, Batch):
            request = replace(request, is_identified=False)
        return (yield request)

    return intercept(operation, answer)


def _as_model(stored: Any, names: dict[bytes, bytes]) -> Any:
    if stored is None:
        return None
    kind, rest = stored[:1], stored[1:]
    if kind in b"GVL":
        own, incarnation = rest[:8], rest[8:16]
        generation = names.setdefault(own, b"gen%05d" % (len(names) + 1))
        generation += incarnation if incarnation in INCARNATIONS else NAMELESS
    if kind == b"G":
        return Generation(generation)
    if kind == b"V":
        return Value(generation, rest[16:])
    if kind == b"L":
        return Lease(generation, rest[16:])
    assert kind == b"B"
    assert len(rest) % 29 == 0
    return Barriers(tuple(rest[at : at + 16] for at in range(0, len(rest), 29)))


def test_a_lease_a_value_and_a_barrier_end_by_themselves(backend: Backend, store: RowStore) -> None:
    run, client = backend.driver.run, backend.client()
    key = store.prefix + b"1"
    token = new_token()
    assert run(store.read([key], token, 500_000)) == [LEASED]
    assert 400_000 < client.pttl(key) <= 500_000
    assert run(store.fill([key], token, [b"body"], 700_000)) == 1
    assert 600_000 < client.pttl(key) <= 700_000
    run(store.block([key], token, 900_000))
    assert 800_000 < client.pttl(key) <= 900_000
    run(store.block([key], new_token(), 300_000))
    assert 800_000 < client.pttl(key) <= 900_000  # the end of the last of them
    run(store.lift([key], token))
    assert 200_000 < client.pttl(key) <= 300_000


def test_a_dead_writers_barrier_is_swept_away_by_the_next(
    backend: Backend, store: RowStore
) -> None:
    run, client = backend.driver.run, backend.client()
    key = store.prefix + b"1"
    dead, alive = new_token(), new_token()
    run(store.block([key], dead, 1))
    run(store.block([key], alive, LONG_MS))
    stored: Any = client.get(key)
    while dead in stored:  # a millisecond of the server's
        run(store.block([key], alive, LONG_MS))
        stored = client.get(key)
    run(store.lift([key], alive))
    assert client.get(key) is None


@pytest.mark.parametrize("tables", [[], [[]], [[], []]], ids=repr)
def test_what_concerns_no_row_asks_nothing(tables: list[list[bytes]]) -> None:
    assert list(put_barriers(tables, new_token(), LONG_MS)) == []


def test_a_value_of_other_fields_is_leased_anew(backend: Backend, store: RowStore) -> None:
    run = backend.driver.run
    key = store.prefix + b"1"
    token = new_token()
    assert run(store.read([key], token, LONG_MS)) == [LEASED]
    assert run(store.fill([key], token, [b"body"], None)) == 1
    migrated = RowStore(Names(backend.config.key_prefix, ("x",)), b"87654321")
    migrated.table_key, migrated.prefix = store.table_key, store.prefix
    assert run(migrated.read([key], new_token(), LONG_MS)) == [LEASED]
    assert run(store.read([key], new_token(), LONG_MS)) == [BUSY]


def test_processes_that_teach_a_script_at_once_keep_one_lease(
    backend: Backend, store: RowStore
) -> None:
    """All find the server ignorant before any of them has taught it."""
    readings = [store.read([store.prefix + b"1"], new_token(), LONG_MS) for _ in range(3)]
    for reading in readings:
        next(reading)
    lessons = []
    for reading in readings:
        lessons.append(reading.throw(NoScriptError("NOSCRIPT")))
        store._is_teaching = False  # as it is in the next process
    answers = [backend.driver.run(sent(lesson)) for lesson in lessons]
    assert answers == [[LEASED], [BUSY], [BUSY]]


def sent(command: Any) -> Operation[Any]:
    return (yield command)


def test_absence_is_no_empty_value(backend: Backend, store: RowStore) -> None:
    run = backend.driver.run
    key = store.prefix + b"1"
    token = new_token()
    run(store.read([key], token, LONG_MS))
    run(store.fill([key], token, [ABSENT], None))
    assert run(store.read([key], token, LONG_MS)) == [ABSENT]


def test_many_rows_go_in_chunks(backend: Backend, store: RowStore) -> None:
    run = backend.driver.run
    keys = [store.prefix + b"%d" % number for number in range(2500)]
    token = new_token()
    assert run(store.read(keys, token, LONG_MS)) == [LEASED] * 2500
    assert run(store.fill(keys, token, [b"body"] * 2500, None)) == 2500
    assert run(store.read(keys, token, LONG_MS)) == [b"body"] * 2500
    run(store.block([store.table_key], token, LONG_MS))
    assert run(store.read(keys, token, LONG_MS)) == [BLOCKED] * 2500
    run(store.lift([store.table_key], token))
    assert run(store.read(keys, token, 0)) == [BLOCKED] * 2500  # of another generation


def test_tokens_differ_across_a_fork() -> None:
    import os

    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, new_token())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 16) != new_token()
