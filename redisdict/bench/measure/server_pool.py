"""Bring the servers of a run up, identify, pin and note them, and take them down again.

Given addresses are checked before anything is measured, since two names for one server would
compare it with itself. Servers that the run starts live as long as their group, except for the one
with the reference.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import redis

from redisdict.bench.errors import CELL_ERRORS, SameServer, describe
from redisdict.bench.measure.cleanup import keys_removed_after
from redisdict.bench.measure.placement import (
    SAME,
    Cpus,
    PlacementProbe,
    choose_cpus,
    pin_process,
    pinned_client,
)
from redisdict.bench.measure.services import (
    RunningService,
    ServerIdentity,
    Service,
    read_settings,
    running,
)
from redisdict.exceptions import BackendUnavailable
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_embeddable_program
from redisdict.wire.server_info import UNKNOWN, eviction

#: How long replicas may take to acknowledge what they have.
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class RunningServer:
    """A running server, with the data that a measurement needs.

    Attributes:
        location: as the `LOCATION` setting takes it.
        probe: tells on which CPU it runs.
        cpu_ns: the CPU time that it has used so far.
        facts: what the run stores about it.
    """

    location: str
    probe: PlacementProbe
    cpu_ns: Callable[[], int | None] = lambda: None
    pids: tuple[int, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class ServerPool:
    """Brings services up and remembers who they are.

    Args:
        token: a part of the name of every key of this run.
        tell: called with what the user should know at once.
    """

    token: str
    tell: Callable[[str], None]

    def __post_init__(self) -> None:
        self._names_by_run_id: dict[str, str] = {}

    def look_at(self, services: Sequence[Service]) -> dict[str, str]:
        """Connect to the given addresses once: title -> why it can't be measured.

        Raises:
            SameServer: two of them are one server.
        """
        reasons = {}
        for service in services:
            if service.location is None:
                continue
            try:
                with running(service) as up:
                    self._remember(up)
            except CELL_ERRORS as error:
                if isinstance(error, SameServer):
                    raise
                reasons[service.title] = describe(error)
        return reasons

    @contextmanager
    def server(
        self, service: Service, cpus: Cpus | None = None, placement: str = ""
    ) -> Iterator[RunningServer]:
        """Bring the service up; a server that was started is stopped at the end.

        Args:
            service: what to bring up.
            cpus: where its processes are pinned, if this run starts them; None leaves them alone.
            placement: the placement to record for each block when they aren't pinned; if empty, it
                is looked up for each block.

        Raises:
            RedisDictError, redis.exceptions.RedisError, OSError: it can't be brought up.
        """
        with ExitStack() as stack:
            up = stack.enter_context(running(service))
            self._remember(up)
            known = placement
            if up.pids and cpus is not None:
                pin_all(up.pids, cpus)
                known = cpus.placement
            if up.pids:
                wait_for_replicas(up.client)
            else:
                keys_left = partial(self._tell_of_keys, service.title)
                stack.enter_context(keys_removed_after(up.client, self.token, keys_left))
            pid = local_pid(up)
            pids = (pid,) if pid else ()
            probe = PlacementProbe(pid, known if up.pids else "")
            stack.callback(probe.close)
            yield RunningServer(
                location=up.location,
                probe=probe,
                cpu_ns=cpu_clock(up.pids[: up.primary_count] or pids),
                pids=up.pids or pids,
                facts=server_facts(up.identity, up.client),
            )

    def _tell_of_keys(self, title: str, reason: str) -> None:
        self.tell(
            f"keys of this run may be left on {title} ({reason});"
            " the next run on that server removes them."
        )

    def _remember(self, up: RunningService) -> None:
        title = up.service.title
        if up.pids or not up.identity.run_id:
            return
        other = self._names_by_run_id.setdefault(up.identity.run_id, title)
        if other != title:
            raise SameServer(
                f"{other!r} and {title!r} are one server ({up.identity.name}, {up.service.address})"
                " under two names; comparing it with itself says nothing. Leave one of them out."
            )


def pin_all(pids: Iterable[int], cpus: Cpus) -> None:
    """Pin all processes of a service to one CPU, replicas as well.

    A write wakes the replicas. On another CPU that takes an interrupt, which costs more or less
    depending on what else runs there: with a busy neighbour a SET behind Sentinel came out 20 %
    slower. On one CPU it is within 3 %.
    """
    for pid in pids:
        pin_process(pid, {cpus.server})


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


def server_facts(identity: ServerIdentity, client: redis.Redis) -> dict[str, Any]:
    """Ask INFO and CONFIG GET, reduced to the lists above, the number of keys, the protocol.

    Raises:
        redis.exceptions.RedisError: INFO can't be had. CONFIG may be forbidden; then it is empty.
    """
    info: Any = client.info()
    config = read_settings(client, CONFIG_FIELDS)
    return {
        "name": identity.name,
        "executable": Path(identity.executable).name,
        "persistence": identity.persistence,
        "info": {name: info[name] for name in INFO_FIELDS if name in info},
        "config": {name: config[name] for name in CONFIG_FIELDS if name in config},
        "keys": client.dbsize(),
        "resp_version": _resp_version(client),
    }


def _resp_version(client: redis.Redis) -> int | None:
    """Ask for the protocol that was agreed on; None where the server doesn't say (CLIENT INFO)."""
    try:
        facts: Any = client.client_info()
    except redis.ResponseError:
        return None
    return int(facts["resp"]) if "resp" in facts else None


def local_pid(running: RunningService) -> int | None:
    """Find the server's process on this machine, if it is certain that it is the one.

    A server in a container or on another machine gives a process id that is another process's
    here, or none's.
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
    """Make a clock of the CPU nanoseconds that all threads of the processes had (Linux)."""
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
    """Find the settings that the servers don't share: name -> service -> value.

    A setting is compared between the servers that have it. One that a server doesn't show counts
    as equal.
    """
    known = {service: _comparable(one) for service, one in facts.items()}
    differing = {}
    for name in dict.fromkeys(name for one in known.values() for name in one):
        values = {service: one[name] for service, one in known.items() if name in one}
        if len(set(values.values())) > 1:
            differing[name] = values
    return differing


def _comparable(facts: Mapping[str, Any]) -> dict[str, str]:
    """Reduce a server's settings to those that all servers have, by common names."""
    info, config = facts.get("info", {}), facts["config"]
    values = {"persistence": str(facts["persistence"])} if facts["persistence"] != UNKNOWN else {}
    if eviction(info):
        values["maxmemory-policy"] = eviction(info)
    return values | {name: str(value) for name, value in config.items()}


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
    """Ask how far every replica says that it is; 0 before it has said anything.

    Those of Dragonfly aren't among them: it doesn't tell how far they are.
    """
    info: Any = client.info("replication")
    replicas = [info[f"slave{number}"] for number in range(info.get("connected_slaves", 0))]
    return [int(replica["offset"]) for replica in replicas if "offset" in replica]


def start_own_servers(names: Iterable[str], stack: ExitStack) -> dict[str, RunningServer]:
    """Start a server under each name; they and this thread are pinned to one CPU.

    Raises:
        ProgramMissing, ServerStartError: no server can be started here.
    """
    program = find_embeddable_program()
    cpus = choose_cpus(SAME)
    servers = {}
    for name in names:
        process = stack.enter_context(ServerProcess(program))
        if cpus is not None:
            pin_process(process.pid, {cpus.server})
        probe = PlacementProbe(process.pid)
        stack.callback(probe.close)
        servers[name] = RunningServer(process.url, probe)
    stack.enter_context(pinned_client(cpus.client if cpus else None))
    return servers
