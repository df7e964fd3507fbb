"""What a server says of itself, as far as a figure may depend on it; nothing else is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from redisdict.bench.identity import read_settings
from redisdict.bench.services import RunningService
from redisdict.wire.server_info import UNKNOWN, eviction

__all__ = ["cpu_clock", "differing_settings", "local_pid", "server_facts"]

#: What is kept is listed, not what is left out: a field that a later version adds may be a secret.
INFO_FIELDS = (
    "redis_version", "valkey_version", "dragonfly_version", "redis_mode", "role", "arch_bits",
    "multiplexing_api", "mem_allocator", "run_id", "process_id", "tcp_port", "uptime_in_seconds",
    "connected_clients", "used_memory", "maxmemory", "maxmemory_policy", "io_threads_active",
    "server_threads", "thread_count", "aof_enabled", "hz",
)  # fmt: skip

CONFIG_FIELDS = (
    "save", "appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "io-threads",
    "server-threads", "databases", "activedefrag", "lazyfree-lazy-user-del", "snapshot_cron",
)  # fmt: skip


def server_facts(running: RunningService, client: redis.Redis) -> dict[str, Any]:
    """INFO and CONFIG GET, reduced to the lists above, the number of keys, the protocol.

    Raises:
        redis.exceptions.RedisError: INFO can't be had. CONFIG may be forbidden; then it is empty.
    """
    info: Any = client.info()
    config = read_settings(client, CONFIG_FIELDS)
    return {
        "name": running.identity.name,
        "executable": Path(running.identity.executable).name,
        "persistence": running.identity.persistence,
        "info": {name: info[name] for name in INFO_FIELDS if name in info},
        "config": {name: config[name] for name in CONFIG_FIELDS if name in config},
        "keys": client.dbsize(),
        "resp_version": _resp_version(client),
    }


def _resp_version(client: redis.Redis) -> int | None:
    """The protocol that was agreed on; None where the server doesn't say (CLIENT INFO)."""
    try:
        facts: Any = client.client_info()
    except redis.ResponseError:
        return None
    return int(facts["resp"]) if "resp" in facts else None


def local_pid(running: RunningService) -> int | None:
    """The server's process on this machine, as long as it is certain that it is the one.

    A server in a container or elsewhere names a process id that here is another's, or nobody's.
    """
    if running.server_pid is not None:
        return running.server_pid
    pid, executable = running.identity.process_id, running.identity.executable
    if pid is None or not executable:
        return None
    with suppress(OSError):
        if Path(f"/proc/{pid}/exe").resolve() == Path(executable).resolve():
            return pid
    return None


def cpu_clock(pids: Iterable[int]) -> Callable[[], int | None]:
    """Reads the nanoseconds of CPU that all threads of the processes had so far (Linux)."""
    paths = [str(path) for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]

    def read() -> int | None:
        total = 0
        for path in paths:
            try:
                file = os.open(path, os.O_RDONLY)
            except OSError:
                continue  # that thread has ended
            try:
                total += int(os.read(file, 64).split()[0])
            finally:
                os.close(file)
        return total or None

    return read


def differing_settings(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The settings that the servers don't share: name -> service -> value.

    A setting is compared between those that have it. What a server doesn't tell doesn't differ.
    """
    known = {service: _comparable(one) for service, one in facts.items()}
    differing = {}
    for name in dict.fromkeys(name for one in known.values() for name in one):
        values = {service: one[name] for service, one in known.items() if name in one}
        if len(set(values.values())) > 1:
            differing[name] = values
    return differing


def _comparable(facts: Mapping[str, Any]) -> dict[str, str]:
    """What one server tells of how it works, under the names that all have for it."""
    info, config = facts.get("info", {}), facts["config"]
    values = {"persistence": str(facts["persistence"])} if facts["persistence"] != UNKNOWN else {}
    if eviction(info):
        values["maxmemory-policy"] = eviction(info)
    return values | {name: str(value) for name, value in config.items()}
