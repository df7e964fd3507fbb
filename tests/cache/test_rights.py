"""A user with the rights that docs/servers.md lists, and no more, can use a cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.cache import caches
from redis.exceptions import NoPermissionError

from redisdict.servers.process import ServerProcess
from tests.backends.test_acl import documented_rules
from tests.cache.conftest import Face, entry
from tests.conftest import program_for_tests
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["redis", "valkey"])
def limited_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with ServerProcess(program_for_tests(request.param), listen="tcp") as server:
        rules = documented_rules("limited", "pass", "test-")
        # As docs/cache.md says for the KEY_PREFIX "shop".
        rules = [rule for rule in rules if not rule.startswith("~")]
        with server.client() as client:
            keys = ["~shop:*", "~redisdict:lease:*"]
            client.execute_command("ACL", "SETUSER", *rules, *keys, "+script|load")
        yield f"redis://limited:pass@{urlsplit(server.url).netloc}/0"


@pytest.mark.parametrize("near", [None, 1000.0])
def test_everything_is_allowed(limited_url: str, near: Any, configure: Any, runner: Any) -> None:
    options = {"NEAR": near}
    configure(
        default=entry(limited_url, "shop", OPTIONS=options), other=entry(limited_url, "other")
    )
    face = Face(caches["default"], runner)
    assert face.set("k", 1) is True
    assert face.add("k", 1) is False
    assert face.incr("k") == 2
    assert face.incr("k", 0.5) == 2.5
    assert face.set_many({"l": 1, "m": 2}) == []
    assert face.get_many(["k", "l"]) == {"k": 2.5, "l": 1}
    assert face.touch("k", None) is face.expire("k", 50) is face.persist("k") is True
    assert face.expire_at("k", 9_999_999_999) is True
    assert face.ttl("l") > 0
    assert face.incr_version("l") == 2
    assert face.get_or_set("computed", lambda: 5) == 5
    assert sorted(face.keys()) == ["computed", "k", "m"]
    assert face.delete_pattern("m*") == 1
    assert face.delete("k") is face.has_key("computed") is True
    assert face.delete_many(["computed"]) == 1
    if runner is None:
        with face.cache.lock("lock", timeout=5):
            pass
    cache: Any = face.cache
    if near is not None:
        wait_until(lambda: (face.get("k"), cache.near_stats().is_on)[1])
    face.clear()
    with pytest.raises(NoPermissionError):
        Face(caches["other"], runner).set("k", 1)
