"""What the package offers to the tests of other projects."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from redisdict import PersistentDict
from redisdict.connections.registry import get_client
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology
from redisdict.testing import isolated_dicts

pytest_plugins = ["pytester"]

NOWHERE = "redis://127.0.0.1:1/0"


def keys_of(server: ServerProcess, pattern: str) -> list[Any]:
    with server.client() as client:
        return list(client.scan_iter(match=pattern))


@pytest.mark.parametrize("hset_enabled", [True, False], ids=["hash", "keys"])
def test_a_dict_begins_empty_and_leaves_nothing(
    valkey_server: ServerProcess, key_prefix: str, hset_enabled: bool
) -> None:
    aliases = {
        "default": {"LOCATION": valkey_server.url, "KEY_PREFIX": key_prefix},
        "unused": {"LOCATION": NOWHERE},
    }
    d: PersistentDict[str, int] = PersistentDict("d", hset_enabled=hset_enabled)
    with override_settings(REDISDICT=aliases):
        d["outside"] = 1
        with isolated_dicts() as prefix:
            assert d == {}
            d.update({str(number): number for number in range(2500)})
            d.set("short", 1, timeout=60)
            asyncio.run(d.aset("task", 1))
            assert keys_of(valkey_server, f"{prefix}:*")
        assert not keys_of(valkey_server, f"{prefix}:*")
        assert d == {"outside": 1}
        d.clear()


def test_what_a_failing_test_stored_is_deleted_too(valkey_server: ServerProcess) -> None:
    with override_settings(REDISDICT={"default": {"LOCATION": valkey_server.url}}):
        with pytest.raises(ZeroDivisionError):
            with isolated_dicts() as prefix:
                PersistentDict("d")["a"] = 1 / 0
        assert not keys_of(valkey_server, f"{prefix}:*")


def test_all_nodes_of_a_cluster(cluster: ClusterTopology) -> None:
    with override_settings(REDISDICT={"default": {"LOCATION": cluster.location}}):
        with isolated_dicts() as prefix:
            for name in "abcdef":
                PersistentDict(name)["a"] = 1
            assert len(list(get_client().scan_iter(match=f"{prefix}:*"))) == 6
        assert not list(get_client().scan_iter(match=f"{prefix}:*"))


def test_a_borrowed_pool(valkey_server: ServerProcess) -> None:
    caches = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": valkey_server.url}
    }
    with override_settings(REDISDICT=None, CACHES=caches), isolated_dicts() as prefix:
        PersistentDict("d")["a"] = 1
        assert keys_of(valkey_server, f"{prefix}:*")
    assert not keys_of(valkey_server, f"{prefix}:*")


def test_the_fixture(
    pytester: pytest.Pytester, valkey_server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    # The package needn't be installed, and where it is, a plugin can't be there twice.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        settings=f"REDISDICT = {{'default': {{'LOCATION': {valkey_server.url!r}}}}}",
        test_project="""
            from redisdict import PersistentDict

            def test_one(isolated_dicts):
                PersistentDict("d")["a"] = 1
                assert isolated_dicts.startswith("test-")

            def test_other(isolated_dicts):
                assert PersistentDict("d") == {}
        """,
    )
    result = pytester.runpytest_subprocess(
        "-p", "redisdict.pytest_plugin", "-p", "pytest_django.plugin", "--ds=settings"
    )
    result.assert_outcomes(passed=2)
