"""Failovers of a Sentinel topology: bringing them about, watching them, mending the topology."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import redis

from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import SentinelTopology

__all__ = ["Fault", "Switches", "fail_over", "mend", "switches_of"]

Fault = Literal["killed", "hung"]


class Switches:
    """When a sentinel announced a new primary, by the monotonic clock."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._news = threading.Condition()

    def wait_for(self, count: int, timeout_s: float = 60) -> float:
        with self._news:
            if not self._news.wait_for(lambda: len(self.times) >= count, timeout_s):
                raise AssertionError(f"no switch number {count} within {timeout_s} s")
            return self.times[count - 1]

    def add(self, _message: Any) -> None:
        with self._news:
            self.times.append(time.monotonic())
            self._news.notify_all()


@contextmanager
def switches_of(topology: SentinelTopology) -> Iterator[Switches]:
    switches = Switches()
    with topology.sentinels[0].client() as client, client.pubsub() as listener:
        listener.subscribe(**{"+switch-master": switches.add})
        thread = listener.run_in_thread(sleep_time=0.01)
        try:
            yield switches
        finally:
            thread.stop()
            thread.join(30)


def fail_over(topology: SentinelTopology, fault: Fault) -> ServerProcess:
    """Take the primary away; gives back the one that was."""
    primary = topology.current_primary()
    if fault == "killed":
        primary.kill()
    else:
        os.kill(primary.pid, signal.SIGSTOP)
    return primary


def mend(topology: SentinelTopology, lost: ServerProcess, timeout_s: float = 60) -> None:
    """Bring the lost one back as a replica, and wait until all replicas follow the primary.

    The sentinels would see to it as well, but take 10 s.
    """
    if lost.is_running:
        os.kill(lost.pid, signal.SIGCONT)
    else:
        lost.start()
    deadline = time.monotonic() + timeout_s
    while True:
        primary = topology.current_primary()  # on a busy machine another failover may follow
        if primary is not lost:
            with lost.client() as client:
                client.execute_command("REPLICAOF", "127.0.0.1", primary.port)
        with primary.client() as client:
            if _is_followed(client, len(topology.replicas)):
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"the replicas don't follow {primary} after {timeout_s} s")
        time.sleep(0.2)


def _is_followed(primary: redis.Redis, count: int) -> bool:
    info: Any = primary.info("replication")
    online = [info.get(f"slave{number}", {}).get("state") == "online" for number in range(count)]
    return bool(info["role"] == "master") and sum(online) == count
