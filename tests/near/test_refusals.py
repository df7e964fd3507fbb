"""Servers that don't tell of changes: the reason is given, and nothing is served from memory."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redisdict.connections.backend import Backend
from redisdict.near import session as session_module
from redisdict.servers.process import ServerProcess
from tests.near.conftest import (
    kept,
    listener_of,
    make,
    opened,
    wait_until_on,
)
from tests.waiting import wait_until


@pytest.fixture
def warnings_(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, logger="redisdict")
    return lambda: [each.getMessage() for each in caplog.records if "near" in each.getMessage()]


def test_tracking_is_refused(
    own_server: ServerProcess,
    alias_for: Callable[..., dict[str, Any]],
    warnings_: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-client|tracking"
        )
    values = alias_for(own_server.url, OPTIONS={"username": "app", "password": "secret"})
    with opened(values) as backend:
        mapping = make(backend)
        mapping["k"] = "v"
        wait_until(lambda: mapping["k"] == "v" and warnings_())
        for _ in range(10):
            assert mapping["k"] == "v"
            assert mapping.get_many(["k"]) == {"k": "v"}
        stats = mapping.near_stats()
        assert not stats.is_on
        assert stats.hits == 0
        assert "refuses CLIENT TRACKING" in stats.reason
        monkeypatch.setattr(listener_of(backend), "_retry_at", 0.0)
        wait_until(lambda: mapping["k"] == "v" and listener_of(backend)._retry_at > 0)
        [warning] = warnings_()
        assert "refuses CLIENT TRACKING" in warning
        assert "secret" not in warning
        with own_server.client() as client:
            client.execute_command("ACL", "SETUSER", "app", "+@all")
        monkeypatch.setattr(listener_of(backend), "_retry_at", 0.0)
        wait_until_on(mapping)


def test_the_rights_of_a_dict_are_enough(
    own_server: ServerProcess, alias_for: Callable[..., dict[str, Any]], key_prefix: str
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "servers.md").read_text()
    [rights] = re.findall(r"^ACL SETUSER shop on >PASSWORD ~redisdict:\* (.*)$", page, re.MULTILINE)
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "shop", "on", ">PASSWORD", f"~{key_prefix}:*", *rights.split()
        )
    values = alias_for(own_server.url, OPTIONS={"username": "shop", "password": "PASSWORD"})
    with opened(values) as backend:
        mapping = make(backend)
        wait_until_on(mapping)
        kept(mapping)


def test_the_probe_cant_be_written(
    own_server: ServerProcess, alias_for: Callable[..., dict[str, Any]], key_prefix: str
) -> None:
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", "on", ">secret", f"~{key_prefix}:k:*", "+@all"
        )
    values = alias_for(own_server.url, OPTIONS={"username": "app", "password": "secret"})
    with opened(values) as backend:
        mapping = make(backend)
        mapping["k"] = "v"
        wait_until(lambda: mapping["k"] == "v" and "provoke" in mapping.near_stats().reason)


@pytest.mark.each_value_once
def test_a_server_that_says_yes_and_sends_nothing(
    own_backend: Backend,
    warnings_: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask_for_nothing(session: Any, prefixes: Any) -> None:
        assert session._connection.ask((b"PING",)) == b"PONG"

    monkeypatch.setattr(session_module.Session, "_begin_tracking", ask_for_nothing)
    mapping = make(own_backend)
    mapping["k"] = "v"
    wait_until(lambda: mapping["k"] == "v" and warnings_())
    assert "sent no push" in mapping.near_stats().reason


def test_an_error_of_our_own_is_logged(
    own_backend: Backend, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(session: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(session_module.Session, "run", fail)
    mapping = make(own_backend)
    wait_until(lambda: mapping.get("k") is None and "logged" in mapping.near_stats().reason)
    assert "a bug" in caplog.text
