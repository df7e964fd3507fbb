"""What is computed while the server can't be reached, or wasn't told of a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from redisdict import ComputedDict
from redisdict.exceptions import BackendUnavailable
from tests.modelcache.changes import update
from tests.modelcache.computed_dict.conftest import Menu
from tests.shop.models import Product
from tests.waiting import wait_until


def test_without_the_server(
    menu: ComputedDict[list[str]], compute: Menu, alias_for: Callable[..., dict[str, Any]]
) -> None:
    nowhere = alias_for("redis://127.0.0.1:1/0")
    with override_settings(REDISDICT={"default": nowhere}):
        assert menu["Drinks"] == ["Tea"]
        assert menu["Drinks"] == ["Tea"]
        assert compute.computed == 3
        strict = ComputedDict(
            "menu", depends_on=[Product], compute=compute, serve_when_down=False, strict=True
        )
        with pytest.raises(BackendUnavailable):
            _ = strict["Drinks"]
        with pytest.raises(BackendUnavailable):
            update()
    assert Product.objects.get().name == "Tea"


def test_what_the_server_was_not_told_of_is_not_believed(
    server: str, database: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    names = ComputedDict(
        "names",
        depends_on=[Product],
        compute=lambda: list(Product.objects.values_list("name", flat=True)),
    )
    assert names.get() == []
    [cached] = names._dependencies.models
    table = cached.table(database)
    table.outages.begin_untold_change(b"a change", 60)
    Product.objects.create(name="Tea")
    assert names.get() == ["Tea"]
    table.outages.end_untold_change(b"a change")
    wait_until(lambda: table.outages.is_calm or names.get() == ["Tea"])
    assert names.get() == ["Tea"]
