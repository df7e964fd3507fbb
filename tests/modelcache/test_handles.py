"""A `ModelDict` is a handle: copies and pickles of it are others of the same cache."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import ModelDict
from redisdict.modelcache.registrations import cached_models
from tests.modelcache.conftest import forget_registrations
from tests.modelcache.counting import queries
from tests.shop.models import Product, ProductProxy

AGAIN = pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))],
    ids=["copy", "deepcopy", "pickle"],
)


@AGAIN
def test_another_handle_of_the_same_cache(
    database: str, server: str, again: Callable[[Any], Any]
) -> None:
    by_pk = ModelDict(Product, timeout=60, lease_timeout=2, serve_when_down=False)
    by_slug = ModelDict(Product, key="slug")
    made = Product.objects.create(name="Tea", slug="tea")
    assert by_pk[made.pk] == by_slug["tea"] == made
    others = [again(by_pk), again(by_slug)]
    assert others[0] is not by_pk
    with queries(database) as asked:
        assert others[0][made.pk] == others[1]["tea"] == made
    assert not asked
    assert [repr(other) for other in others] == [repr(by_pk), repr(by_slug)]
    assert others[1]._field is Product._meta.get_field("slug")
    assert others[0]._lookup().lease_ms == 2000
    assert others[0]._lookup()._serves_when_down is False
    made.name = "Coffee"
    made.save()
    assert {rows.name for rows in (others[0][made.pk], others[1]["tea"])} == {"Coffee"}


def test_a_pickle_holds_no_row(database: str, products: ModelDict[Product]) -> None:
    made = Product.objects.create(name="precious")
    assert products[made.pk].name == "precious"
    data = pickle.dumps(products)
    assert b"precious" not in data
    assert len(data) < 500


def test_who_unpickles_has_changes_noticed(database: str, server: str) -> None:
    """As a worker does that is handed the dict and has never imported it."""
    data = pickle.dumps(ModelDict(ProductProxy, strict=True, barrier_timeout=90))
    forget_registrations()
    assert cached_models() == []
    products = pickle.loads(data)
    [cached] = cached_models()
    assert (cached.model, cached.is_strict, cached.barrier_ms) == (ProductProxy, True, 90_000)
    made = Product.objects.create(name="Tea")
    assert products[made.pk].name == "Tea"
    Product.objects.filter(pk=made.pk).update(name="Coffee")
    assert products[made.pk].name == "Coffee"


def test_another_process_unpickles_it(server: str) -> None:
    data = pickle.dumps(ModelDict(Product, key="slug"))
    program = (
        "import django, pickle, sys; django.setup();"
        f"print(pickle.loads(bytes.fromhex({data.hex()!r})));"
        "from redisdict.modelcache.registrations import cached_models; print(len(cached_models()))"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["<ModelDict of shop.Product by slug on 'default'>", "1"]


@AGAIN
def test_a_subclass_stays_one(server: str, again: Callable[[Any], Any]) -> None:
    other = again(Ours(Product))
    assert type(other) is Ours
    assert other.ours == "kept"


class Ours(ModelDict[Product]):
    def __init__(self, model: type[Product]) -> None:
        super().__init__(model)
        self.ours = "kept"
