"""That the suite runs on the servers its parameters name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.programs import HOW_TO_GET, Family
from tests.backends.conftest import SERVERS

#: What INFO says of itself, for the servers that come with a version.
VERSIONS = {
    "redis-6.2": ("redis_version", "6.2."),
    "redis-8.2": ("redis_version", "8.2."),
    "valkey-8.0": ("valkey_version", "8.0."),
}


def test_the_server_is_the_one_that_is_meant(
    server_url: str, alias_for: Callable[..., dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    backend = Backend(parse_alias("test", alias_for(server_url)))
    info: Any = backend.client().info()
    backend.close()
    name = request.node.callspec.params["server_url"]
    field, version = VERSIONS.get(name, ("redis_version", ""))
    assert info[field].startswith(version)
    assert ("valkey_version" in info) == ("valkey" in name)
    assert ("dragonfly_version" in info) == name.startswith("dragonfly")


@pytest.mark.parametrize("family", ["keydb", "dragonfly"])
def test_a_server_that_no_package_brings_is_tried_where_it_is(family: Family) -> None:
    if family not in SERVERS:
        pytest.skip(
            f"{HOW_TO_GET[family]}. The tests take its address from REDISDICT_TEST_{family.upper()}"
        )
