"""`redisdict doctor`: every server is reached, and what should be changed is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redisdict.connections.registry import get_backend
from redisdict.inspection import doctor
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.cli.conftest import run
from tests.conftest import program_for_tests

AliasFor = Callable[..., dict[str, Any]]


def texts(result: Any, level: str) -> list[str]:
    return [one["text"] for one in result.objects if one["level"] == level]


@pytest.fixture(autouse=True)
def any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine answers when it likes."""
    for name in ("SLOW_PING_S", "CLOCK_S", "NEAR_S"):
        monkeypatch.setattr(doctor, name, 30.0)


@pytest.fixture(scope="module")
def safe_server() -> Any:
    """One that there is nothing to say against."""
    program = program_for_tests("valkey")
    with ServerProcess(program, arguments=["--appendonly", "yes"]) as server:
        yield server


def test_a_good_server_has_no_findings(
    safe_server: ServerProcess, settings: Any, alias_for: AliasFor
) -> None:
    settings.REDISDICT = {"shop": alias_for(safe_server.url)}
    result = run("doctor", "--json")
    assert (result.status, result.err) == (0, "")
    assert {one["level"] for one in result.objects} == {"ok"}
    text = result.out
    for part in (
        "can be used", "Valkey", "primary with 0 replicas", "append-only file", "answers a PING in",
        "has scripts", 'durable=\\"aof\\"', "announces changes, so near= works",
        "at most 50 for the threads", "(maxclients)", "its clock is",
    ):  # fmt: skip
        assert part in text
    lines = run("doctor", "--using", "shop").out.splitlines()
    assert len(lines) == len(result.objects)
    assert all(line.startswith("ok       ") for line in lines)


def test_a_cache_that_would_delete_the_dicts(
    safe_server: ServerProcess, settings: Any, alias_for: AliasFor
) -> None:
    settings.REDISDICT = {"shop": alias_for(safe_server.url)}
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": safe_server.url}}
    result = run("doctor", "--json")
    assert result.status == 4
    [warning] = [one for one in result.objects if one["level"] == "warning"]
    assert warning["text"].endswith("(redisdict.W007)")


def test_it_leaves_nothing_behind(
    safe_server: ServerProcess, settings: Any, alias_for: AliasFor
) -> None:
    settings.REDISDICT = {"shop": alias_for(safe_server.url)}
    run("doctor")
    backend = get_backend("shop")
    assert list(backend.client().scan_iter(f"{backend.config.key_prefix}*")) == []


def test_dangers_of_a_server(settings: Any) -> None:
    arguments = ["--maxmemory-policy", "allkeys-lru", "--maxclients", "60"]
    with ServerProcess(program_for_tests("redis"), arguments=arguments) as server:
        settings.REDISDICT = {"shop": {"LOCATION": server.url}}
        result = run("doctor", "--processes", "2", "--json")
        assert result.status == 4
        warnings = [one for one in result.objects if one["level"] == "warning"]
        assert all(one["advice"] for one in warnings)
        assert [one["text"].rpartition(" (")[2] for one in warnings[:2]] == [
            "redisdict.W003)", "redisdict.W004)",
        ]  # fmt: skip
        assert "not enough for 2 processes" in warnings[2]["text"]
        assert "max_connections" in warnings[2]["advice"]
        enough = {"LOCATION": server.url, "OPTIONS": {"max_connections": 2}}
        settings.REDISDICT = {"shop": enough}
        assert "enough for 2 processes" in run("doctor", "--processes", "2").out
        line = next(one for one in run("doctor").out.splitlines() if "W004" in one)
        assert line.startswith("warning  shop: The server (redis://127.0.0.1:")
        assert line.endswith("-> Set maxmemory-policy to noeviction, or to a volatile-* policy.")


def test_a_server_that_keeps_its_settings_to_itself(
    safe_server: ServerProcess, settings: Any, alias_for: AliasFor
) -> None:
    client = safe_server.client()
    client.acl_setuser(
        "lean", enabled=True, passwords=["+geheim"], commands=["+@all", "-config", "-command"],
        keys=["*"],
    )  # fmt: skip
    client.close()
    url = safe_server.url.replace("://", "://lean:geheim@")
    settings.REDISDICT = {"shop": alias_for(url)}
    result = run("doctor")
    assert "doesn't show its settings (CONFIG GET)" in result.out
    assert "doesn't let its user list its commands (COMMAND INFO)" in result.out
    assert "geheim" not in result.out


def test_what_cannot_be_reached_is_an_error_among_the_others(
    safe_server: ServerProcess, settings: Any, alias_for: AliasFor
) -> None:
    settings.REDISDICT = {
        "down": {"LOCATION": "redis://:geheim@127.0.0.1:1/0"},
        "wrong": {"LOCATION": "redis://127.0.0.1:1/abc"},
        "shop": alias_for(safe_server.url),
    }
    settings.CACHES = {
        "default": {
            "BACKEND": "redisdict.cache.DictCache",
            "LOCATION": "redis://127.0.0.1:2/0",
        },
        "other": {"BACKEND": "redisdict.cache.DictCache", "LOCATION": "alias:shop"},
    }
    result = run("doctor", "--json")
    assert result.status == 3
    errors = [one for one in result.objects if one["level"] == "error"]
    assert [one["subject"] for one in errors] == ["settings", "down", 'CACHES["default"]']
    assert 'REDISDICT["wrong"]["LOCATION"] (redis://…) can\'t be read' in errors[0]["text"]
    assert "127.0.0.1:1" in errors[1]["text"]
    assert "127.0.0.1:2" in errors[2]["text"]
    assert "geheim" not in result.out
    assert any(one["subject"] == "shop" for one in result.objects)
    assert run("doctor", "--using", "shop").status == 0
    unknown = run("doctor", "--using", "sho")
    assert (unknown.status, "did you mean 'shop'" in unknown.err) == (1, True)


def test_settings_that_are_no_dict_are_one_finding(settings: Any) -> None:
    settings.REDISDICT = "redis://127.0.0.1:1/0"
    result = run("doctor", "--json")
    assert result.status == 3
    assert "REDISDICT is str" in result.object["text"]


def test_each_primary_of_a_cluster_is_examined(
    cluster: ClusterTopology, settings: Any, alias_for: AliasFor
) -> None:
    settings.REDISDICT = {"shop": alias_for(cluster.location)}
    result = run("doctor", "--json")
    subjects = {one["subject"] for one in result.objects} - {"settings", "shop"}
    assert len(subjects) == 3
    assert all(subject.startswith("shop redis://127.0.0.1:") for subject in subjects)


def test_a_primary_behind_sentinels(
    sentinel: SentinelTopology, settings: Any, alias_for: AliasFor
) -> None:
    settings.REDISDICT = {
        "shop": alias_for(sentinel.location, OPTIONS={"read_from_replicas": True})
    }
    result = run("doctor")
    assert "behind Sentinel, primary with 2 replicas" in result.out
    assert "can't be used with near=, because it reads from replicas" in result.out


@pytest.mark.parametrize(
    ("location", "is_told"),
    [
        ("redis://10.0.0.1:6379/0", True),
        ("redis://localhost:6379/0", False),
        ("redis://127.0.0.7:6379/0", False),
        ("redis://:secret@10.0.0.1:6379/0", False),
        ("redis+sentinel://localhost:1,10.0.0.1:1/m/0", True),
        ("unix:///run/valkey.sock", False),
        ("embedded:///nowhere", False),
    ],
)
def test_a_server_on_the_network_without_a_password(
    location: str, is_told: bool, settings: Any
) -> None:
    settings.REDISDICT = {"shop": {"LOCATION": location}}
    answers = doctor._Answers({}, {"protected-mode": "no"}, {}, 0.0)
    found = list(doctor._protection("shop", get_backend("shop"), answers))
    assert [one.level for one in found] == ["warning"] * is_told
    if is_told:
        assert "without a password, and its protected-mode is off" in found[0].text


def test_a_slow_server_and_a_wrong_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SLOW_PING_S", 0.005)
    monkeypatch.setattr(doctor, "CLOCK_S", 1.0)
    assert doctor._latency("shop", [0.001, 0.002, 0.5]).level == "ok"
    assert doctor._latency("shop", [0.001, 0.02, 0.5]).level == "warning"
    for seconds, words in ((2.5, "2.500 s ahead of"), (-2.5, "2.500 s behind")):
        found = doctor._clock("shop", doctor._Answers({}, {}, {}, seconds))
        assert (found.level, words in found.text) == ("warning", True)


def test_a_server_without_scripts() -> None:
    answers = doctor._Answers({}, {}, {b"EVALSHA": False, b"WAIT": True}, 0.0)
    assert [one.level for one in doctor._capabilities("shop", answers)] == ["ok", "warning"]
