"""The check for django-health-check."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from redisdict import health
from redisdict.health import Health
from tests.missing import need_package

need_package("health_check.base")

from health_check.exceptions import ServiceUnavailable, ServiceWarning

from redisdict.health_check import RedisDictHealthCheck


async def test_well_and_lost(redis_url: str, alias_for: Any) -> None:
    health._probes.clear()
    aliases = {"one": alias_for(redis_url), "lost": alias_for("redis://127.0.0.1:1/0")}
    with override_settings(REDISDICT=aliases):
        await RedisDictHealthCheck(aliases=("one",), seconds=60).run()
        with pytest.raises(ServiceUnavailable, match="lost: it can't be reached"):
            await RedisDictHealthCheck(seconds=60).run()


async def test_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def acheck(*_: Any) -> list[Health]:
        return [Health("one", "degraded", (health.NEAR_OFF,))]

    monkeypatch.setattr("redisdict.health_check.acheck", acheck)
    with pytest.raises(ServiceWarning, match="one: near caches are off"):
        await RedisDictHealthCheck().run()
