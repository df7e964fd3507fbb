"""A user who may do what docs/servers.md lists, and no more, can use every method of a dict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from redisdict import BackendUnavailable, PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests
from tests.mapping.test_mapping_protocol import *  # noqa: F403
from tests.mapping.test_timeouts import (  # noqa: F401
    test_an_item_dies_for_everybody,
    test_changing_keeps_the_timeout,
    test_the_whole_dict_has_a_timeout,
)

DOCS = Path(__file__).parents[2] / "docs" / "servers.md"


def documented_rules(user: str, password: str, prefix: str) -> list[str]:
    """The rules of the ACL SETUSER that the docs show, for this user, password and prefix."""
    [line] = re.findall(r"^ACL SETUSER shop (.+)$", DOCS.read_text(), re.MULTILINE)
    rules = line.replace(">PASSWORD", f">{password}").replace("redisdict:", f"{prefix}*:")
    return [user, *rules.split()]


@pytest.fixture(scope="module", params=["redis", "valkey"])
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with ServerProcess(program_for_tests(request.param)) as server:
        with server.client() as client:
            rules = documented_rules("limited", "pass", "test-")
            client.execute_command("ACL", "SETUSER", *rules)
        yield f"redis://limited:pass@{urlsplit(server.url).netloc}/0"


def test_other_keys_and_commands_are_forbidden(
    server_url: str, alias_for: Callable[..., dict[str, Any]]
) -> None:
    backend = Backend(parse_alias("test", {**alias_for(server_url), "KEY_PREFIX": "other"}))
    with pytest.raises(Exception, match=r"(?i)no permissions to access"):
        PersistentDict("d", backend)["a"] = 1
    with pytest.raises(Exception, match=r"(?i)no permissions to run"):
        backend.client().flushall()
    backend.close()


def test_a_wrong_password_is_an_error_without_it(
    alias_for: Callable[..., dict[str, Any]], server_url: str
) -> None:
    backend = Backend(parse_alias("test", alias_for(server_url.replace("pass", "wr0ng"))))
    with pytest.raises(BackendUnavailable, match=r"(?i)invalid username-password") as caught:
        PersistentDict("d", backend)["a"] = 1
    assert "wr0ng" not in str(caught.value)
