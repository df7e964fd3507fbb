"""Read from one of the replicas behind Sentinel, chosen by availability zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from redis.exceptions import ResponseError

from redisdict.conf import AliasConfig, Options
from redisdict.connections import retry
from redisdict.connections.announced import AddressBook
from redisdict.connections.groups import Group, N, config_of_one, in_turn, random_turn
from redisdict.connections.locations import Address, Location
from redisdict.connections.routing import Routing
from redisdict.connections.sentinel import sentinel_options
from redisdict.connections.zones import Zones
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.combinators import ask, intercept
from redisdict.wire.requests import Batch, Call, Operation, Reply, Request, Sleep

T = TypeVar("T")

#: The flags of a server that a sentinel believes to be down.
DOWN = frozenset({b"s_down", b"o_down"})


class _Known(NamedTuple):
    """The servers of one service that are up, as a sentinel knows them."""

    replicas: list[Address]
    primary: Address | None


class SentinelReplicas(Group[N]):
    """The replicas behind sentinels, of which one is read. Used by threads and tasks.

    Without zones each connection asks the sentinels for itself (`sentinel`). Here this process
    asks them, and stays with the server that it has chosen until that fails.

    Args:
        server: the replicas as a whole.
        make_node: makes the endpoint of a replica, or of a sentinel, from its configuration.
        book: translates the addresses that sentinels announce.
        zones: says which replica is preferred.
    """

    def __init__(
        self,
        server: retry.Server,
        location: Location,
        make_node: Callable[[AliasConfig], N],
        book: AddressBook,
        zones: Zones,
    ) -> None:
        super().__init__(server, location, make_node)
        self._book = book
        self._zones = zones
        self._turn = random_turn()
        self._chosen: Address | None = None
        options = sentinel_options(location, server.config.options)
        #: The one that has answered last is first.
        self._sentinels = [self._make_sentinel(address, options) for address in location.nodes]

    @property
    def nodes(self) -> list[N]:
        """The sentinels, and the servers that were needed so far."""
        return [*self._sentinels, *super().nodes]

    def route(self, operation: Operation[T]) -> Routing[T]:
        """Run an operation, request by request, on the chosen replica."""
        return intercept(operation, self._answer)

    def _answer(self, request: Request) -> Routing[Reply]:
        if isinstance(request, (Sleep, Call)):
            return (yield self._sentinels[0], ask(request))
        try:
            return (yield from self._answer_once(request))
        except BackendUnavailable:
            return (yield from self._answer_once(request))

    def _answer_once(self, request: Request) -> Routing[Reply]:
        looks_again = self._zones.take_look()
        address = self._chosen
        if address is None:
            self._turn += 1
        if looks_again or address is None:
            address = self._chosen = yield from self._choose()
        try:
            return (yield self._node(address), ask(request))
        except BackendUnavailable:
            self._zones.avoid(address)
            self._chosen = None
            raise

    def _choose(self) -> Routing[Address]:
        """Choose the replica to read from; the primary when there is none."""
        known = yield from self._ask_sentinels()
        servers = {*known.replicas, *([known.primary] if known.primary else [])}
        yield from self._zones.learn(servers, self._node)
        return self._zones.in_order(in_turn(known.replicas, self._turn), known.primary)[0]

    def _ask_sentinels(self) -> Routing[_Known]:
        """Ask one sentinel after another until one knows a replica that is up.

        Raises:
            BackendUnavailable: none that answers knows any server that is up.
        """
        service = self._location.service.encode()
        batch = Batch([(b"SENTINEL", b"SLAVES", service), (b"SENTINEL", b"MASTERS")])
        known = _Known([], None)
        failure: BackendUnavailable | None = None
        for sentinel in self._sentinels:
            try:
                replies = yield sentinel, ask(batch)
            except BackendUnavailable as error:
                failure = error
                continue
            known = self._read(replies, service, known)
            if known.replicas:
                others = [each for each in self._sentinels if each is not sentinel]
                self._sentinels = [sentinel, *others]
                break
        if known.replicas or known.primary:
            return known
        raise failure or BackendUnavailable(
            f"None of the sentinels of {self._server.config.where} ({self._location.address}) that"
            f" answer knows a server of {self._location.service!r} that is up."
        )

    def _read(self, replies: Sequence[Reply], service: bytes, known: _Known) -> _Known:
        """Read the replies to SENTINEL SLAVES and MASTERS, where they aren't refused."""
        replicas, primaries = (
            [] if isinstance(reply, ResponseError) else _read_states(reply) for reply in replies
        )
        own = [state for state in primaries if state[b"name"] == service]
        reached = [self._book.reach(address) for address in _addresses(own)]
        return _Known(
            [self._book.reach(address) for address in _addresses(replicas)],
            reached[0] if reached else known.primary,
        )

    def _make_sentinel(self, address: Address, options: Options) -> N:
        config = self._server.config
        return self._make_endpoint(config_of_one(config, self._location, address, options))


def _read_states(reply: Sequence[Reply]) -> list[Mapping[bytes, bytes]]:
    """Read what a sentinel knows of servers: mappings, in RESP2 lists of fields and values."""
    return [
        state if isinstance(state, Mapping) else dict(zip(state[::2], state[1::2], strict=True))
        for state in reply
    ]


def _addresses(states: Sequence[Mapping[bytes, bytes]]) -> list[Address]:
    """Read the addresses of the servers that are up."""
    return [
        (state[b"ip"].decode(), int(state[b"port"]))
        for state in states
        if DOWN.isdisjoint(state[b"flags"].split(b","))
    ]
