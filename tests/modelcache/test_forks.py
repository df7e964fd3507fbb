"""A model cache in a forked child: tokens, rows, counts, changes that the server wasn't told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisdict import ModelDict, forks
from redisdict.modelcache.outages import Outages
from redisdict.modelcache.slots.store import new_token
from redisdict.modelcache.stats import Counters
from redisdict.servers.process import ServerProcess
from tests.forks.forking import FORKS, Child, Fork
from tests.modelcache.test_outages import own_server, tea, update
from tests.shop.models import Product

__all__ = ["own_server", "tea"]


@pytest.fixture(params=FORKS)
def fork(request: pytest.FixtureRequest) -> Fork:
    """The test forks once in C and once in Python."""
    return FORKS[request.param]


def test_tokens_of_all_descendants_differ(fork: Fork) -> None:
    def live() -> list[bytes]:
        child = Child(lambda: [new_token() for _ in range(3)], fork)
        return [new_token() for _ in range(3)] + child.result()

    children = [Child(live, fork) for _ in range(3)]
    tokens = [new_token() for _ in range(3)]
    tokens += [token for child in children for token in child.result()]
    assert len(set(tokens)) == 3 + 3 * 6


def test_rows_are_read_side_by_side(tea: Product, own_server: ServerProcess, fork: Fork) -> None:
    products: ModelDict[Any, Product] = ModelDict(Product)
    teas = [Product.objects.create(name=f"Tea {number}") for number in range(20)]
    names = {each.pk: each.name for each in teas}
    assert {pk: row.name for pk, row in products.get_many(names).items()} == names

    def wrong() -> int:
        return sum(products[pk].name != name for _ in range(20) for pk, name in names.items())

    children = [Child(wrong, fork) for _ in range(3)]
    assert wrong() == 0
    assert [child.result() for child in children] == [0, 0, 0]


def test_what_the_parent_counted_is_counted_once(fork: Fork) -> None:
    counters = Counters(b"counts")
    counters.hits = 5

    def live() -> tuple[int, int]:
        forks.take_over()
        counters.misses += 1
        return counters.hits, counters.misses

    assert Child(live, fork).result() == (0, 1)
    assert counters.hits == 5


@pytest.fixture
def parked(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Thread]:
    """A thread that waits, in the place of each that the parent would start to mend an outage.

    One at work might hold locks of Python's own at the moment of a fork in C, which no child of
    that fork could ever get.
    """
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait)
    thread.start()

    def park(outages: Outages) -> None:
        outages._repairer = thread

    with monkeypatch.context() as patch:
        patch.setattr(Outages, "_start_repairer", park)
        yield thread
    is_over.set()
    thread.join()


def in_child(live: Callable[[], None]) -> Callable[[], None]:
    """The same with the real method again."""

    def run() -> None:
        Outages._start_repairer = START_REPAIRER  # type: ignore[method-assign]  # as it was
        live()

    return run


START_REPAIRER = Outages._start_repairer


@pytest.mark.usefixtures("parked")
def test_a_child_makes_up_for_what_its_parent_could_not_tell(
    tea: Product, own_server: ServerProcess
) -> None:
    products: ModelDict[Any, Product] = ModelDict(Product)
    assert products[tea.pk].name == "Tea"
    table = products._lookup().table
    own_server.kill()
    update(tea, "Coffee")
    assert table.outages.is_doubtful

    def live() -> None:
        new_token()
        while table.outages.is_doubtful:  # until its own thread has reached the server
            time.sleep(0.01)

    child = Child(in_child(live))
    own_server.start()
    child.result()
    assert table.backend.driver.run(table.outages.recover())


def test_a_childs_own_changes_are_made_up_for_as_well(
    tea: Product, own_server: ServerProcess, parked: threading.Thread
) -> None:
    """The thread that the parent has is not the child's, though Python calls it alive there."""
    table = ModelDict(Product)._lookup().table
    table.outages._repairer = parked

    def live() -> None:
        assert parked.is_alive()
        table.outages.begin_untold_change(b"a writer", 60)
        table.outages.end_untold_change(b"a writer")
        while table.outages.is_doubtful:
            time.sleep(0.01)

    Child(in_child(live)).result()
    table.outages._repairer = None
