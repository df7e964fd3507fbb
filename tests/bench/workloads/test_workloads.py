"""Every operation against real servers: it does what it says, and a lie is found out."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis

from redisdict.bench.choices import Table
from redisdict.bench.errors import WrongReply
from redisdict.bench.measure.cleanup import new_token
from redisdict.bench.measure.placement import PlacementProbe
from redisdict.bench.operations import DICT_OPERATIONS, OPERATIONS
from redisdict.bench.spec import ASYNC, DICT_POOLS, POOLS, PRESETS, SYNC, VARIANTS, Cell
from redisdict.bench.workloads.calls import blocks_of, key_names, texts, zipf_choices
from redisdict.bench.workloads.cells import CellFactory, WorkloadCell
from redisdict.bench.workloads.commands import Delete, Get, Pipeline, Set

SPEC = replace(PRESETS["quick"], key_count=20, batch_size=7, iteration_items=30, value_bytes=(12,))
SERVICE = "Valkey"


@dataclass
class FakeHost:
    """A server that somebody else started."""

    location: str
    probe: PlacementProbe = field(default_factory=lambda: PlacementProbe(None))
    cpu_ns: Callable[[], int | None] = lambda: None


class Bench:
    """Opens cells on one server, with a token of its own."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.token = new_token()
        self.client = redis.Redis.from_url(url)
        stack.callback(self.client.close)
        runner = stack.enter_context(asyncio.Runner())
        self.factory = CellFactory(
            SPEC,
            hosts={(SERVICE, False): FakeHost(url)},
            token=self.token,
            loop=runner.get_loop(),
            stack=stack,
        )

    def open(self, operation: str, mode: str = SYNC, **changes: Any) -> WorkloadCell:
        table = Table.DICT if changes.get("variant") else Table.POOLS
        values = {"pool": POOLS[mode][0], "table": table, **changes}
        return self.factory.open(Cell(service=SERVICE, mode=mode, operation=operation, **values))

    def keys(self) -> list[bytes]:
        return list(self.client.scan_iter(match=f"*{self.token}*"))


@pytest.fixture
def bench(valkey_url: str) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(valkey_url, stack)


def run_blocks(cell: WorkloadCell, count: int = 30) -> list[int]:
    operations = []
    for _ in range(count):
        cell.prepare()
        block = cell.run(time.perf_counter_ns)
        cell.check()
        assert block.duration_ns > 0
        operations.append(block.operations)
    return operations


ROWS = [(mode, pool) for mode in (ASYNC, SYNC) for pool in POOLS[mode]]


@pytest.mark.parametrize(("mode", "pool"), ROWS)
@pytest.mark.parametrize("operation", ["SET", "GET", "DEL", "PIPE"])
def test_commands_over_every_pool(bench: Bench, mode: str, pool: str, operation: str) -> None:
    assert set(run_blocks(bench.open(operation, mode, pool=pool))) == {
        7 if operation == "PIPE" else 10
    }


@pytest.mark.parametrize("mode", [ASYNC, SYNC])
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in DICT_OPERATIONS])
def test_every_command_workload_in_both_modes(bench: Bench, mode: str, operation: str) -> None:
    run_blocks(bench.open(operation, mode), 3)


@pytest.mark.parametrize("mode", [ASYNC, SYNC])
def test_new_connections_use_none_of_the_pool(bench: Bench, mode: str) -> None:
    before = bench.client.info("clients")["connected_clients"]  # other tests' pools among them
    cell = bench.open("CONNECT", mode, connections=2)
    run_blocks(cell, 5)
    assert bench.client.info("clients")["connected_clients"] - before < 10


@pytest.mark.parametrize("mode", [ASYNC, SYNC])
@pytest.mark.parametrize("operation", ["SET", "GET", "DEL"])
def test_many_workers(bench: Bench, mode: str, operation: str) -> None:
    cell = bench.open(operation, mode, pool=POOLS[mode][-1], concurrency=5, connections=2)
    assert set(run_blocks(cell)) == {20}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("operation", ["Set", "Get", "Del", "Iter", "Items"])
def test_dict_operations_of_every_variant(bench: Bench, variant: str, operation: str) -> None:
    mode, _ = VARIANTS[variant]
    cell = bench.open(operation, mode, variant=variant, pool=DICT_POOLS[mode])
    expected = 30 if operation in ("Iter", "Items") else 10
    assert set(run_blocks(cell)) == {expected}


@pytest.mark.parametrize("variant", VARIANTS)
def test_iterations_of_one_layout_share_their_items(bench: Bench, variant: str) -> None:
    mode, is_hash = VARIANTS[variant]
    for operation in ("Iter", "Items"):
        run_blocks(bench.open(operation, mode, variant=variant, pool=DICT_POOLS[mode]), 2)
    assert len(bench.keys()) == (1 if is_hash else 30)


def test_every_key_holds_the_token(bench: Bench) -> None:
    before = set(bench.client.scan_iter()) - set(bench.keys())
    run_blocks(bench.open("SET"), 2)
    run_blocks(bench.open("Set", variant="Sync (HSET)", pool=DICT_POOLS[SYNC]), 2)
    run_blocks(bench.open("Set", variant="Sync (No HSET)", pool=DICT_POOLS[SYNC]), 2)
    # 20 keys make two blocks of ten calls and four before them.
    assert len(bench.keys()) == 28 + 1 + 28
    assert set(bench.client.scan_iter()) - set(bench.keys()) == before


@pytest.mark.parametrize("mode", [ASYNC, SYNC])
def test_latencies_are_one_a_call(bench: Bench, mode: str) -> None:
    for operation, workers, calls in (("GET", 1, 10), ("PIPE", 1, 1), ("GET", 5, 20)):
        cell = bench.open(operation, mode, concurrency=workers)
        cell.prepare()
        times: array[int] = array("q")
        assert cell.run_each(time.perf_counter_ns, time.perf_counter_ns, times) in (7, calls)
        cell.check()
        assert len(times) == calls
        assert min(times) > 0


def test_the_clock_of_the_test_is_the_only_one(bench: Bench) -> None:
    ticks = itertools.count(0, 1000)
    cell = bench.open("GET")
    cell.prepare()
    assert cell.run(lambda: next(ticks)).duration_ns == 1000


# What a server that lies, forgets or refuses is told.


class Liar:
    """Answers every call with what it is told to."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply

    def answer(self, *arguments: Any) -> Any:
        return self.reply

    set = get = delete = answer

    def pipeline(self, transaction: bool) -> Liar:
        return self

    def execute(self) -> Any:
        return [self.reply] * 10


def judged(kind: Any, client: Any, inspector: redis.Redis, token: str) -> None:
    workload = kind(
        client,
        inspector,
        f"redisbench:{token}",
        rng=random.Random(1),
        key_count=10,
        value_bytes=[5],
        block=10,
    )
    workload.open()
    calls = workload.prepare()
    workload.check([calls.method(*arguments) for arguments in calls.arguments])


@pytest.mark.parametrize(
    ("kind", "reply", "message"),
    [
        (Set, None, "10 of 10 SETs were not answered with OK"),
        (Set, True, "10 of 10 keys that were SET hold another value when read back"),
        (Get, None, "Of 10 calls on stored keys, 10 found nothing and 0 got another reply"),
        (Get, b"other", "10 calls on stored keys, 0 found nothing and 10 got another reply"),
        (Delete, 0, "10 DELs of existing keys say they deleted 0"),
        (Pipeline, False, "A pipeline of 10 SETs was answered with 0 OKs"),
        (Pipeline, True, "10 of 10 keys that were SET hold another value when read back"),
    ],
)
def test_a_wrong_reply_is_noticed(bench: Bench, kind: Any, reply: Any, message: str) -> None:
    with pytest.raises(WrongReply, match=message):
        judged(kind, Liar(reply), bench.client, bench.token)


def test_an_honest_server_passes_the_same_judgement(bench: Bench) -> None:
    for kind in (Set, Get, Delete, Pipeline):
        judged(kind, bench.client, bench.client, bench.token)


@pytest.mark.parametrize("mode", [ASYNC, SYNC])
@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("Get", r"The item 'item:\d\d' was stored, and is not there any more"),
        ("Iter", "An iteration over 30 items delivered 29"),
        ("Items", "An iteration over 30 items delivered 29"),
    ],
)
def test_a_lost_item_of_a_dict_is_noticed(
    bench: Bench, mode: str, operation: str, message: str
) -> None:
    variant = "Sync (No HSET)" if mode == SYNC else "Async (No HSET)"
    cell = bench.open(operation, mode, variant=variant, pool=DICT_POOLS[mode])
    run_blocks(cell, 2)
    # The first item is read as the lead-in of an iteration, which would notice by itself.
    lost = next(key for key in bench.keys() if not key.endswith(b":00"))  # noqa: SIM118
    assert bench.client.unlink(lost) == 1
    with pytest.raises(WrongReply, match=message):
        run_blocks(cell, 3)


# Data.


def test_the_same_seed_gives_the_same_data() -> None:
    assert texts(random.Random(3), 4, 20) == texts(random.Random(3), 4, 20)
    assert texts(random.Random(3), 4, 20) != texts(random.Random(4), 4, 20)
    assert {len(text) for text in texts(random.Random(3), 50, 20)} == {20}
    assert {len(text) for text in texts(random.Random(3), 50, [2, 30])} == {2, 30}


def test_keys_have_one_length() -> None:
    assert key_names("k", 11) == [f"k:{number:02d}" for number in range(11)]


def test_zipf_prefers_the_first() -> None:
    chosen = zipf_choices(random.Random(1), list(range(100)), 20_000)
    counts = [chosen.count(number) for number in (0, 1, 9)]
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.1)
    assert counts[0] / counts[2] == pytest.approx(10, rel=0.2)


def test_blocks_are_full() -> None:
    assert blocks_of(range(5), 3) == [[0, 1, 2], [3, 4, 0]]
