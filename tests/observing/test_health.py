"""The health check: what it says of servers that are well, slow, lost or read-only."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import RequestFactory, override_settings

from redisdict import PersistentDict, get_client, health
from redisdict.connections.registry import get_backend
from redisdict.health import Health
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests
from tests.waiting import LIMIT_S, wait_until

SECRET = "hidden-password"


@pytest.fixture(autouse=True)
def _no_probe_is_under_way() -> Iterator[None]:
    health._probes.clear()
    yield
    health._probes.clear()


@pytest.fixture
def hanging_server() -> Iterator[socket.socket]:
    """A server that takes connections and never answers; closed, it refuses them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def answer(**options: Any) -> tuple[int, Any, str]:
    response = health.view(RequestFactory().get("/health/redis"), **options)
    text = response.content.decode()
    assert "no-store" in response["Cache-Control"]
    return response.status_code, json.loads(text), text


def test_well(redis_url: str, valkey_url: str, alias_for: Any) -> None:
    aliases = {"one": alias_for(redis_url), "two": alias_for(valkey_url)}
    with override_settings(REDISDICT=aliases):
        status, body, _ = answer(timeout=60)
        found = health.check(["two"], timeout=60)
    assert status == 200
    assert body["status"] == "ok"
    assert {name: one["status"] for name, one in body["servers"].items()} == {
        "one": "ok",
        "two": "ok",
    }
    assert body["servers"]["one"]["seconds"] > 0
    assert [one.alias for one in found] == ["two"]


async def test_in_a_task(redis_url: str, alias_for: Any) -> None:
    with override_settings(REDISDICT={"one": alias_for(redis_url)}):
        [found] = await health.acheck(timeout=60)
    assert found.status == "ok"


def test_lost_and_well_side_by_side(redis_url: str, alias_for: Any) -> None:
    lost = f"redis://:{SECRET}@127.0.0.1:1/0"
    with override_settings(REDISDICT={"one": alias_for(redis_url), "lost": alias_for(lost)}):
        status, body, text = answer(timeout=60)
    assert status == 503
    assert body["status"] == "unavailable"
    assert body["servers"]["one"]["status"] == "ok"
    assert body["servers"]["lost"]["problems"] == [health.UNREACHABLE]
    assert SECRET not in text
    assert "127.0.0.1" not in text


def test_a_server_that_hangs_holds_nobody_up(
    hanging_server: socket.socket, alias_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    port = hanging_server.getsockname()[1]
    url = f"redis://:{SECRET}@127.0.0.1:{port}/0?socket_timeout={LIMIT_S}"
    with override_settings(REDISDICT={"hangs": alias_for(url)}):
        for _ in range(5):  # an impatient load balancer
            status, body, _ = answer(timeout=0.01)
            assert status == 503
            assert body["servers"]["hangs"]["problems"] == [health.NO_ANSWER]
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("redisdict: health of hangs") == 1
        hanging_server.close()
        wait_until(lambda: health._probes["hangs"].is_over)
        [found] = health.check(["hangs"], timeout=60)
    assert found.problems == (health.UNREACHABLE,)
    assert SECRET not in caplog.text


def test_only_a_replica(alias_for: Any) -> None:
    program = program_for_tests("valkey")
    with ServerProcess(program, listen="tcp") as primary:
        with ServerProcess(program, listen="tcp") as replica:
            aliases = {"one": alias_for(replica.url)}
            with override_settings(REDISDICT=aliases):
                host, port = primary.url.removeprefix("redis://").split("/")[0].split(":")
                get_client("one").replicaof(host, port)
                wait_until(lambda: "slave" in str(get_client("one").role()))
                status, body, _ = answer(timeout=60)
                strict, _, _ = answer(timeout=60, fail_when_degraded=True)
    assert body["servers"]["one"] == {
        "status": "degraded",
        "problems": [health.NOT_WRITABLE],
        "seconds": body["servers"]["one"]["seconds"],
    }
    assert (status, strict) == (200, 503)


def test_near_is_off(redis_url: str, alias_for: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(REDISDICT={"one": alias_for(redis_url)}):
        mapping: PersistentDict[str, int] = PersistentDict(
            "d", using="one", hset_enabled=False, near=60.0
        )
        wait_until(lambda: mapping.get("a") is None and mapping.near_stats().is_on)
        assert health.worst(health.check(timeout=60)) == "ok"
        get_backend("one").close()  # and with it the connection over which it is told
        wait_until(lambda: not mapping.near_stats().is_on)
        [found] = health.check(timeout=60)
        get_backend("one").close()
    assert (found.status, found.problems) == ("degraded", (health.NEAR_OFF,))


def test_a_value_that_does_not_come_back(
    redis_url: str, alias_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "token_bytes", lambda _: Unlike(b"a"))
    with override_settings(REDISDICT={"one": alias_for(redis_url)}):
        [found] = health.check(timeout=60)
    assert (found.status, found.problems) == ("unavailable", (health.LOST_VALUE,))


class Unlike(bytes):
    """Bytes that aren't equal to what a server gives back of them."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


@pytest.mark.parametrize("values", [{"LOCATION": "redis://h/0", "TYPO": 1}, {"LOCATION": "x://"}])
def test_a_wrong_alias(values: dict[str, Any]) -> None:
    with override_settings(REDISDICT={"one": values}):
        status, body, _ = answer(timeout=60)
    assert status == 503
    assert body["servers"]["one"]["problems"] == [health.MISCONFIGURED]


def test_a_wrong_setting() -> None:
    with override_settings(REDISDICT=7):
        status, body, _ = answer(timeout=60)
    assert status == 503
    assert body["servers"] == {
        "REDISDICT": {"status": "unavailable", "problems": [health.MISCONFIGURED], "seconds": None}
    }


def test_no_server_is_no_problem() -> None:
    assert health.worst([]) == "ok"
    assert health.worst([Health("a", "degraded"), Health("b", "ok")]) == "degraded"
