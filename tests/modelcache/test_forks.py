"""A model cache in a forked child: tokens, rows, counts, changes that the server wasn't told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from redisdict import ModelDict, forks
from redisdict.modelcache.cells import new_token
from redisdict.modelcache.tally import Tally
from redisdict.servers.process import ServerProcess
from tests.forks.forking import FORKS, Child, Fork, fork_in_python
from tests.modelcache.test_outages import own_server, tea, update
from tests.shop.models import Product

__all__ = ["own_server", "tea"]

# Where the parent has another thread, the test forks in Python alone. Of a child that C has forked
# then, the interpreter's lock may count waiters it doesn't have, so it can't rely on threads.


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
    tally = Tally(b"counts")
    tally.hits = 5

    def live() -> tuple[int, int]:
        forks.take_over()
        tally.misses += 1
        return tally.hits, tally.misses

    assert Child(live, fork).result() == (0, 1)
    assert tally.hits == 5


def test_a_child_makes_up_for_what_its_parent_could_not_tell(
    tea: Product, own_server: ServerProcess
) -> None:
    products: ModelDict[Any, Product] = ModelDict(Product)
    assert products[tea.pk].name == "Tea"
    outages = products._view().table.outages
    own_server.kill()
    update(tea, "Coffee")
    assert outages.is_doubtful

    def live() -> None:
        new_token()
        while outages.is_doubtful:  # until its own thread has reached the server
            time.sleep(0.01)

    child = Child(live, fork_in_python)
    own_server.start()
    child.result()
    while outages.is_doubtful:
        time.sleep(0.01)


def test_a_childs_own_changes_are_made_up_for_as_well(
    tea: Product, own_server: ServerProcess
) -> None:
    """The thread that the parent has is not the child's, though Python may call it alive."""
    outages = ModelDict(Product)._view().table.outages
    own_server.kill()
    update(tea, "Coffee")  # so there is a thread

    def live() -> None:
        outages.begin_untold_change(b"a writer", 60)
        outages.end_untold_change(b"a writer")
        while outages.is_doubtful:
            time.sleep(0.01)

    child = Child(live, fork_in_python)
    own_server.start()
    child.result()
    while outages.is_doubtful:
        time.sleep(0.01)
