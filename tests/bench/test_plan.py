"""Which cells a run has, what each is compared with, and in what order."""

from __future__ import annotations

from dataclasses import replace

from redisdict.bench.choices import Table
from redisdict.bench.measure.services import KNOWN
from redisdict.bench.operations import WORKLOADS
from redisdict.bench.plan import plan, time_budget
from redisdict.bench.spec import PRESETS, VARIANTS, Role

REDIS, _KEYDB, _DRAGONFLY, VALKEY, SENTINEL, CLUSTER = KNOWN

QUICK = PRESETS["quick"]

#: Of the pools that raise instead of waiting, one a mode.
POOL_NAMES = ("AsyncConnectionPool", "ConnectionPool")


def rows(spec=QUICK, services=(REDIS, VALKEY, SENTINEL)):
    groups = plan(spec, services)
    return [
        (cell.service, cell.mode, cell.pool)
        for group in groups
        for cell in group.measured
        if cell.table is Table.POOLS and cell.operation == "GET"
    ]


def test_rows_are_those_of_the_report_in_its_order() -> None:
    assert rows() == [
        ("Standard Redis", "ASYNC", "AsyncConnectionPool"),
        ("Standard Redis", "ASYNC", "AsyncBlockingConnectionPool"),
        ("Standard Redis", "ASYNC", "OptimizedAsyncConnectionPool"),
        ("Standard Redis", "SYNC", "ConnectionPool"),
        ("Standard Redis", "SYNC", "BlockingConnectionPool"),
        ("Valkey", "ASYNC", "AsyncConnectionPool"),
        ("Valkey", "ASYNC", "AsyncBlockingConnectionPool"),
        ("Valkey", "ASYNC", "OptimizedAsyncConnectionPool"),
        ("Valkey", "SYNC", "ConnectionPool"),
        ("Valkey", "SYNC", "BlockingConnectionPool"),
        ("Redis Sentinel", "ASYNC", "Default"),
        ("Redis Sentinel", "SYNC", "Default"),
    ]


def test_each_service_has_a_group_and_the_dict_one_on_the_first() -> None:
    groups = plan(QUICK, [REDIS, VALKEY])
    assert [group.name for group in groups] == [
        "Standard Redis: pools",
        "Valkey: pools",
        "Standard Redis: dict",
        "Standard Redis: iterations",
    ]


def test_every_group_has_the_reference_row_of_the_first_service_and_its_twin() -> None:
    for group in plan(QUICK, [REDIS, VALKEY])[:2]:
        assert len(group.twins) == 4
        for cell in [*group.measured, *group.twins]:
            reference = group.references[cell]
            assert reference in group.cells
            assert (reference.service, reference.mode, reference.pool, reference.operation) == (
                "Standard Redis", "SYNC", "ConnectionPool", cell.operation,
            )  # fmt: skip


def test_asynchronous_rows_have_an_asynchronous_call_that_other_runs_are_compared_through() -> None:
    first, second, of_dict, iterations = plan(QUICK, [REDIS, VALKEY])
    for group in (first, second, of_dict):
        crossing = [cell for cell in group.measured if cell.mode == "ASYNC"]
        for cell in crossing:
            if (cell.service, cell.pool, cell.variant) == ("Standard Redis", POOL_NAMES[0], ""):
                assert cell not in group.alike
                continue
            alike = group.alike[cell]
            assert alike in group.cells
            assert (alike.service, alike.mode, alike.pool, alike.operation) == (
                "Standard Redis", "ASYNC", "AsyncConnectionPool", cell.operation.upper(),
            )  # fmt: skip
        assert {cell.mode for cell in group.alike} == {"ASYNC"}
    assert not iterations.alike


def test_the_reference_row_is_measured_once_where_it_is_a_row_of_the_table() -> None:
    first, second, *_ = plan(QUICK, [REDIS, VALKEY])
    assert sum(cell.role is Role.REFERENCE for cell in first.cells) == 0
    assert sum(cell.role is Role.REFERENCE for cell in second.cells) == 4 + 4
    assert len(first.cells) == len(set(first.cells)) == 5 * 4 + 4


def test_the_reference_is_measured_even_when_it_was_not_selected() -> None:
    spec = replace(QUICK, modes=("ASYNC",), operations=("GET",), tables=(Table.POOLS,))
    (group,) = plan(spec, [REDIS])
    assert {cell.mode for cell in group.measured} == {"ASYNC"}
    assert {group.references[cell].mode for cell in group.measured} == {"SYNC"}


def test_sentinel_first_is_its_own_reference() -> None:
    group = plan(replace(QUICK, tables=(Table.POOLS,)), [SENTINEL])[0]
    assert {reference.pool for reference in group.references.values()} == {"Default"}


def test_named_pools_apply_to_sentinel_too() -> None:
    spec = replace(QUICK, pools=("BlockingConnectionPool",), tables=(Table.POOLS,))
    assert rows(spec, [REDIS, SENTINEL]) == [
        ("Standard Redis", "SYNC", "BlockingConnectionPool"),
        ("Redis Sentinel", "SYNC", "BlockingConnectionPool"),
    ]


def test_dict_cells_are_compared_with_the_bare_commands_and_iterations_with_one_another() -> None:
    groups = plan(replace(QUICK, tables=(Table.DICT,)), [REDIS])
    for group in groups:
        assert {cell.variant for cell in group.measured} == {
            "Sync (HSET)", "Sync (No HSET)", "Async (HSET)", "Async (No HSET)",
        }  # fmt: skip
    compared = {
        cell.operation: group.references[cell] for group in groups for cell in group.measured
    }
    assert {name: cell.operation for name, cell in compared.items()} == {
        "Set": "SET", "Get": "GET", "Del": "DEL", "Iter": "Iter", "Items": "Items",
    }  # fmt: skip
    assert compared["Get"].pool == "ConnectionPool"
    assert compared["Iter"].variant == "Sync (HSET)"
    assert compared["Iter"].role is Role.MEASURED
    assert [[twin.operation for twin in group.twins] for group in groups] == [
        ["SET", "GET", "DEL"],
        ["Iter", "Items"],
    ]


def test_named_workloads_are_the_only_ones() -> None:
    for operations, expected in (
        (("GET ZIPF",), set()),
        (("GET zipf", "CONNECT"), {"GET zipf", "CONNECT"}),
        (("PIPE",), {"PIPE MULTI"}),
        ((), set(WORKLOADS)),
    ):
        spec = replace(QUICK, tables=(Table.WORKLOADS,), operations=operations)
        groups = plan(spec, [REDIS])
        assert {cell.operation for group in groups for cell in group.measured} == expected


def test_the_dict_uses_the_selected_pool_and_leaves_out_modes_without_one() -> None:
    spec = replace(QUICK, pools=("AsyncBlockingConnectionPool",), tables=(Table.DICT,))
    group = plan(spec, [REDIS])[0]
    assert {(cell.mode, cell.pool) for cell in group.measured} == {
        ("ASYNC", "AsyncBlockingConnectionPool")
    }


def test_concurrency_compares_pools_of_one_mode_with_few_and_many_connections() -> None:
    spec = replace(QUICK, tables=(Table.CONCURRENCY,), concurrency=(10,), connections=(5, 64))
    tasks, threads = plan(spec, [REDIS])
    assert (tasks.name, threads.name) == ("Standard Redis: 10 tasks", "Standard Redis: 10 threads")
    assert {cell.mode for cell in threads.measured} == {"SYNC"}
    assert {cell.connections for cell in threads.measured} == {5, 64}
    assert {(cell.operation, cell.variant) for cell in threads.measured} == {
        ("SET", ""), ("GET", ""), ("Set", "Sync (HSET)"), ("Get", "Sync (HSET)"),
    }  # fmt: skip
    references = {threads.references[cell] for cell in threads.measured}
    assert {(one.pool, one.connections) for one in references} == {("ConnectionPool", 64)}


def test_a_pool_that_refuses_is_left_out_where_it_has_too_few_connections() -> None:
    spec = replace(QUICK, tables=(Table.CONCURRENCY,), concurrency=(10,), connections=(5, 10))
    for group, pool in zip(plan(spec, [REDIS]), POOL_NAMES, strict=True):
        assert {(cell.pool, cell.connections) for cell in group.left_out} == {(pool, 5)}
        assert all("one for each worker" in reason for reason in group.left_out.values())
        assert not set(group.left_out) & set(group.cells)
        assert set(group.left_out) < set(group.rows)


def test_workloads_are_compared_with_the_plain_command() -> None:
    spec = replace(QUICK, tables=(Table.WORKLOADS,))
    (group,) = plan(spec, [REDIS])
    compared = {cell.operation: group.references[cell].operation for cell in group.measured}
    assert compared["SET 10 kB"] == "SET"
    assert compared["MIX 80/20"] == "GET"
    assert compared["PIPE MULTI"] == "PIPE"


def test_a_cluster_is_measured_by_its_own_pools_and_never_where_pools_are_compared() -> None:
    everything = replace(PRESETS["standard"], tables=tuple(Table))
    groups = plan(everything, [CLUSTER])
    assert {cell.table for group in groups for cell in group.measured} == {Table.POOLS, Table.DICT}
    assert {(cell.mode, cell.pool) for cell in groups[0].measured} == {
        ("ASYNC", "Default"), ("SYNC", "Default"),
    }  # fmt: skip
    assert {cell.variant for cell in groups[1].measured} == set(VARIANTS)
    compared = [
        cell
        for group in plan(everything, [CLUSTER, REDIS])
        for cell in group.measured
        if cell.table in (Table.CONCURRENCY, Table.WORKLOADS)
    ]
    assert {cell.service for cell in compared} == {REDIS.title}
    assert {cell.table for cell in compared} == {Table.CONCURRENCY, Table.WORKLOADS}


def test_nothing_to_measure_is_no_group() -> None:
    assert plan(QUICK, []) == ()
    assert plan(replace(QUICK, operations=("ITER",), tables=(Table.POOLS,)), [REDIS]) == ()


def test_long_blocks_weigh_more() -> None:
    pools, _, items = plan(QUICK, [REDIS])
    assert time_budget(items, replace(QUICK, iteration_items=5000)) > time_budget(items, QUICK)
    assert time_budget(pools, QUICK) > 20
