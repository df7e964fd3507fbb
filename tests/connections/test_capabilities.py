"""What a server calls itself, from what real ones have answered to INFO."""

from __future__ import annotations

import pytest
from redis.exceptions import NoPermissionError

from redisdict.connections.server_info import server_name
from tests.mapping.feeding import feed

REPLIES = {
    "Redis 7.0.15": "# Server\r\nredis_version:7.0.15\r\nexecutable:/usr/bin/redis-server\r\n",
    "Valkey 9.1.2": "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\n",
    "KeyDB 6.3.4": "# Server\r\nredis_version:6.3.4\r\nexecutable:/usr/local/bin/keydb-server\r\n",
    "Dragonfly 1.40.1": "# Server\r\nredis_version:7.4.0\r\ndragonfly_version:df-v1.40.1\r\n",
    "Redis": "",
}


@pytest.mark.parametrize("name", REPLIES)
def test_the_name_of_a_server(name: str) -> None:
    asked, found = feed(server_name(), REPLIES[name].encode())
    assert asked == [(b"INFO", b"server")]
    assert found == name


def test_one_that_may_not_be_asked() -> None:
    assert feed(server_name(), NoPermissionError("NOPERM"))[1] == "the server"
