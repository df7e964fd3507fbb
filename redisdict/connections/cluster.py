"""A Cluster: every request goes to the node that has its slot.

The router is a generator, as operations are: it yields errands, each a node's backend with what
that is to run, and is sent the result. So each node has the pools and drivers that a single server
has. `routing_drivers` runs the errands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from redis.exceptions import (
    AskError,
    ClusterDownError,
    ExecAbortError,
    MovedError,
    ResponseError,
    TryAgainError,
)

from redisdict.connections.retry import Attempts
from redisdict.connections.slots import (
    SLOTS,
    Address,
    has_all_nodes,
    next_node,
    nodes_by_slot,
    slot_of,
)
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.combinators import intercept
from redisdict.wire.requests import (
    Batch,
    Call,
    Command,
    GuaranteeRefused,
    Identified,
    Operation,
    Request,
    Sleep,
    Waits,
)

if TYPE_CHECKING:
    from redisdict.connections.backend import Backend

__all__ = ["Cluster", "Errand", "ask"]

T = TypeVar("T")

#: A node's backend, and what it is to run; or batches for several nodes that go out at once, of
#: which the result is a list, with the error of a node that didn't answer in its place.
Errand: TypeAlias = "tuple[Backend, Operation[Any]] | list[tuple[Backend, Batch]]"

#: The node refused, and will or another node will do it: nothing was carried out.
NOT_NOW = (ClusterDownError, TryAgainError, ExecAbortError)


class Cluster:
    """The nodes of one Cluster, and which of them has which slot. Used by threads and tasks."""

    def __init__(self, backend: Backend, make_backend: Callable[[Any], Backend]) -> None:
        self._backend = backend
        self._make_backend = make_backend
        self._location = backend.factory.location
        self._nodes: dict[Address, Backend] = {}
        self._by_slot: dict[int, Address] = {}

    @property
    def nodes(self) -> list[Backend]:
        """The nodes that were needed so far."""
        return list(self._nodes.values())

    def route(self, operation: Operation[T]) -> Generator[Errand, Any, T]:
        """Runs the operation, request by request, each on the node that it is for."""
        return intercept(operation, self._answer)

    def _answer(self, request: Request) -> Generator[Errand, Any, Any]:
        if isinstance(request, (Sleep, Call)):
            return (yield self._node(self._location.nodes[0]), ask(request))
        if has_all_nodes(request):
            return (yield from self._scan_all(request))
        if isinstance(request, Batch) and request.is_spread:
            return (yield from self._spread(request))
        return (yield from self._answer_in(slot_of(request), request))

    def _answer_in(self, slot: int | None, request: Command | Batch) -> Generator[Errand, Any, Any]:
        """What the node with that slot answers, whichever it is by then."""
        attempts = Attempts(self._backend, request)
        redirection: AskError | None = None
        while True:
            try:
                if not self._by_slot:
                    yield from self._learn_slots()
                node = self._node_for(slot, redirection)
                is_asking = redirection is not None and not isinstance(redirection, MovedError)
                reply = yield node, ask(request, is_asking=is_asking)
                if isinstance(request, Batch) and not request.is_atomic:
                    return (yield from self._complete(request, reply))
                return reply
            except AskError as error:  # MOVED is one, too
                redirection = error
                if isinstance(error, MovedError):
                    # More slots may have moved, so all are asked for before the next request.
                    self._by_slot = {}
            except NOT_NOW as error:
                redirection = None
                yield from self._pause(attempts, error)
            except BackendUnavailable as error:
                if error.outcome_unknown:
                    raise
                redirection = None
                yield from self._pause(attempts, error)

    def _scan_all(self, request: Command | Batch) -> Generator[Errand, Any, Any]:
        """One page of a SCAN of all primaries, one node after the other.

        The SCAN is a command by itself, or all of a batch.

        The cursor that the caller gets is made of the node's own and of the node's first slot, so
        that it tells by itself where to go on.
        """
        scan = request.commands[0] if isinstance(request, Batch) else request
        cursor, slot = divmod(int(scan[1]), SLOTS)
        own: Command = (scan[0], cursor, *scan[2:])
        if isinstance(request, Batch):
            part = dataclasses.replace(request, commands=[own], is_spread=False)
            reply = yield from self._answer_in(slot, part)
            [page] = reply
        else:
            reply = page = yield from self._answer_in(slot, own)
        if isinstance(page, ResponseError):
            return reply
        place, keys = page
        following: int | None = int(place) * SLOTS + slot
        if int(place) == 0:
            if not self._by_slot:  # whatever is answered, the slots are known by then
                yield from self._answer_in(None, (b"INFO",))
            following = next_node(self._by_slot, slot)
        whole = [b"%d" % (following or 0), keys]
        return [whole] if isinstance(request, Batch) else whole

    def _spread(self, batch: Batch) -> Generator[Errand, Any, Any]:
        """Each node its part of a batch, all at once; what one refuses is sent again by slots."""
        slots = [slot_of(command) for command in batch.commands]
        if not self._by_slot:
            with suppress(BackendUnavailable, *NOT_NOW):  # it is tried again for each slot
                yield from self._learn_slots()
        places_by_node: dict[Address | None, list[int]] = {}
        for place, slot in enumerate(slots):
            places_by_node.setdefault(self._by_slot.get(cast(int, slot)), []).append(place)
        answers = _Answers(batch)
        answers.refused += places_by_node.pop(None, [])
        # In one order, so that no two callers wait for one another's connections.
        parts = [
            (self._node(cast(Address, node)), places)
            for node, places in sorted(places_by_node.items(), key=itemgetter(0))
        ]
        if batch.wait is not None:
            for assured in (yield [(node, answers.part([])) for node, _ in parts]):
                if isinstance(assured, GuaranteeRefused):
                    raise assured
        with _partial():
            replies = yield [(node, answers.part(places)) for node, places in parts]
            for (_, places), reply in zip(parts, replies, strict=True):
                answers.take(places, reply)
            if answers.refused:
                self._by_slot = {}
            places_by_slot: dict[int | None, list[int]] = {}
            for place in answers.refused:
                places_by_slot.setdefault(slots[place], []).append(place)
            for slot, places in places_by_slot.items():
                answers.take(places, (yield from self._answer_in(slot, answers.part(places))))
        return answers.whole()

    def _complete(self, batch: Batch, reply: Any) -> Generator[Errand, Any, Any]:
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

    def _pause(self, attempts: Attempts, error: Exception) -> Generator[Errand, Any, None]:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        pause_s = attempts.pause_after(cause, was_sent=False)
        self._by_slot = {}
        yield self._node(self._location.nodes[0]), ask(Sleep(pause_s))

    def _learn_slots(self) -> Generator[Errand, Any, None]:
        """CLUSTER SLOTS of the first node that answers."""
        failure: BackendUnavailable | None = None
        for address in dict.fromkeys((*self._nodes, *self._location.nodes)):
            try:
                reply = yield self._node(address), ask((b"CLUSTER", b"SLOTS"))
            except BackendUnavailable as error:
                failure = error
                continue
            if reply:
                self._by_slot = nodes_by_slot(reply, address)
                return
        raise failure or ClusterDownError("no node of the cluster has any slots")

    def _node_for(self, slot: int | None, redirection: AskError | None) -> Backend:
        if redirection is not None and redirection.host:
            return self._node((redirection.host, redirection.port))
        by_slot = self._by_slot
        if slot is None:
            return self._node(next(iter(by_slot.values())))
        address = by_slot.get(slot)
        if address is None:
            raise ClusterDownError(f"no node of the cluster has the slot {slot}")
        return self._node(address)

    def _node(self, address: Address) -> Backend:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes.setdefault(address, self._make_node(address))
        return node

    def _make_node(self, address: Address) -> Backend:
        host, port = address
        scheme = "rediss" if self._location.is_tls else "redis"
        config = self._backend.config
        return self._make_backend(
            dataclasses.replace(
                config,
                location=f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/0",
                # The credentials of the location are every node's.
                options={**config.options, **self._location.options},
                retry_for=0.0,  # what comes after is the router's to decide
                tracer=None,  # the router's requests are traced
            )
        )


@contextmanager
def _partial() -> Iterator[None]:
    """Whoever refuses in here, another part of the batch was sent to another node."""
    try:
        yield
    except GuaranteeRefused as refusal:
        refusal.is_partial = True
        raise


class _Answers:
    """The replies to a batch that nodes answer in parts."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._own: list[Any] = [None] * len(batch.commands)
        self._waits: list[Any] = []
        #: The places of the commands that no node has carried out yet.
        self.refused: list[int] = []

    def part(self, places: Sequence[int]) -> Batch:
        commands = [self._batch.commands[place] for place in places]
        return dataclasses.replace(self._batch, commands=commands, is_spread=False)

    def take(self, places: Sequence[int], reply: Any) -> None:
        """Note what came of the part with these places: its replies, or the error of its node.

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

    def whole(self) -> Any:
        """The answer to the batch."""
        return self._own if self._batch.wait is None else (self._own, Waits.of(*self._waits))


def ask(request: Request, *, is_asking: bool = False) -> Operation[Any]:
    """One request as an operation; with ASKING before it, on a node that is to get its slot."""
    if not is_asking or isinstance(request, (Sleep, Call)):
        return (yield request)
    if not isinstance(request, Batch):
        is_identified = isinstance(request, Identified)
        commands: list[Command] = [(b"ASKING",), request]
        _, reply = yield Batch(commands, is_repeatable=False, is_identified=is_identified)
        if isinstance(reply, ResponseError):
            raise reply
        return reply
    commands = [each for command in request.commands for each in ((b"ASKING",), command)]
    reply = yield dataclasses.replace(request, commands=commands)
    if request.wait is None:
        return reply[1::2]
    own, waited = reply
    return own[1::2], waited
