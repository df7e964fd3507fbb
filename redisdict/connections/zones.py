"""Prefer servers in the availability zone of this process: others answer later, and cost more.

Valkey from version 8 on tells its zone, the setting `availability-zone`, in INFO server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

from redis.exceptions import ResponseError

from redisdict.connections.groups import N
from redisdict.connections.locations import Address
from redisdict.connections.routing import Routing
from redisdict.described import described
from redisdict.exceptions import BackendUnavailable, ConfigurationError
from redisdict.wire.combinators import ask
from redisdict.wire.requests import Batch, Call, Reply
from redisdict.wire.server_info import parse_info

logger = logging.getLogger("redisdict")

#: The field of INFO server. It is empty, or missing, where a server has been given no zone.
FIELD = "availability_zone"

#: Both at once: of older servers INFO has one section at a time.
ASK_ZONE = Batch([(b"INFO", b"server"), (b"INFO", b"replication")])

#: Seconds until a server in this zone is looked for again.
LOOK_AGAIN_S = 60.0

#: The zone of this process, or a function that returns it.
OwnZone: TypeAlias = "str | Callable[[], str | None]"


class Zones:
    """The zones of a group's servers, and the order in which this process reads from them.

    The order is that of the strategy that Valkey GLIDE calls AZ_AFFINITY_REPLICAS_AND_PRIMARY: the
    replicas in this zone, a primary in this zone, other replicas, another primary. Threads and
    tasks use it at once; no state of it leads to more than a read in another zone.

    While anything but a replica in this zone is read, one caller is told to learn the servers anew
    every `LOOK_AGAIN_S`. Until then a server that was lost is avoided: it would be preferred again
    and again, as long as the group hasn't noticed the loss.

    Args:
        own: the zone of this process, or a function that returns it; it is called at first use.
        where: the name that errors give the option.
    """

    def __init__(self, own: OwnZone, where: str) -> None:
        self._own: OwnZone | None = own
        self._where = where
        #: Whether a server is in this zone: of those that are announced and have answered.
        self._is_near: dict[Address, bool] = {}
        #: Servers that were lost, or didn't answer, since the last look.
        self._avoided: set[Address] = set()
        #: The process in which a caller asks the servers now.
        self._asking_in: int | None = None
        #: When to look, by the monotonic clock.
        self._look_at_s: float | None = None

    def learn(self, servers: Iterable[Address], node: Callable[[Address], N]) -> Routing[None]:
        """Ask each server that isn't known yet for its zone, all of them at once.

        One that doesn't answer is avoided, and so is a replica without a connection to its primary,
        as before it has its copy; one that refuses to answer isn't in this zone. While one caller
        asks, others read from what is known, and wait for nobody; it chooses anew in the end.

        Args:
            servers: all that were announced and that there is a choice of.
            node: gives the endpoint of a server.
        """
        announced = set(servers)
        if not announced or self._asking_in == os.getpid():
            return
        self._asking_in = os.getpid()  # a forked child must not wait for its parent's caller
        try:
            if callable(self._own):
                yield from self._find_own(self._own, node(min(announced)))
            if self._own is not None:
                yield from self._ask(announced, node)
        finally:
            self._asking_in = None

    def in_order(self, replicas: Sequence[Address], primary: Address | None) -> list[Address]:
        """Order servers with the same data, the one to read from first.

        Args:
            replicas: those that are alike stay in this order.
            primary: None if it isn't known.
        """

        def rank(server: Address) -> int:
            if server in self._avoided:
                return 4
            return (server == primary) + (0 if self._is_near.get(server) else 2)

        ordered = sorted([*replicas, *([] if primary is None else [primary])], key=rank)
        if self._own is not None and rank(ordered[0]) > 0:
            self._look_later()
        return ordered

    def avoid(self, server: Address) -> None:
        """Note that a server didn't answer. It makes no difference for those of other zones."""
        if self._own is None or self._is_near.get(server) is False:
            return
        self._is_near.pop(server, None)
        self._avoided.add(server)
        self._look_later()

    def take_look(self) -> bool:
        """Whether the servers should be learnt again now. Tells so to one caller."""
        look_at_s = self._look_at_s
        if look_at_s is None or time.monotonic() < look_at_s:
            return False
        self._look_at_s = time.monotonic() + LOOK_AGAIN_S
        self._avoided.clear()
        return True

    def _look_later(self) -> None:
        if self._look_at_s is None:
            self._look_at_s = time.monotonic() + LOOK_AGAIN_S

    def _ask(self, announced: set[Address], node: Callable[[Address], N]) -> Routing[None]:
        for server in set(self._is_near) - announced:
            self._is_near.pop(server, None)
        # In one order, so that no two callers wait for one another's connections.
        unknown = sorted(announced - set(self._is_near) - self._avoided)
        if unknown:
            answers = yield [(node(address), ASK_ZONE) for address in unknown]
            for address, answer in zip(unknown, answers, strict=True):
                self._take(address, answer)
        if not self._avoided:
            self._look_at_s = None

    def _find_own(self, function: Callable[[], str | None], endpoint: N) -> Routing[None]:
        """Call the user's function: by a task in a thread, because it may ask a service."""
        in_task = partial(asyncio.to_thread, function)
        try:
            zone: Any = yield endpoint, ask(Call(function, in_task=in_task))
        except Exception:
            logger.warning(
                "%s can't be called, so replicas are read whichever their zone.",
                self._where,
                exc_info=True,
            )
            zone = None
        if zone is not None and not is_zone(zone):
            raise ConfigurationError(
                f"{self._where} gives {described(zone)}; the name of a zone is expected, such as"
                ' "eu-west-1a", or None where there is none.'
            )
        self._own = zone

    def _take(self, server: Address, answer: Reply) -> None:
        if isinstance(answer, BackendUnavailable):
            self.avoid(server)
            return
        if isinstance(answer, BaseException):
            raise answer
        info: dict[str, str] = {}
        for section in answer:
            if not isinstance(section, ResponseError):
                info |= parse_info(section)
        if info.get("master_link_status") == "down":
            self.avoid(server)
        else:
            self._is_near[server] = info.get(FIELD) == self._own


def is_zone(value: object) -> bool:
    """Whether it can be the name of a zone."""
    return isinstance(value, str) and bool(value)
