"""The behaviour that `tests/mapping` describes, of dicts in shards: on a server, on a Cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology
from tests.mapping.test_bulk import *  # noqa: F403
from tests.mapping.test_get_or_set import *  # noqa: F403
from tests.mapping.test_locks import *  # noqa: F403
from tests.mapping.test_mapping_protocol import *  # noqa: F403
from tests.mapping.test_timeouts import *  # noqa: F403
from tests.mapping.test_transfer import *  # noqa: F403

__all__ = ["make", "server_url"]

# On one server as hashes, and on the Cluster as keys: shards are made alike everywhere.
pytestmark = pytest.mark.each_value_once

# It counts commands, and a dict in shards that has no item yet asks for their number each time.
del test_many_waiting_tasks_ask_the_server_once_each  # noqa: F821
# These look at one key or one pool, and a dict in shards has several.
del test_a_foreign_key_of_another_type_is_left_alone  # noqa: F821
del test_a_cancelled_task_leaves_no_lock_behind  # noqa: F821


@pytest.fixture(params=["alone", "cluster"])
def server_url(
    request: pytest.FixtureRequest, redis_server: ServerProcess, cluster: ClusterTopology
) -> str:
    return redis_server.url if request.param == "alone" else cluster.location


@pytest.fixture
def make(
    make: Callable[..., PersistentDict[Any, Any]],
) -> Callable[..., PersistentDict[Any, Any]]:
    return functools.partial(make, shards=5)
