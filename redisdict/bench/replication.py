"""When the replicas of a server that was just started really take part."""

from __future__ import annotations

import time
from typing import Any

import redis

from redisdict.exceptions import BackendUnavailable

__all__ = ["wait_for_replicas"]

TIMEOUT_S = 10.0


def wait_for_replicas(client: redis.Redis) -> None:
    """Wait until the server sends its writes to every replica.

    A replica that has its copy is "online", but is sent nothing before its first acknowledgement,
    which comes once a second. Until then a write is a quarter faster than it will ever be.

    Raises:
        BackendUnavailable: it takes too long.
        redis.exceptions.RedisError: the server can't be asked (INFO replication).
    """
    deadline = time.monotonic() + TIMEOUT_S
    while not all(_acknowledged_offsets(client)):
        if time.monotonic() > deadline:
            raise BackendUnavailable(
                f"A replica hasn't acknowledged anything for {TIMEOUT_S:.0f} s. Start again."
            )
        time.sleep(0.02)


def _acknowledged_offsets(client: redis.Redis) -> list[int]:
    """How far every replica says that it is; 0 before it has said anything.

    Those of Dragonfly aren't among them: it doesn't tell how far they are.
    """
    info: Any = client.info("replication")
    replicas = [info[f"slave{number}"] for number in range(info.get("connected_slaves", 0))]
    return [int(replica["offset"]) for replica in replicas if "offset" in replica]
