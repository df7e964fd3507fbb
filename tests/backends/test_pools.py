"""Pipelines and shared connections, as `tests/pools` describes them, on every single server.

The whole of `tests/pools` runs on Redis, and on KeyDB and Dragonfly where they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends.conftest import SERVERS
from tests.pools.test_multiplexed import *  # noqa: F403
from tests.pools.test_shared import *  # noqa: F403

# It is about this process's memory, and takes a while.
del test_ten_thousand_tasks_in_bounded_memory  # noqa: F821

#: Those that `tests/pools` doesn't have, and KeyDB and Dragonfly. Groups take no URL of one server.
ALONE = [
    pytest.param(name, marks=pytest.mark.deep)
    for name in SERVERS
    if not name.startswith(("sentinel", "cluster")) and "installed" not in name
]


@pytest.fixture(scope="module", params=ALONE)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with SERVERS[request.param]() as url:
        yield url


@pytest.fixture
def plain_url(server_url: str) -> str:
    return server_url
