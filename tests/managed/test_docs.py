"""The settings in docs/managed.md are ones that can be used."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from redisdict.conf import parse_alias
from redisdict.connections.factory import PoolFactory

PAGE = Path(__file__).parents[2] / "docs" / "managed.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


class Provider(redis.UsernamePasswordCredentialProvider):
    """In place of those that only a cloud has."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__("user", "token")


@pytest.mark.parametrize("block", BLOCKS, ids=[str(number) for number in range(len(BLOCKS))])
def test_the_settings(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, dict[str, Any]] = {
        "redis_entraid": {},
        "redis_entraid.cred_provider": {"create_from_managed_identity": Provider},
        "shop": {},
        "shop.aws": {"ElastiCacheIAMProvider": Provider},
        "shop.google": {"AccessTokenProvider": Provider},
    }
    for name, contents in modules.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**contents))
    monkeypatch.setenv("REDIS_URL", "rediss://:secret@host:6379")
    names: dict[str, Any] = {"ManagedIdentityType": SimpleNamespace(SYSTEM_ASSIGNED="system")}
    exec(block, names)
    values = dict(names["REDISDICT"]["default"])
    values["OPTIONS"] = {
        # The files of authorities aren't here.
        name: each
        for name, each in values.get("OPTIONS", {}).items()
        if name != "ssl_ca_certs"
    }
    PoolFactory(parse_alias("default", values)).verify()


def test_there_are_settings() -> None:
    assert len(BLOCKS) >= 10
