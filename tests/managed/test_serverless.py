"""ElastiCache serverless, as its documents describe it: a Cluster of one virtual node.

The node has all slots. It refuses long commands, scripts without keys, KEYS, most of CLIENT and
all administration; here it refuses SCAN in a transaction as well, which is said of WATCH alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings
from redis.exceptions import ExecAbortError, MovedError, ResponseError

from redisdict import ModelDict, PersistentDict, cache_results_of
from redisdict.connections.backend import Backend
from redisdict.mapping.catalog import find_dicts
from redisdict.servers.process import ServerProcess, free_port
from redisdict.wire.limits import MOST_ARGUMENTS
from redisdict.wire.packing import unwrap
from redisdict.wire.requests import Batch
from redisdict.wire.scan import ClusterCursor
from tests.conftest import program_for_tests
from tests.managed.service import Command, ManagedService, managed_service
from tests.mapping.conftest import Face
from tests.modelcache.conftest import forget_registrations, shop_in
from tests.near.conftest import make
from tests.shop.models import Product
from tests.waiting import wait_until

REFUSED = {"ACL", "COMMAND", "CONFIG", "DEBUG", "FLUSHDB", "KEYS", "MEMORY", "OBJECT", "WAIT"}
CLIENT = {"GETNAME", "ID", "SETINFO", "SETNAME"}


class Serverless:
    """The rule by which the service refuses."""

    def __init__(self) -> None:
        self._is_in_transaction = False

    def __call__(self, command: Command) -> str | None:
        name = command[0].decode().upper()
        if name in ("MULTI", "EXEC"):
            self._is_in_transaction = name == "MULTI"
        if len(command) > MOST_ARGUMENTS:
            return "ERR too many arguments"
        if name in ("EVAL", "EVALSHA") and command[2] == b"0":
            return "ERR Lua scripts without any input keys are not supported."
        if name == "CLIENT" and command[1].decode().upper() not in CLIENT:
            return f"ERR unknown subcommand '{command[1].decode()}'"
        if name == "SCAN" and self._is_in_transaction:
            return "ERR SCAN is not allowed in a transaction"
        return f"ERR unknown command '{name}'" if name in REFUSED else None


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[ServerProcess, int]]:
    """A node of a Cluster that announces the port of the service; and that port."""
    port = free_port()
    arguments = [
        *("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"),
        *("--cluster-announce-port", str(port)),
    ]
    with ServerProcess(program_for_tests("valkey"), arguments=arguments) as server:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        yield server, port


@pytest.fixture
def serverless(node: tuple[ServerProcess, int]) -> Iterator[ManagedService]:
    server, port = node
    with managed_service(server.port, Serverless(), ("127.0.0.1", port)) as service:
        yield service


def location_of(service: ManagedService) -> str:
    return f"redis+cluster://{service.host}:{service.port}"


@pytest.mark.parametrize("hset_enabled", [True, False], ids=["hash", "keys"])
def test_dicts(
    serverless: ManagedService,
    open_backend: Callable[..., Backend],
    runner: asyncio.Runner | None,
    hset_enabled: bool,
) -> None:
    backend = open_backend(location_of(serverless), OPTIONS={"dynamic_startup_nodes": False})
    mapping: PersistentDict[str, int] = PersistentDict("d", backend, hset_enabled, shards=4)
    face = Face(mapping, runner)
    items = {str(number): number for number in range(9000)}
    face.set_many(items)
    assert face.get_many(items) == items
    assert dict(face.items()) == items
    face.set("a", 1, timeout=3600)
    assert face.incr("a") == 2
    assert face.get_or_set("b", lambda: 5) == 5
    assert face.transform("b", lambda value: value + 1) == 6
    assert face.len() == 9002
    assert face.pop("b") == 6
    if runner is None:
        page = backend.driver.run(find_dicts(backend.config.key_prefix, b"0"))
        assert {one.path for one in page.dicts} <= {("d",)}
    face.clear()
    assert face.len() == 0
    assert {*serverless.names} & REFUSED == set()
    if runner is not None:
        runner.run(backend.aclose())


def test_near_is_off(serverless: ManagedService, open_backend: Callable[..., Backend]) -> None:
    mapping = make(open_backend(location_of(serverless)))
    mapping["a"] = 1
    assert mapping["a"] == 1

    def reason() -> str:
        mapping.get("a")
        return str(mapping.near_stats().reason)

    wait_until(lambda: "CLIENT TRACKING" in reason())


def test_model_dicts(
    shop_alias: str,
    django_db_blocker: Any,
    serverless: ManagedService,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    aliases = {"default": alias_for(location_of(serverless))}
    with shop_in(shop_alias, django_db_blocker), override_settings(REDISDICT=aliases):
        try:
            made = Product.plain.bulk_create(Product(name=f"{number}") for number in range(2500))
            products = ModelDict(Product, shards=4)
            cache_results_of(Product)
            keys = [product.pk for product in made]
            for _ in range(2):
                assert len(products.get_many(keys)) == len(keys)
            first = products[keys[0]]
            first.name = "Tea"
            first.save()
            assert products[keys[0]].name == "Tea"
            assert [each.pk for each in Product.objects.filter(name="Tea").cached()] == [keys[0]]
        finally:
            forget_registrations()


def test_cursors_of_any_length() -> None:
    for place in (1, 2**48 + 7, 2**64 - 1):
        cursor = ClusterCursor(place, 16383)
        assert ClusterCursor.parse(bytes(cursor)) == cursor


def test_what_a_transaction_is_refused_for_is_told() -> None:
    """But not what another node has, or this one has in a moment."""
    refusal, aborted = ResponseError("SCAN is not allowed"), ExecAbortError("discarded")
    batch = Batch([(b"SCAN", b"0")], is_atomic=True)
    assert unwrap(batch, [b"OK", refusal, aborted]) is refusal
    assert unwrap(batch, [b"OK", MovedError("1 127.0.0.1:7"), aborted]) is aborted
    assert unwrap(batch, [b"OK", b"QUEUED", aborted]) is aborted
    assert unwrap(batch, [b"OK", b"QUEUED", [1]]) == [1]
