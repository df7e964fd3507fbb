"""Give the slots of the tables from node to node, while processes read and change their rows."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from redis.crc import key_slot

from redisdict.servers.topologies import ClusterTopology
from tests.backends.test_cluster import move_slot

#: Seconds between two slots that are moved.
PAUSE_S = 0.5


@contextmanager
def slots_moving(topology: ClusterTopology) -> Iterator[list[int]]:
    """Move one slot after the other, in a thread; gives those that were moved."""
    moved: list[int] = []
    is_over = threading.Event()

    def move() -> None:
        while not is_over.wait(PAUSE_S):
            keys: set[bytes] = set()
            for node in topology.primaries:
                with node.client() as client:
                    keys.update(client.scan_iter(count=1000))
            if keys:
                slot = random.choice(sorted(map(key_slot, keys)))
                move_slot(topology, slot)
                moved.append(slot)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        yield moved
    finally:
        is_over.set()
        mover.join()
