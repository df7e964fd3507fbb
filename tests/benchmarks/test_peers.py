"""The comparison with peers: that it runs, and finds out who fails or lies. Nothing is timed here.

Only clients that the tests' environment has anyway take part; the others are installed by the
comparison itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.peers.environment import requirements
from benchmarks.peers.plan import BULK, CONCURRENT, SINGLE, Table, tables
from benchmarks.peers.promises import PROMISES, measured_ratios, overtaken, verdict
from benchmarks.peers.results import TWIN, Measured
from benchmarks.peers.roster import (
    BY_HAND,
    DICT,
    PROTOCOL,
    REFERENCE,
    Client,
    Kind,
    async_clients,
    sync_clients,
)
from benchmarks.peers.rotation import Scale, measure
from benchmarks.peers.stores.limits import BareHash
from benchmarks.peers.table import report
from benchmarks.peers.target import Server, Target, started_server
from redisdict.bench.measure.statistics import Ratio
from redisdict.bench.spec import ASYNC, SYNC
from redisdict.bench.workloads.calls import Calls

SCALE = Scale(rounds=6, seed=1, is_quick=True)

SMALL_BULK = [replace(column, items_a_call=50) for column in BULK]

FEW_TASKS = [
    replace(column, calls=10, lead_in=5, tasks=5) if column.tasks > 1 else column
    for column in CONCURRENT
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started_server(cpus=None) as started:
        yield started


def chosen(clients: list[Client], *names: str) -> list[Client]:
    return [client for client in clients if client.name in (REFERENCE, *names)]


def table(columns: Any, clients: list[Client], *, mode: str = SYNC) -> Table:
    return Table("hash", "Smoke", mode, columns, clients)


@pytest.mark.parametrize(
    ("columns", "is_hash"),
    [
        pytest.param(SINGLE, True, id="single-hash"),
        pytest.param(SMALL_BULK, False, id="bulk-keys"),
        pytest.param(SINGLE, False, id="single-keys", marks=pytest.mark.deep),
        pytest.param(SMALL_BULK, True, id="bulk-hash", marks=pytest.mark.deep),
    ],
)
def test_every_operation_gives_figures(server: Server, columns: Any, is_hash: bool) -> None:
    names = (DICT, f"{DICT}, raw", f"{DICT}, unix socket", BY_HAND, "socket and hiredis")
    clients = chosen(sync_clients(is_hash=is_hash), *names)

    measured = measure(table(columns, clients), server, SCALE)

    assert figures(measured) == expected(columns, [*names, REFERENCE, TWIN])


@pytest.mark.parametrize("is_hash", [True, False], ids=["hash", "keys"])
def test_tasks_give_figures(server: Server, is_hash: bool) -> None:
    clients = chosen(async_clients(is_hash=is_hash), DICT, PROTOCOL)

    measured = measure(table(FEW_TASKS, clients, mode=ASYNC), server, SCALE)

    assert figures(measured) == expected(CONCURRENT, [DICT, PROTOCOL, REFERENCE, TWIN])


def test_a_client_that_is_not_there_says_why(server: Server) -> None:
    def missing(target: Target) -> Any:
        raise ModuleNotFoundError("No module named 'ghost'")

    clients = [*chosen(sync_clients(is_hash=True)), Client("ghost", Kind.PEER, missing)]

    measured = measure(table(SINGLE[:1], clients), server, SCALE)

    assert measured.failure("get", "ghost") == "ModuleNotFoundError: No module named 'ghost'"
    assert measured.ratio("get", TWIN) is not None
    text = report([measured], facts=[])
    assert "| ghost | failed |" in text
    assert "- ghost, get: ModuleNotFoundError: No module named 'ghost'" in text


class Forgetful(BareHash):
    """Answers a GET with what nobody stored."""

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(lambda _: b"something else", [(key,) for key in keys])


def test_a_client_that_lies_has_no_figure(server: Server) -> None:
    honest = chosen(sync_clients(is_hash=True), BY_HAND)

    def lying(target: Target) -> Any:
        (by_hand,) = (client for client in honest if client.name == BY_HAND)
        store: Any = by_hand.open(target)
        return Forgetful(store._ask, store.close)

    clients = [*honest, Client("liar", Kind.PEER, lying)]

    measured = measure(table(SINGLE[:1], clients), server, SCALE)

    assert "values are not those that were stored" in measured.failure("get", "liar")
    assert figures(measured) == expected(SINGLE[:1], [BY_HAND, REFERENCE, TWIN])


def test_the_report_tells_promises_noise_and_faster_peers(server: Server) -> None:
    names = (DICT, BY_HAND)
    measured = measure(table(SINGLE, chosen(sync_clients(is_hash=True), *names)), server, SCALE)

    text = report([measured], facts=["a fact"])

    assert "- a fact" in text
    assert f"| {TWIN} |" in text
    assert "Noise floor" in text
    for promise in PROMISES:
        for ratio in measured_ratios(promise, measured).values():
            assert f"{ratio.value:.2f}" in text
    for one in overtaken(measured):
        assert f"{one.column}: {one.peer} is" in text


@pytest.mark.parametrize(
    ("low", "high", "expected_verdict"),
    [(2.01, 2.2, "kept"), (1.9, 2.1, "open"), (1.7, 1.99, "**not kept**")],
)
def test_a_promise_is_judged_by_the_interval(
    low: float, high: float, expected_verdict: str
) -> None:
    promise = replace(PROMISES[0], at_least=2)
    good = Ratio(3, 2.9, 3.1, rounds=100)

    found = verdict(promise, {"get": good, "set": Ratio(2, low, high, rounds=100)})

    assert found == expected_verdict


def test_promises_name_what_there_is() -> None:
    found = {one.name: one for one in tables(())}
    for promise in PROMISES:
        for name in promise.tables:
            clients = {client.name for client in found[name].clients}
            columns = {column.name for column in found[name].columns}
            assert {promise.client, promise.other} <= clients
            assert set(promise.columns) <= columns


def test_rows_have_names_of_their_own() -> None:
    for one in tables(()):
        names = [client.name for client in one.clients]
        assert len(names) == len(set(names))
        assert REFERENCE in names


def test_the_requirements_are_one_a_line() -> None:
    assert "coredis" in requirements()
    assert not [line for line in requirements() if "#" in line or " " in line]


def figures(measured: Measured) -> set[tuple[str, str]]:
    """Which clients have a ratio, in which column; a client's failure shows in the difference."""
    clients = [client.name for client in measured.table.clients]
    return {
        (column, name)
        for column in measured.series
        for name in [*clients, TWIN]
        if measured.ratio(column, name) is not None
    }


def expected(columns: Any, names: list[str]) -> set[tuple[str, str]]:
    return {(column.name, name) for column in columns for name in names}
