"""While the server is away the database answers; what was changed meanwhile isn't believed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from redisdict import BackendUnavailable, ModelDict
from redisdict.conf import parse_alias
from redisdict.connections import registry
from redisdict.connections.backend import Backend
from redisdict.modelcache import outages
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests
from tests.modelcache.conftest import forget_registrations
from tests.modelcache.counting import queries
from tests.shop.models import Product
from tests.waiting import LIMIT_S, wait_until

Kept = Callable[[], Any]


@pytest.fixture
def own_server(
    request: pytest.FixtureRequest,
    alias_for: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ServerProcess]:
    """A server that the test may kill, which writes every change to its disk at once.

    Readers of the test try it again at once, too. Its parameter is how long they wait for it.
    """
    monkeypatch.setattr(outages, "REST_S", 0.0)
    arguments = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
    with ServerProcess(program_for_tests("redis"), listen="tcp", arguments=arguments) as process:
        values = alias_for(
            process.url, OPTIONS={"socket_timeout": getattr(request, "param", LIMIT_S)}
        )
        with override_settings(REDISDICT={"default": values}):
            yield process
            forget_registrations()


@pytest.fixture
def tea(database: str, own_server: ServerProcess) -> Product:
    return Product.objects.create(name="Tea")


@contextmanager
def hung(server: ServerProcess) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def save(tea: Product, name: str) -> None:
    tea.name = name
    tea.save()


def save_in_transaction(tea: Product, name: str) -> None:
    with transaction.atomic(using=tea._state.db):
        save(tea, name)


def update(tea: Product, name: str) -> None:
    Product.objects.filter(pk=tea.pk).update(name=name)


#: For tests in which it hangs; more often than there it may seem to on a busy machine.
hangs = pytest.mark.parametrize("own_server", [0.3], indirect=True, ids=["hangs"])

WAYS = pytest.mark.parametrize("change", [save, save_in_transaction, update])


@WAYS
def test_the_database_answers_while_the_server_is_gone(
    tea: Product, own_server: ServerProcess, change: Callable[[Product, str], None]
) -> None:
    products = ModelDict(Product)
    assert products[tea.pk].name == "Tea"
    own_server.kill()
    assert products[tea.pk].name == "Tea"
    assert products.get_many([tea.pk])[tea.pk].name == "Tea"
    change(tea, "Coffee")
    assert products[tea.pk].name == "Coffee"
    own_server.start()
    assert products[tea.pk].name == "Coffee"
    assert_is_kept(products, tea)


def assert_is_kept(products: ModelDict[Product], tea: Product) -> None:
    """Soon: a barrier of the outage may still be there, or the repair be under way."""

    def is_kept() -> bool:
        with queries(tea._state.db or "") as asked:
            assert products.get(tea.pk) is not None
        return not asked

    wait_until(is_kept)


def test_the_server_goes_back_in_time(
    tea: Product, own_server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed, and its disk has an older state than what it had told: nothing of it counts."""
    products = ModelDict(Product)
    assert products[tea.pk].name == "Tea"
    folder = own_server.directory
    saved = {path: path.read_bytes() for path in folder.rglob("*") if ".aof" in path.name}
    assert saved
    save(tea, "Coffee")
    own_server.kill()
    for path, content in saved.items():
        path.write_bytes(content)
    registry.close_all()
    own_server.start()
    client = own_server.client()
    stored: Any = client.get(products._lookup().table.key(tea.pk))
    assert b"Tea" in stored
    assert products[tea.pk].name == "Coffee"
    assert_is_kept(products, tea)
    client.close()


@hangs
@pytest.mark.each_value_once("change")
@WAYS
def test_a_hung_server_is_told_before_it_is_believed(
    tea: Product, own_server: ServerProcess, change: Callable[[Product, str], None]
) -> None:
    products = ModelDict(Product, barrier_timeout=1)
    assert products[tea.pk].name == "Tea"
    with hung(own_server):
        change(tea, "Coffee")
        assert products[tea.pk].name == "Coffee"
    assert products[tea.pk].name == "Coffee"
    assert_is_kept(products, tea)
    assert products[tea.pk].name == "Coffee"


@hangs
def test_others_are_told_without_a_read_here(
    tea: Product, own_server: ServerProcess, alias_for: Callable[..., dict[str, Any]]
) -> None:
    products = ModelDict(Product)
    assert products[tea.pk].name == "Tea"
    with hung(own_server):
        update(tea, "Coffee")
    table = products._lookup().table
    wait_until(lambda: not table.outages.is_doubtful)
    # As another process does.
    with closing(Backend(parse_alias("other", alias_for(own_server.url)))) as other:
        answers = other.driver.run(table.store.read([table.key(tea.pk)], b"x" * 16, 0))
    assert b"Tea" not in bytes(str(answers[0]), "utf-8")


@WAYS
def test_a_strict_models_change_fails(
    tea: Product, own_server: ServerProcess, change: Callable[[Product, str], None]
) -> None:
    products = ModelDict(Product, strict=True)
    assert products[tea.pk].name == "Tea"
    own_server.kill()
    with pytest.raises(BackendUnavailable):
        change(tea, "Coffee")
    assert Product.objects.get(pk=tea.pk).name == "Tea"
    own_server.start()
    change(tea, "Coffee")
    assert products[tea.pk].name == "Coffee"


def test_reads_can_be_made_to_fail_too(tea: Product, own_server: ServerProcess) -> None:
    products = ModelDict(Product, serve_when_down=False)
    assert products[tea.pk].name == "Tea"
    own_server.kill()
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            products[tea.pk]
        with pytest.raises(BackendUnavailable):
            products.get_many([tea.pk])
    own_server.start()
    assert products[tea.pk].name == "Tea"


async def test_tasks(tea: Product, own_server: ServerProcess) -> None:
    products = ModelDict(Product)
    assert (await products.agetitem(tea.pk)).name == "Tea"
    own_server.kill()
    assert (await products.agetitem(tea.pk)).name == "Tea"
    await Product.objects.filter(pk=tea.pk).aupdate(name="Coffee")
    assert (await products.aget_many([tea.pk]))[tea.pk].name == "Coffee"
    own_server.start()
    assert (await products.agetitem(tea.pk)).name == "Coffee"
    assert (await products.agetitem(tea.pk)).name == "Coffee"


@hangs
def test_readers_leave_a_failing_server_alone_for_a_moment(
    tea: Product, own_server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = ModelDict(Product)
    assert products[tea.pk].name == "Tea"
    table = products._lookup().table
    before = table.counters.outages
    monkeypatch.setattr(outages, "REST_S", 60.0)
    with hung(own_server):
        assert products[tea.pk].name == "Tea"

        def refuse(*_: Any, **__: Any) -> Any:
            pytest.fail("the server was asked")

        with monkeypatch.context() as patch:
            for way in ("execute", "get_connection"):
                patch.setattr(type(table.backend.pool()), way, refuse)
            for _ in range(20):
                assert products[tea.pk].name == "Tea"
    assert table.counters.outages == before + 1


def test_a_server_without_memory_is_no_cache(tea: Product, own_server: ServerProcess) -> None:
    products = ModelDict(Product)
    with own_server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        assert products[tea.pk].name == "Tea"
        save(tea, "Coffee")
        assert products[tea.pk].name == "Coffee"
        client.config_set("maxmemory", 0)
    assert products[tea.pk].name == "Coffee"
    assert_is_kept(products, tea)


def test_a_change_under_way_keeps_the_table_in_doubt(
    tea: Product, own_server: ServerProcess
) -> None:
    """The repair must not come before the commit that it is for."""
    products = ModelDict(Product)
    assert products[tea.pk].name == "Tea"
    table = products._lookup().table
    table.outages.begin_untold_change(b"a writer", 60)
    assert table.backend.driver.run(table.outages.recover()) is False
    with queries(tea._state.db or "") as asked:
        assert products[tea.pk].name == "Tea"
    assert asked
    table.outages.end_untold_change(b"a writer")
    assert_is_kept(products, tea)


def test_a_change_that_never_ends_counts_as_ended_after_its_time(
    tea: Product, own_server: ServerProcess
) -> None:
    products = ModelDict(Product)
    assert products[tea.pk].name == "Tea"
    products._lookup().table.outages.begin_untold_change(b"a writer", 0.05)
    time.sleep(0.1)
    assert_is_kept(products, tea)


def test_the_repairer_ends(tea: Product, own_server: ServerProcess) -> None:
    ModelDict(Product)
    own_server.kill()
    update(tea, "Coffee")
    own_server.start()
    wait_until(lambda: not any("repair" in thread.name for thread in threading.enumerate()))
