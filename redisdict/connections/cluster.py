"""Route requests in a Cluster: each goes to the node that has its slot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import TypeVar, cast

from redis.exceptions import (
    AskError,
    ClusterDownError,
    ExecAbortError,
    MovedError,
    ResponseError,
    TryAgainError,
)

from redisdict.conf import AliasConfig
from redisdict.connections import retry
from redisdict.connections.announced import AddressBook
from redisdict.connections.cluster_requests import (
    as_it_is,
    ask_importing,
    ask_replica,
    reading,
)
from redisdict.connections.groups import Group, N, in_turn, random_turn
from redisdict.connections.locations import Address, Location
from redisdict.connections.retry import Failure, retries
from redisdict.connections.routing import Routing
from redisdict.connections.shards import Shard, choices, nodes_by_slot, read_shards
from redisdict.connections.zones import Zones
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.combinators import ask, intercept
from redisdict.wire.commands import scans_all_nodes, slot_of
from redisdict.wire.requests import (
    Batch,
    Call,
    Command,
    GuaranteeRefused,
    Operation,
    Reply,
    Request,
    Sleep,
    Waits,
    as_batch,
)
from redisdict.wire.scan import ClusterCursor

T = TypeVar("T")

#: The node refused, and will or another node will do it: nothing was carried out.
NOT_NOW = (ClusterDownError, TryAgainError, ExecAbortError)


class Cluster(Group[N]):
    """The nodes of one Cluster, and which of them has which slot. Used by threads and tasks.

    Args:
        server: the Cluster as a whole, for the rules of retries.
        make_node: makes a node's endpoint from the configuration of that node alone.
        book: translates the addresses that nodes announce.
        remembers_nodes: whether announced nodes, too, are asked where the slots are, and not only
            those of the location.
        to_replicas: whether to ask a replica of the node that has a slot, for what only reads.
        zones: prefers replicas in the zone of this process; None prefers none.
    """

    def __init__(
        self,
        server: retry.Server,
        location: Location,
        make_node: Callable[[AliasConfig], N],
        book: AddressBook | None = None,
        *,
        remembers_nodes: bool = True,
        to_replicas: bool = False,
        zones: Zones | None = None,
    ) -> None:
        super().__init__(server, location, make_node)
        self._book = book or AddressBook()
        self._remembers_nodes = remembers_nodes
        self._to_replicas = to_replicas
        self._zones = zones
        self._turn = random_turn()
        self._by_slot: dict[int, Address] = {}

    @property
    def primaries(self) -> list[N]:
        """The nodes that have slots, as far as is known: none before the first command."""
        return [self._node(address) for address in dict.fromkeys(self._by_slot.values())]

    def owner(self, slot: int) -> N | None:
        """Find the node that has a slot, as far as is known; None until it is asked for again."""
        address = self._by_slot.get(slot)
        return None if address is None else self._node(address)

    def route(self, operation: Operation[T]) -> Routing[T]:
        """Run an operation, request by request, each on the node that it is for."""
        return intercept(operation, self._answer)

    def _answer(self, request: Request) -> Routing[Reply]:
        if isinstance(request, (Sleep, Call)):
            return (yield self._node(self._location.nodes[0]), ask(request))
        if self._to_replicas and isinstance(request, Batch) and request.is_atomic:
            # READONLY would have to come before, over the same connection.
            raise BackendUnavailable("a replica isn't asked for a transaction")
        if scans_all_nodes(request):
            return (yield from self._scan_all(request))
        if isinstance(request, Batch) and request.is_spread:
            return (yield from self._spread(request))
        return (yield from self._answer_in(slot_of(request), request))

    def _answer_in(self, slot: int | None, request: Command | Batch) -> Routing[Reply]:
        """Ask the node that has the slot, whichever it is; follow redirections, and retry."""
        pauses: Generator[float, Failure, None] | None = None
        redirection: AskError | None = None
        while True:
            address: Address | None = None
            try:
                yield from self._learn_slots_if_needed()
                address = self._address_for(slot, redirection)
                is_asking = redirection is not None and not isinstance(redirection, MovedError)
                how = ask_importing if is_asking else self._ask
                reply = yield self._node(address), how(request)
                if isinstance(request, Batch) and not request.is_atomic:
                    return (yield from self._complete(request, reply))
                return reply
            except AskError as error:  # MOVED is one, too
                redirection = error
                if isinstance(error, MovedError):
                    # More slots may have moved, so all are asked for before the next request.
                    self._by_slot = {}
            except (BackendUnavailable, *NOT_NOW) as error:
                if isinstance(error, BackendUnavailable) and error.outcome_unknown:
                    raise
                self._avoid(address)
                redirection = None
                self._by_slot = {}
                cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
                failure = Failure(cause, may_be_done=False)
                if pauses is None:
                    pauses = retries(self._server, request, failure)
                    pause_s = next(pauses)
                else:
                    pause_s = pauses.send(failure)
                yield self._node(self._location.nodes[0]), ask(Sleep(pause_s))

    def _avoid(self, address: Address | None) -> None:
        if self._zones is not None and address is not None:
            self._zones.avoid(address)

    def _ask(self, request: Command | Batch) -> Operation[Reply]:
        return ask_replica(request) if self._to_replicas else ask(request)

    def _scan_all(self, request: Command | Batch) -> Routing[Reply]:
        """Read one page of a SCAN of all primaries, one node after the other.

        The SCAN is a command by itself, or all of a batch.

        """
        name, cursor, *arguments = as_batch(request).commands[0]
        at = ClusterCursor.parse(cursor)
        own: Command = (name, at.place, *arguments)
        if isinstance(request, Batch):
            part = dataclasses.replace(request, commands=[own], is_spread=False)
            reply = yield from self._answer_in(at.slot, part)
            [page] = reply
        else:
            reply = page = yield from self._answer_in(at.slot, own)
        if isinstance(page, ResponseError):
            return reply
        following = ClusterCursor(int(page[0]), at.slot)
        if following.place == 0:
            if not self._by_slot:  # whatever is answered, the slots are known by then
                yield from self._answer_in(None, (b"INFO",))
            following = ClusterCursor(0, _next_node(self._by_slot, at.slot) or 0)
        whole = [bytes(following), page[1]]
        return [whole] if isinstance(request, Batch) else whole

    def _spread(self, batch: Batch) -> Routing[Reply]:
        """Send each node its part of a batch, all at once; send refused parts again by slots."""
        slots = [slot_of(command) for command in batch.commands]
        with suppress(BackendUnavailable, *NOT_NOW):  # it is tried again for each slot
            yield from self._learn_slots_if_needed()
        places_by_node: dict[Address | None, list[int]] = {}
        for place, slot in enumerate(slots):
            places_by_node.setdefault(self._by_slot.get(cast(int, slot)), []).append(place)
        answers = _Answers(batch)
        answers.refused += places_by_node.pop(None, [])
        # In one order, so that no two callers wait for one another's connections.
        parts = [
            (cast(Address, address), places)
            for address, places in sorted(places_by_node.items(), key=itemgetter(0))
        ]
        if batch.wait is not None:
            for assured in (yield [(self._node(each), answers.part([])) for each, _ in parts]):
                if isinstance(assured, GuaranteeRefused):
                    raise assured
        with _partial():
            ready = reading if self._to_replicas else as_it_is
            replies = yield [
                (self._node(address), ready(answers.part(places))) for address, places in parts
            ]
            for (address, places), reply in zip(parts, replies, strict=True):
                if isinstance(reply, BackendUnavailable):
                    self._avoid(address)
                is_read = self._to_replicas and isinstance(reply, list)
                answers.take(places, reply[1:] if is_read else reply)
            if answers.refused:
                self._by_slot = {}
            places_by_slot: dict[int | None, list[int]] = {}
            for place in answers.refused:
                places_by_slot.setdefault(slots[place], []).append(place)
            for slot, places in places_by_slot.items():
                try:
                    reply = yield from self._answer_in(slot, answers.part(places))
                except BackendUnavailable as error:
                    # It didn't reach this node, but what others have done would be done twice.
                    error.outcome_unknown |= answers.is_begun and not batch.is_repeatable
                    raise
                answers.take(places, reply)
        return answers.whole()

    def _complete(self, batch: Batch, reply: Reply) -> Routing[Reply]:
        """Send those commands of a batch again, each alone, that the node has refused for now."""
        own, waited = (reply, None) if batch.wait is None else reply
        for at, answer in enumerate(own):
            if not isinstance(answer, (AskError, *NOT_NOW)):
                continue
            if len(own) == 1:
                raise answer
            again = dataclasses.replace(batch, commands=[batch.commands[at]])
            with _partial():
                redone = yield from self._answer(again)
            if batch.wait is None:
                own[at] = redone[0]
            else:
                own[at], waited = redone[0][0], Waits.of(waited, redone[1])
        return own if batch.wait is None else (own, waited)

    def _learn_slots_if_needed(self) -> Routing[None]:
        looks_again = self._zones is not None and self._zones.take_look()
        if not self._by_slot:
            self._turn += 1
        if looks_again or not self._by_slot:
            yield from self._learn_slots()

    def _learn_slots(self) -> Routing[None]:
        """Ask the nodes for CLUSTER SLOTS, until one answers."""
        failure: BackendUnavailable | None = None
        known = self._nodes if self._remembers_nodes else ()
        for address in dict.fromkeys((*known, *self._location.nodes)):
            try:
                reply = yield self._node(address), ask((b"CLUSTER", b"SLOTS"))
            except BackendUnavailable as error:
                failure = error
                continue
            if reply:
                has_choice = self._to_replicas
                shards = read_shards(reply, address, self._book, with_replicas=has_choice)
                if self._zones is not None:
                    yield from self._zones.learn(choices(shards), self._node)
                self._by_slot = nodes_by_slot(shards, self._choose)
                return
        raise failure or ClusterDownError("no node of the cluster has any slots")

    def _choose(self, shard: Shard) -> Address:
        """Choose the node that is asked for the slots of a shard."""
        if not self._to_replicas:
            return shard.primary
        replicas = in_turn(shard.replicas, self._turn)
        if self._zones is None:
            return replicas[0] if replicas else shard.primary
        # Without replicas, too: those that come back are found when the servers are learnt again.
        return self._zones.in_order(replicas, shard.primary)[0]

    def _address_for(self, slot: int | None, redirection: AskError | None) -> Address:
        if redirection is not None and redirection.host:
            return self._book.reach((redirection.host, redirection.port))
        by_slot = self._by_slot
        if slot is None:
            return next(iter(by_slot.values()))
        address = by_slot.get(slot)
        if address is None:
            raise ClusterDownError(f"no node of the cluster has the slot {slot}")
        return address


@contextmanager
def _partial() -> Iterator[None]:
    """Mark refusals in this block as partial: another node was sent another part of the batch."""
    try:
        yield
    except GuaranteeRefused as refusal:
        refusal.is_partial = True
        raise


class _Answers:
    """The replies to a batch that nodes answer in parts."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._own: list[Reply] = [None] * len(batch.commands)
        self._waits: list[Reply] = []
        #: The places of the commands that no node has carried out yet.
        self.refused: list[int] = []
        #: Whether a node has carried any out.
        self.is_begun = False

    def part(self, places: Sequence[int]) -> Batch:
        commands = [self._batch.commands[place] for place in places]
        return dataclasses.replace(self._batch, commands=commands, is_spread=False)

    def take(self, places: Sequence[int], reply: Reply) -> None:
        """Note the outcome of the part with these places: its replies, or the error of its node.

        Raises:
            BackendUnavailable: the node may have carried it out, and it must not be repeated.
        """
        if isinstance(reply, BaseException):
            is_unknown = isinstance(reply, BackendUnavailable) and reply.outcome_unknown
            if is_unknown or not isinstance(reply, (BackendUnavailable, AskError, *NOT_NOW)):
                raise reply
            self.refused += places
            return
        own = reply
        if self._batch.wait is not None:
            own, waited = reply
            self._waits.append(waited)
        for place, answer in zip(places, own, strict=True):
            if isinstance(answer, (AskError, *NOT_NOW)):
                self.refused.append(place)
            else:
                self._own[place] = answer
                self.is_begun = True

    def whole(self) -> Reply:
        """Return the answer to the batch."""
        return self._own if self._batch.wait is None else (self._own, Waits.of(*self._waits))


def _next_node(by_slot: Mapping[int, Address], slot: int) -> int | None:
    """Find the first slot of the node that follows, in the order of their first slots."""
    first: dict[Address, int] = {}
    for each in sorted(by_slot):
        first.setdefault(by_slot[each], each)
    return min((each for each in first.values() if each > slot), default=None)
