"""Each recording is read: what released versions have stored comes back, and can be changed.

When one of these fails, data on somebody's server have become unreadable: change the code, never
the recording (docs/policies.md).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from redisdict import __version__
from tests.stored import contents

RECORDINGS = sorted(Path(__file__).parent.glob("*.json"))


def bytes_of(text: str) -> bytes:
    return base64.b64decode(text)


@pytest.fixture(params=RECORDINGS, ids=lambda path: str(path.stem))
def recording(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.param.read_text())
    return found


@pytest.fixture
def loaded(recording: dict[str, Any], server_url: str, key_prefix: str) -> Iterator[None]:
    """The keys of the recording on a server, under this test's prefix."""
    old = contents.PREFIX.encode()
    with redis.Redis.from_url(server_url) as client, contents.settings_for(server_url, key_prefix):
        for one in recording["keys"]:
            key = bytes_of(one["key"])
            assert key.startswith(old)
            put(client, key_prefix.encode() + key.removeprefix(old), one)
        yield
        for found in client.scan_iter(match=f"{key_prefix}*", count=90):
            client.unlink(found)


def put(client: redis.Redis, key: bytes, one: dict[str, Any]) -> None:
    if one["type"] == "string":
        client.set(key, bytes_of(one["contents"]))
    elif one["type"] == "hash":
        client.hset(key, mapping={bytes_of(f): bytes_of(v) for f, v in one["contents"]})
    else:
        client.zadd(key, {bytes_of(member): score for member, score in one["contents"]})
    if one["milliseconds_left"]:
        client.pexpire(key, one["milliseconds_left"])


@pytest.mark.usefixtures("loaded")
def test_dicts_of_every_version_are_read_and_changed() -> None:
    contents.check_dicts()


@pytest.mark.usefixtures("loaded")
def test_caches_and_sessions_of_every_version_are_read() -> None:
    contents.check_cache()


@pytest.mark.usefixtures("loaded")
def test_dumps_of_every_version_are_read(recording: dict[str, Any]) -> None:
    contents.check_dumped(bytes_of(recording["dump"]))


def test_this_version_has_a_recording_before_it_is_released() -> None:
    assert f"{__version__}.json" in {path.name for path in RECORDINGS}


def test_this_version_writes_what_its_recording_has(valkey_url: str, key_prefix: str) -> None:
    """The same things go to the same keys in the same types; of values the golden bytes tell."""
    [path] = [path for path in RECORDINGS if path.stem == __version__]
    there = {bytes_of(one["key"]): one["type"] for one in json.loads(path.read_text())["keys"]}
    with redis.Redis.from_url(valkey_url) as client, contents.settings_for(valkey_url, key_prefix):
        contents.store_dicts()
        contents.store_cache()
        new, old = key_prefix.encode(), contents.PREFIX.encode()
        written: dict[bytes, str] = {}
        for key in client.scan_iter(match=f"{key_prefix}*"):
            kind: Any = client.type(key)
            written[old + key.removeprefix(new)] = kind.decode()
            client.unlink(key)
    assert written == there
