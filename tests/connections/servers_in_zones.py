"""Servers that are made up, in zones, and the sentinels that know them; and a clock."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from redis.crc import key_slot
from redis.exceptions import NoPermissionError, ResponseError

from redisdict.conf import AliasConfig, parse_alias
from redisdict.connections.announced import AddressBook
from redisdict.connections.cluster import Cluster
from redisdict.connections.locations import Address, parse_location
from redisdict.connections.sentinel_replicas import SentinelReplicas
from redisdict.connections.zones import LOOK_AGAIN_S, Zones
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.combinators import ask
from redisdict.wire.requests import Batch, Call, Operation, Reply, Sleep

LOCATIONS = {"cluster": "redis+cluster://h:1", "sentinel": "redis+sentinel://s:1,s:2/shop/3"}

#: A key of each half of the slots.
KEYS = [
    next(key for key in map(b"%d".__mod__, range(100)) if key_slot(key) // 8192 == half)
    for half in (0, 1)
]


class World:
    """Servers, each with its zone, and the sentinels that know them.

    Args:
        kind: "cluster" or "sentinel".
        shards: the zones of the servers of each shard, its primary's first.

    Attributes:
        down: the servers that don't answer.
        left_out: those that aren't announced, because the others have noticed that they are down.
        refusing: those whose user may not send INFO.
        behind: replicas that haven't got their copy yet.
        ignorant: sentinels that don't know the service.
        asked: the servers that were sent a command, with its name.
        locations: those of all servers that an endpoint was made for.
    """

    def __init__(self, kind: str, shards: Sequence[Sequence[str]], own: Any) -> None:
        self.kind = kind
        self.zones: dict[Address, str] = {}
        self.shards: list[list[Address]] = []
        for names in shards:
            servers = [("h", 1 + len(self.zones) + number) for number in range(len(names))]
            self.zones |= dict(zip(servers, names, strict=True))
            self.shards.append(servers)
        self.down: set[Address] = set()
        self.left_out: set[Address] = set()
        self.refusing: set[Address] = set()
        self.behind: set[Address] = set()
        self.ignorant: set[Address] = set()
        self.asked: list[tuple[Address, str]] = []
        self.locations: set[str] = set()
        config = parse_alias("shop", {"LOCATION": LOCATIONS[kind]})
        server: Any = SimpleNamespace(
            config=config, address="here", retry_for_s=0.0, has_credential_provider=False
        )
        location = parse_location(LOCATIONS[kind])
        zones = Zones(own, "ZONE")
        self.group: Any
        if kind == "cluster":
            self.group = Cluster(server, location, self.make, to_replicas=True, zones=zones)
        else:
            self.group = SentinelReplicas(server, location, self.make, AddressBook(), zones)

    def make(self, config: AliasConfig) -> Any:
        """Make the endpoint of a server: its address is enough here."""
        assert config.location is not None
        self.locations.add(config.location)
        options = parse_location(config.location).options
        return options["host"], options["port"]

    def read(self, shard: int = 0) -> Address | None:
        """Read a key of a shard; gives the server that has answered, None if none did."""
        try:
            port = self.play(self.group.route(ask((b"GET", KEYS[shard]))))
        except BackendUnavailable:
            return None
        return "h", port

    def count(self, name: str, server: Address | None = None) -> int:
        return sum(what == name and server in (None, who) for who, what in self.asked)

    def play(self, routing: Any) -> Any:
        value: Any = None
        step = routing.send
        while True:
            try:
                routed = step(value)
            except StopIteration as stop:
                return stop.value
            step = routing.send
            try:
                if isinstance(routed, list):
                    value = [self.outcome(*part) for part in routed]
                else:
                    value = self.run(*routed)
            except Exception as error:  # noqa: BLE001  # passed on, not swallowed
                step, value = routing.throw, error

    def outcome(self, server: Address, batch: Batch) -> Reply:
        try:
            return self.answer(server, batch)
        except BackendUnavailable as error:
            return error

    def run(self, server: Address, operation: Operation[Any]) -> Any:
        try:
            request = operation.send(None)
            while True:
                request = operation.send(self.answer(server, request))
        except StopIteration as stop:
            return stop.value

    def answer(self, server: Address, request: Any) -> Reply:
        if isinstance(request, Sleep):
            return None
        if isinstance(request, Call):
            return request.function(*request.arguments)
        if isinstance(request, Batch):
            return [self.answer(server, command) for command in request.commands]
        words = b" ".join(request[:2]).decode()
        self.asked.append((server, words if words.startswith("INFO") else words.split()[0]))
        if server in self.down:
            raise BackendUnavailable("down")
        if words.startswith("INFO") and server in self.refusing:
            return NoPermissionError("INFO")
        if words == "INFO replication":
            status = "down" if server in self.behind else "up"
            return f"# Replication\r\nmaster_link_status:{status}\r\n".encode()
        if words == "INFO server":
            return f"# Server\r\navailability_zone:{self.zones[server]}\r\n".encode()
        if words == "CLUSTER SLOTS":
            return [self.slots_of(number) for number in range(len(self.shards))]
        if server in self.ignorant:
            return ResponseError("No such master") if "SLAVES" in words else []
        if words.startswith("SENTINEL"):
            [[primary, *replicas]] = self.shards
            return [*map(self.state, replicas if "SLAVES" in words else [primary])]
        return b"OK" if words == "READONLY" else server[1]

    def slots_of(self, number: int) -> list[Any]:
        primary, *replicas = self.shards[number]
        size = 16384 // len(self.shards)
        up = [each for each in replicas if each not in self.left_out]
        nodes = [[host.encode(), port, b"id", []] for host, port in (primary, *up)]
        return [number * size, (number + 1) * size - 1, *nodes]

    def state(self, server: Address) -> list[bytes]:
        host, port = server
        flags = b"slave,s_down" if server in self.left_out else b"slave"
        fields = {"name": b"shop", "ip": host.encode(), "port": b"%d" % port, "flags": flags}
        return [word for name, value in fields.items() for word in (name.encode(), value)]

    def best(self, shard: int, own: str) -> set[Address]:
        """The servers of which one should be read when all are up."""
        primary, *replicas = self.shards[shard]
        near = {each for each in replicas if self.zones[each] == own}
        if near or not replicas:
            return near or {primary}
        return {primary} if self.zones[primary] == own else {*replicas}


class Clock:
    """The monotonic clock, put forward by the test."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def go_on(self) -> None:
        self.now_s += LOOK_AGAIN_S + 1
