"""What may be declared in `CachedManager(versions=…)`, and for whom it counts."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Error
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from redisdict import CachedManager, CachedQuerySet, ConfigurationError, cache_results_of
from redisdict.modelcache.results import versions
from tests.shop.models import Category, Place, Product
from tests.shop.spellings import Mailbox


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("colour",), "'colour', and there is no such field with a column. Possible are: id, "),
        (("tags",), "'tags', and there is no such field"),
    ],
)
def test_what_is_no_column(
    server: str, monkeypatch: pytest.MonkeyPatch, given: Any, says: str
) -> None:
    monkeypatch.setattr(Product._meta.managers_map["objects"], "versions", given)
    where = "CachedManager(versions=…) of shop.Product got "
    with pytest.raises(ConfigurationError, match="CachedManager") as refused:
        cache_results_of(Product)
    assert str(refused.value).startswith(where + says)
    found = [one for one in Product.check() if isinstance(one, Error)]
    assert [(one.id, one.msg) for one in found] == [("redisdict.E102", str(refused.value))]


@pytest.mark.parametrize(
    ("model", "name", "says"),
    [
        (Place, "facts", "a JSONField of django.db.models.fields.json: which of its values"),
        (Place, "at", "a PointField of tests.shop.models: which of its values"),
        (Place, "name_in_capitals", "a GeneratedField of django.db.models.fields.generated:"),
        (Place, "picture", "a FileField of django.db.models.fields.files:"),
        (Mailbox, "address", "a LowercaseField of tests.shop.spellings: which of its values"),
    ],
)
def test_a_column_whose_equality_is_not_known(model: Any, name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match="versions=…") as refused:
        versions._column(model, name)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("category", r"CachedManager\(versions='category'\): a tuple of field names is expected"),
        ((1,), r"CachedManager\(versions=\(1,\)\): 1 is int; names of fields are expected"),
    ],
)
def test_what_is_no_name(given: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        CachedManager(versions=given)


@isolate_apps("tests.shop")
def test_managers_are_inherited_and_copied() -> None:
    class Kind(models.Model):
        colour = models.CharField(max_length=10)
        objects = CachedManager(versions=("colour",))

        class Meta:
            abstract = True
            app_label = "shop"

    class Own(Kind):  # noqa: DJ008  # nobody looks at one
        size = models.IntegerField(default=0)

        class Meta:
            app_label = "shop"

    class Child(Own):  # noqa: DJ008  # as above
        class Meta:
            app_label = "shop"

    assert [field.name for field in versions.declared_columns(Own)] == ["colour"]
    assert versions.declared_columns(Child) == []  # the column is of the parent's table
    assert Child.check() == []


def test_another_alias_has_no_columns(drinks: Category, server: str) -> None:
    """Nobody has declared there that changes be announced."""
    from django.conf import settings

    from redisdict import NotCacheable

    both = {**settings.REDISDICT, "other": settings.REDISDICT["default"]}
    with (
        override_settings(REDISDICT=both),
        pytest.raises(NotCacheable, match="cache_results_of"),
    ):
        list(CachedQuerySet(Product).cached(using="other").filter(category=drinks))
