"""Start several servers that work together: a primary with replicas under Sentinel, or a Cluster.

Their servers are started from one program, set up through the servers' own commands, and usable
when the `with` block begins: every member knows every other. Members are `ServerProcess`es, so
tests can kill, hold or restart them.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import combinations
from typing import Any, Self

import redis

from redisdict.servers.process import ServerProcess, ServerStartError
from redisdict.servers.programs import LOOPBACK, Program, find_sentinel_program, replica_of

_SLOTS = 16384
_AGREEMENT_TIMEOUT_S = 30.0


class _Topology(ABC):
    """Starts its members and stops all of them, also when only some could be started."""

    def __init__(self, program: Program | None) -> None:
        self.program = program or find_sentinel_program()
        self.members: list[ServerProcess] = []

    @property
    @abstractmethod
    def location(self) -> str:
        """The address of the whole, as the `LOCATION` setting takes it."""

    @abstractmethod
    def _set_up(self) -> None: ...

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start every member and wait until they agree. Raises `ServerStartError`."""
        try:
            self._set_up()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for member in self.members:
            member.terminate()
        for member in self.members:
            member.stop()
        self.members.clear()

    def _launch(
        self, *arguments: str, config: str | None = None, program: Program | None = None
    ) -> ServerProcess:
        member = ServerProcess(program or self.program, arguments=arguments, config=config)
        self.members.append(member)
        member.launch()
        return member


class SentinelTopology(_Topology):
    """One primary, its replicas, and the sentinels that watch over them under `service`.

    `primary` and `replicas` are the roles at the start; `current_primary()` asks for the present
    one. A lost primary is noticed after `down_after_ms` and replaced about 1.3 s later. The
    sentinels run `sentinel_program`: the servers' own program, except for Dragonfly, which can't be
    a sentinel.
    """

    def __init__(
        self,
        program: Program | None = None,
        *,
        service: str = "mymaster",
        replicas: int = 2,
        sentinels: int = 3,
        down_after_ms: int = 5000,
        sentinel_program: Program | None = None,
    ) -> None:
        super().__init__(program)
        if sentinel_program is None and self.program.family == "dragonfly":
            sentinel_program = find_sentinel_program()
        self.sentinel_program = sentinel_program or self.program
        self.service = service
        self.down_after_ms = down_after_ms
        self.replicas: list[ServerProcess] = []
        self.sentinels: list[ServerProcess] = []
        self._replica_count = replicas
        self._sentinel_count = sentinels

    @property
    def primary(self) -> ServerProcess:
        return self.members[0]

    @property
    def location(self) -> str:
        addresses = ",".join(sentinel.address for sentinel in self.sentinels)
        return f"redis+sentinel://{addresses}/{self.service}/0"

    def current_primary(self) -> ServerProcess:
        """The member that the first sentinel alive names as the primary now."""
        for sentinel in self.sentinels:
            if not sentinel.is_running:
                continue
            with sentinel.client() as client:
                _, port = client.execute_command(
                    "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service
                )
            return next(member for member in self.members if member.port == int(port))
        raise ServerStartError(f"No sentinel of {self.location} is running.")

    def _set_up(self) -> None:
        self._launch().wait_until_ready()
        self.replicas = [
            self._launch(*replica_of(self.program, LOOPBACK, self.primary.port))
            for _ in range(self._replica_count)
        ]
        self.sentinels = [
            self._launch(
                "--sentinel", config=self._sentinel_config(), program=self.sentinel_program
            )
            for _ in range(self._sentinel_count)
        ]
        for member in self.members:
            member.wait_until_ready()
        with _clients([self.primary]) as (primary,):
            _wait_until(
                lambda: _replicas_in_step(primary) == self._replica_count,
                f"the replicas of {self.primary.address} to have their copies",
            )
        with _clients(self.sentinels) as clients:
            usual_periods = [_hasten(client) for client in clients]
            _wait_until(
                lambda: all(self._knows_everybody(client) for client in clients),
                f"the sentinels of {self.service} to know one another and the replicas",
            )
            for client, periods in zip(clients, usual_periods, strict=True):
                _set_periods(client, periods)

    def _sentinel_config(self) -> str:
        # Half the sentinels and one more, so that two halves can't each choose a primary.
        quorum = self._sentinel_count // 2 + 1
        return (
            f"sentinel monitor {self.service} {LOOPBACK} {self.primary.port} {quorum}\n"
            f"sentinel down-after-milliseconds {self.service} {self.down_after_ms}\n"
            f"sentinel failover-timeout {self.service} {max(3 * self.down_after_ms, 3000)}\n"
        )

    def _knows_everybody(self, sentinel: redis.Redis) -> bool:
        state: Any = sentinel.sentinel_master(self.service)
        known: tuple[int, int] = (state["num-slaves"], state["num-other-sentinels"])
        return known == (self._replica_count, self._sentinel_count - 1)


class ClusterTopology(_Topology):
    """A Cluster of three or more primaries, each with as many replicas as asked for."""

    def __init__(
        self,
        program: Program | None = None,
        *,
        primaries: int = 3,
        replicas_each: int = 0,
        node_timeout_ms: int = 2000,
    ) -> None:
        super().__init__(program)
        self.primaries: list[ServerProcess] = []
        self.replicas: list[ServerProcess] = []
        self._primary_count = primaries
        self._replicas_each = replicas_each
        self._node_timeout_ms = node_timeout_ms

    @property
    def location(self) -> str:
        return "redis+cluster://" + ",".join(node.address for node in self.members)

    def _set_up(self) -> None:
        node_count = self._primary_count * (1 + self._replicas_each)
        arguments = (
            *("--cluster-enabled", "yes"),
            *("--cluster-node-timeout", str(self._node_timeout_ms)),
            *("--cluster-announce-ip", LOOPBACK),
            # A replica is listed once its offset has moved, which in an idle cluster a ping does.
            *("--repl-ping-replica-period", "1"),
        )
        nodes = [self._launch(*arguments) for _ in range(node_count)]
        for node in nodes:
            node.wait_until_ready()
        self.primaries = nodes[: self._primary_count]
        self.replicas = nodes[self._primary_count :]
        with _clients(nodes) as clients:
            self._share_out_slots(clients[: self._primary_count])
            for one, other in combinations(range(node_count), 2):
                clients[one].execute_command("CLUSTER", "MEET", LOOPBACK, nodes[other].port)
            _wait_until(
                lambda: all(_cluster_info(client) == ("ok", node_count) for client in clients),
                f"{node_count} cluster nodes to know one another",
            )
            for number, client in enumerate(clients[self._primary_count :]):
                primary = clients[number % self._primary_count]
                client.execute_command(
                    "CLUSTER", "REPLICATE", primary.execute_command("CLUSTER", "MYID")
                )
            _wait_until(
                lambda: (
                    all(self._sees_all_replicas(client) for client in clients)
                    and sum(map(_replicas_in_step, clients)) == len(self.replicas)
                ),
                "the cluster's replicas to have their copies and be known to every node",
            )

    def _share_out_slots(self, primaries: list[redis.Redis]) -> None:
        for number, client in enumerate(primaries):
            # Different epochs from the start, or the nodes first have to settle who gives way.
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first = number * _SLOTS // len(primaries)
            beyond = (number + 1) * _SLOTS // len(primaries)
            # ADDSLOTSRANGE says the same in three words, but Redis 6.2 hasn't got it.
            client.execute_command("CLUSTER", "ADDSLOTS", *range(first, beyond))

    def _sees_all_replicas(self, client: redis.Redis) -> bool:
        ranges: Any = client.execute_command("CLUSTER", "SLOTS")
        # first slot, last slot, the primary, then each replica
        return len(ranges) == self._primary_count and all(
            len(slots) == 3 + self._replicas_each for slots in ranges
        )


@contextmanager
def _clients(servers: Iterable[ServerProcess]) -> Iterator[list[redis.Redis]]:
    """One client for each server, closed together."""
    with ExitStack() as stack:
        yield [stack.enter_context(server.client()) for server in servers]


def _cluster_info(client: redis.Redis) -> tuple[str, int]:
    """The node's opinion of the cluster ("ok" or "fail"), and how many nodes it knows."""
    reply: bytes = client.execute_command("CLUSTER", "INFO")
    info = dict(line.split(":", 1) for line in reply.decode().split())
    return info["cluster_state"], int(info["cluster_known_nodes"])


def _replicas_in_step(client: redis.Redis) -> int:
    """Count the replicas of a server that have their first copy and follow it."""
    info: Any = client.info("replication")
    count: int = info["connected_slaves"]
    return sum(info[f"slave{number}"]["state"] == "online" for number in range(count))


def _hasten(sentinel: redis.Redis) -> dict[str, str]:
    """Let a sentinel talk to the others ten times a second; gives back its usual periods.

    Agreement takes 2 to 10 s otherwise. Redis before 7.0 can't, and is waited for.
    """
    try:
        usual: dict[bytes, bytes] = sentinel.execute_command("SENTINEL", "DEBUG")
    except redis.ResponseError:
        return {}
    periods = {name: usual[name.encode()].decode() for name in ("INFO-PERIOD", "PUBLISH-PERIOD")}
    _set_periods(sentinel, dict.fromkeys(periods, "100"))
    return periods


def _set_periods(sentinel: redis.Redis, periods: dict[str, str]) -> None:
    for name, milliseconds in periods.items():
        sentinel.execute_command("SENTINEL", "DEBUG", name, milliseconds)


def _wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _AGREEMENT_TIMEOUT_S
    while not is_so():
        if time.monotonic() > deadline:
            raise ServerStartError(f"Waited {_AGREEMENT_TIMEOUT_S} s in vain for {what}.")
        time.sleep(0.02)
