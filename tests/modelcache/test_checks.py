"""`manage.py check` finds what would make a ModelDict stale."""

from __future__ import annotations

import pytest
from django.core.checks import CheckMessage
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from redisdict import ModelDict
from redisdict.checks import check_model_dicts
from redisdict.modelcache import registrations
from redisdict.modelcache.invalidation import relations
from redisdict.modelcache.options import Options
from redisdict.modelcache.overview import _check_registration, check_cached_models
from tests.logs import logged_by
from tests.modelcache.conftest import forget_registrations
from tests.shop.models import Announced, Product, Stamp


@pytest.fixture(autouse=True)
def _forgotten() -> object:
    yield
    forget_registrations()


def found(messages: list[CheckMessage]) -> set[tuple[str, str]]:
    return {(str(message.id), message.obj._meta.label) for message in messages}


@override_settings(REDISDICT={"default": {"LOCATION": "redis://127.0.0.1:1"}})
def test_no_manager_is_a_fault() -> None:
    assert check_cached_models(None) == []
    ModelDict(Product)
    ModelDict(Stamp)  # its manager is Django's
    assert found(check_cached_models(None)) == {
        ("redisdict.W104", "shop.Product"),
        ("redisdict.W104", "shop.Stamp"),
    }


@override_settings(REDISDICT={"default": {"LOCATION": "redis://127.0.0.1:1"}})
def test_a_dict_that_other_processes_may_not_have_made(caplog: pytest.LogCaptureFixture) -> None:
    ModelDict(Product)
    [message] = check_cached_models(None)
    assert message.msg.startswith("The ModelDict of shop.Product is made in ")
    assert "tests/modelcache/test_checks.py:" in message.msg
    assert "dicts.py" in (message.hint or "")
    [record] = logged_by(caplog, "registrations")
    assert "tests/modelcache/test_checks.py:" in record.getMessage()
    caplog.clear()
    ModelDict(Product)  # the same registration
    assert not logged_by(caplog, "registrations")


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

    cached = registrations.register(View, "default", Options(barrier_timeout=0.001))
    cached.made_at = ""
    [message] = _check_registration(cached)
    assert message.id == "redisdict.W103"
    assert "isn't managed by Django" in message.msg
    relations.forget()


def test_the_check_is_registered() -> None:
    from django.core.checks.registry import registry

    assert check_model_dicts in registry.get_checks()
