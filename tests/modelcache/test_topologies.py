"""A model cache on servers of other kinds: a Cluster, sentinels, a server that makes sure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings

from redisdict import ModelDict, NoReplica
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.conftest import program_for_tests
from tests.modelcache.conftest import forget_registrations
from tests.modelcache.counting import queries
from tests.shop.models import Product, Stamp
from tests.waiting import wait_until

Alias = Callable[..., dict[str, Any]]

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture(params=["cluster", "sentinel"])
def location(request: pytest.FixtureRequest) -> str:
    topology: ClusterTopology | SentinelTopology = request.getfixturevalue(request.param)
    return topology.location


@pytest.fixture
def group(location: str, alias_for: Alias) -> Iterator[None]:
    with override_settings(REDISDICT={"default": alias_for(location)}):
        yield
    forget_registrations()


@on_sqlite
def test_everything_works_on_a_group_of_servers(database: str, group: None) -> None:
    products, stamps = ModelDict(Product), ModelDict(Stamp)
    by_slug = ModelDict(Product, key="slug")
    made = Product.objects.bulk_create(
        [Product(name=f"Tea {n}", slug=f"tea-{n}") for n in range(60)]
    )
    stamp = Stamp.objects.create(code="x")
    pks = [one.pk for one in made]
    assert products.get_many(pks) == {one.pk: one for one in made}
    assert by_slug["tea-3"] == made[3]
    assert stamps["x"] == stamp
    with queries(database) as asked:
        assert products.get_many(pks)
        assert by_slug["tea-3"]
        assert sorted(products) == pks
    assert not asked
    with transaction.atomic(using=database):
        Product.objects.filter(stock=0).update(name="Coffee")
        stamp.worth = 2
        stamp.save()
    assert {row.name for row in products.get_many(pks).values()} == {"Coffee"}
    assert stamps["x"].worth == 2
    products.clear()
    assert list(products) == []
    assert products.stats().fills >= 40


@on_sqlite
async def test_tasks_on_a_group_of_servers(database: str, group: None) -> None:
    products = ModelDict(Product)
    made = await Product.objects.acreate(name="Tea")
    assert (await products.agetitem(made.pk)).name == "Tea"
    await Product.objects.filter(pk=made.pk).aupdate(name="Coffee")
    assert (await products.agetitem(made.pk)).name == "Coffee"
    assert [key async for key in products] == [made.pk]


@on_sqlite
def test_a_replica_that_takes_over_is_not_believed(database: str, alias_for: Alias) -> None:
    """It may not have got the last invalidations."""
    topology = SentinelTopology(program_for_tests("redis"), down_after_ms=500)
    with topology, override_settings(REDISDICT={"default": alias_for(topology.location)}):
        products = ModelDict(Product)
        tea = Product.objects.create(name="Tea")
        assert products[tea.pk].name == "Tea"
        key = products._lookup().table.key(tea.pk)
        for replica in topology.replicas:
            with replica.client() as client:
                wait_until(lambda client=client: client.get(key))
        topology.primary.kill()
        # As if it had been announced right before the end, and no replica had heard of it.
        Product.plain.filter(pk=tea.pk).update(name="Coffee")
        assert products[tea.pk].name == "Coffee"
        with topology.current_primary().client() as client:
            assert b"Tea" not in (client.get(key) or b"")
        forget_registrations()


@on_sqlite
def test_changes_are_announced_as_safely_as_the_alias_says(
    database: str, alias_for: Alias, caplog: pytest.LogCaptureFixture
) -> None:
    """With DURABLE "replicas", and without one, no change can be announced."""
    with ServerProcess(program_for_tests("redis")) as server:
        values = alias_for(server.url, DURABLE="replicas")
        with override_settings(REDISDICT={"default": values}):
            products = ModelDict(Product)
            tea = Product.objects.create(name="Tea")
            caplog.clear()
            assert products[tea.pk].name == "Tea"  # reads don't wait
            assert "no replica is connected" not in caplog.text
            Product.objects.filter(pk=tea.pk).update(name="Coffee")
            assert "no replica is connected" in caplog.text
            assert products[tea.pk].name == "Coffee"
        forget_registrations()


@on_sqlite
@pytest.mark.parametrize("strict", [False, True])
def test_a_change_that_can_be_lost_is_announced_unless_it_must_not_be_made(
    database: str, alias_for: Alias, strict: bool
) -> None:
    """Others read on the server that has lost its replicas: no old row may stay there."""
    with ServerProcess(program_for_tests("redis")) as server, server.client() as client:
        values = alias_for(server.url)
        with override_settings(REDISDICT={"default": values}):
            tea = Product.objects.create(name="Tea")
            assert ModelDict(Product)[tea.pk].name == "Tea"
        forget_registrations()
        with override_settings(REDISDICT={"default": values | {"DURABLE": "replicas"}}):
            products = ModelDict(Product, strict=strict)
            key = products._lookup().table.key(tea.pk)
            seen: list[bool] = []

            def look(execute: Any, sql: str, *arguments: Any) -> Any:
                if sql.startswith("UPDATE"):
                    seen.append(b"Tea" in (client.get(key) or b""))
                return execute(sql, *arguments)

            before = client.get(key)
            assert b"Tea" in (before or b"")
            with connections[database].execute_wrapper(look):
                if strict:
                    with pytest.raises(NoReplica):
                        Product.objects.filter(pk=tea.pk).update(name="Coffee")
                    assert client.get(key) == before
                else:
                    Product.objects.filter(pk=tea.pk).update(name="Coffee")
            assert seen == ([] if strict else [False])
            assert products[tea.pk].name == ("Tea" if strict else "Coffee")
        forget_registrations()
