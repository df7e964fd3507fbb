"""`manage.py check` finds what would make a ModelDict stale."""

from __future__ import annotations

import pytest
from django.core.checks import CheckMessage
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from redisdict import CachedManager, CachedQuerySet, ModelDict
from redisdict.modelcache import relations, tables
from redisdict.modelcache.checks import _check_managers, _check_registration, check_cached_models
from tests.modelcache.conftest import forget_registrations
from tests.shop.models import Announced, Product, Stamp


@pytest.fixture(autouse=True)
def _forgotten() -> object:
    yield
    forget_registrations()


def found(messages: list[CheckMessage]) -> set[tuple[str, str]]:
    return {(str(message.id), message.obj._meta.label) for message in messages}


@override_settings(REDISDICT={"default": {"LOCATION": "redis://127.0.0.1:1"}})
def test_managers_that_tell_nobody() -> None:
    assert check_cached_models(None) == []
    ModelDict(Product)
    assert check_cached_models(None) == []
    ModelDict(Stamp)
    [message] = [each for each in check_cached_models(None) if each.obj is Stamp]
    assert message.id == "redisdict.W101"
    assert message.msg == (
        "Rows of shop.Stamp are kept by a ModelDict, but its default manager isn't a"
        " CachedManager: update(), bulk_update() and bulk_create() go unnoticed."
    )
    assert "objects = CachedManager()" in (message.hint or "")


@isolate_apps("tests.shop")
def test_the_base_manager() -> None:
    class Own(CachedQuerySet[models.Model]):
        pass

    class Pointing(models.Model):  # noqa: DJ008  # there are no instances
        stamp = models.ForeignKey(Stamp, models.CASCADE)
        objects = CachedManager.from_queryset(Own)()

        class Meta:
            app_label = "shop"

    class Alone(models.Model):  # noqa: DJ008  # there are no instances
        objects = CachedManager()

        class Meta:
            app_label = "shop"

    [message] = _check_managers(Pointing)
    assert message.id == "redisdict.W102"
    assert list(_check_managers(Alone)) == []


@override_settings(REDISDICT={})
def test_an_alias_that_is_not_there() -> None:
    ModelDict(Announced)
    assert ("redisdict.E101", "shop.Announced") in found(check_cached_models(None))


@isolate_apps("tests.shop")
@override_settings(REDISDICT={"default": {"LOCATION": "redis://127.0.0.1:1"}})
def test_tables_of_others() -> None:
    class View(models.Model):  # noqa: DJ008  # there are no instances
        class Meta:
            app_label = "shop"
            managed = False

    cached = tables.register(View, "default", is_strict=False, barrier_ms=1)
    [message] = _check_registration(cached)
    assert message.id == "redisdict.W103"
    assert "isn't managed by Django" in message.msg
    relations.forget()


def test_the_check_is_registered() -> None:
    from django.core.checks.registry import registry

    assert check_cached_models in registry.get_checks()
