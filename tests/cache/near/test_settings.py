"""Settings of NEAR that are refused, and places that can't have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches

from redisdict.exceptions import ConfigurationError
from redisdict.servers.topologies import ClusterTopology
from tests.cache.conftest import entry

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"NEAR": "strict"},
        r'CACHES\["default"\]\["OPTIONS"\]\["NEAR"\] is "strict", which only a Mo',
    ),
    ({"NEAR": "requests"}, r'\["OPTIONS"\]\["NEAR"\] is \'requests\'; seconds above 0'),
    ({"NEAR": 0}, "seconds above 0"),
    ({"NEAR": True}, "seconds above 0"),
    ({"NEAR": float("nan")}, "seconds above 0"),
    ({"NEAR": 1, "NEAR_MAX_BYTES": 0}, r'\["NEAR_MAX_BYTES"\] is 0; an int above 0'),
    ({"NEAR": 1, "NEAR_MAX_ITEMS": 1.5}, r'\["NEAR_MAX_ITEMS"\] is 1.5; an int above 0'),
    ({"near": 1}, 'did you mean "NEAR"'),
    ({"NEAR_MAX_BYTE": 1}, "did you mean 'NEAR_MAX_BYTES'"),
]


def refuse(configure: Callable[..., None], message: str, **options: Any) -> None:
    from redisdict.cache.checks import check_caches

    configure(default=entry(**options))
    [error] = check_caches()
    assert error.id == "redisdict.E004"
    cache: Any = caches["default"]
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=message) as refused:
            cache.get("k")
        assert str(refused.value) == error.msg
        with pytest.raises(ConfigurationError, match=message):
            _ = cache.client


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_values_are_refused(
    options: dict[str, Any], message: str, configure: Callable[..., None]
) -> None:
    refuse(configure, message, url="redis://127.0.0.1:1/0", OPTIONS=options)


SPREAD = [
    ["redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0"],
    "redis+cluster://127.0.0.1:1",
]


@pytest.mark.parametrize("location", SPREAD, ids=str)
def test_replicas_and_clusters_are_refused(location: Any, configure: Callable[..., None]) -> None:
    message = "replicas" if isinstance(location, list) else "Cluster"
    refuse(configure, message, url=location, OPTIONS={"NEAR": 1.0})


def test_replicas_behind_sentinels_are_refused(configure: Callable[..., None]) -> None:
    options = {"NEAR": 1.0, "read_from_replicas": True}
    location = "redis+sentinel://127.0.0.1:1/primary/0"
    refuse(configure, "replicas", url=location, OPTIONS=options)


def test_a_cluster_without_it(cluster: ClusterTopology, configure: Callable[..., None]) -> None:
    configure(default=entry(cluster.location))
    assert not caches["default"].near_stats().is_on  # type: ignore[attr-defined]
