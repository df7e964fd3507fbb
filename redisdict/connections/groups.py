"""Hold the servers of a group, such as a Cluster, each with an endpoint of its own."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from redisdict.conf import AliasConfig, Options
from redisdict.connections import retry
from redisdict.connections.locations import Address, Location
from redisdict.connections.routing import Node

T = TypeVar("T")
N = TypeVar("N", bound=Node)

#: Options that are the group's, and no server's.
OF_GROUP = frozenset(
    {"address_remap", "availability_zone", "dynamic_startup_nodes", "read_from_replicas"}
)

#: Not the module's own, whose state is the same in forked processes.
_random = random.SystemRandom()


class Group(Generic[N]):
    """Several servers behind one location: makes the endpoint of each when it is first needed.

    Args:
        server: the group as a whole, for its configuration and for the rules of retries.
        make_node: makes a server's endpoint from the configuration of that server alone.
    """

    def __init__(
        self, server: retry.Server, location: Location, make_node: Callable[[AliasConfig], N]
    ) -> None:
        self._server = server
        self._location = location
        self._make_endpoint = make_node
        self._nodes: dict[Address, N] = {}

    @property
    def nodes(self) -> list[N]:
        """The servers that were needed so far."""
        return list(self._nodes.values())

    def _node(self, address: Address) -> N:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes.setdefault(address, self._make_node(address))
        return node

    def _make_node(self, address: Address) -> N:
        config = self._server.config
        options = {
            **{name: each for name, each in config.options.items() if name not in OF_GROUP},
            **self._location.options,  # its credentials are every server's
        }
        return self._make_endpoint(config_of_one(config, self._location, address, options))


def config_of_one(
    config: AliasConfig, location: Location, address: Address, options: Options
) -> AliasConfig:
    """Make the configuration of one server of a group, which is used by the group's router."""
    host, port = address
    scheme = "rediss" if location.is_tls else "redis"
    database = options.get("db", 0) if location.kind == "sentinel" else 0
    return dataclasses.replace(
        config,
        location=f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{database}",
        options=options,
        retry_for=0.0,  # what comes after is the router's to decide
        tracer=None,  # the router's requests are traced
    )


def random_turn() -> int:
    """Choose where to begin, so that not all processes begin with one replica."""
    return _random.randrange(1000)


def in_turn(replicas: Sequence[T], turn: int) -> Sequence[T]:
    """Begin the list with the replica whose turn it is."""
    first = turn % max(len(replicas), 1)
    return [*replicas[first:], *replicas[:first]]
