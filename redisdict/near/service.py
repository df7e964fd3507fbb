"""Hold a process's near cache of one alias: the listener, and the states by name."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from redis.crc import key_slot

from redisdict.conf import PLAIN_TRACKING
from redisdict.connections.backend import Backend
from redisdict.forks import on_fork, own, take_over
from redisdict.near.listener import Listener
from redisdict.near.reader import Teller
from redisdict.near.space import NearSpace
from redisdict.near.state import NearState
from redisdict.near.watches import Watch

_NAME: Final = "near"

#: Of how many dicts whose handles are gone a process keeps what it has read, for the next ones.
LEFT_SPACES: Final = 32


class NearService:
    """The listener of one backend, and its states in memory, shared by all near reads.

    A backend has at most one, found by `near_service()`; `Backend.close()` closes the connection,
    and the next near read opens it again.
    """

    def __init__(self, backend: Backend) -> None:
        route: Callable[[], tuple[str, int]] | None = None
        if backend.factory.location.kind == "sentinel":

            def route() -> tuple[str, int]:
                address: tuple[str, int] = (
                    backend.pool().connection_kwargs["connection_pool"].get_master_address()
                )
                return address

        self.listener = Listener(
            backend,
            backend.factory.socket_timeout_s,
            route,
            wants_plain=backend.config.near_tracking == PLAIN_TRACKING,
        )
        self._spaces: dict[Hashable, Any] = {}
        self._of_dicts: weakref.WeakValueDictionary[Hashable, NearSpace] = (
            weakref.WeakValueDictionary()
        )
        self._last_of_dicts: deque[NearSpace] = deque(maxlen=LEFT_SPACES)
        self._begin_anew()
        on_fork(self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()

    def space(self, identity: Hashable, make: Callable[[], Any]) -> Any:
        """Get the state of an identity, made at the first call.

        `identity` names the same keys of the server each time, so that all handles of one dict
        share its entries, and drop one another's.
        """
        with self._lock:
            found = self._spaces.get(identity)
            if found is None:
                found = self._spaces[identity] = make()
            return found

    def find(self, identity: Hashable) -> Any:
        """Get the state of an identity; None if it doesn't exist."""
        return self._spaces.get(identity)

    def space_of_dict(self, identity: Hashable, make: Callable[[], NearSpace]) -> NearSpace:
        """Get the memory of one dict, made at the first call.

        It stays while a handle uses it; those of the last `LEFT_SPACES` dicts stay longer.
        Otherwise a process that makes many dicts would keep what it has read of each.
        """
        with self._lock:
            found = self._of_dicts.get(identity)
            if found is None:
                found = self._of_dicts[identity] = make()
                for part in found.parts:
                    # Before the end of the process nothing has to be let go.
                    weakref.finalize(found, part.listener.forget, part.state).atexit = False
                self._last_of_dicts.append(found)
            return found

    def find_of_dict(self, identity: Hashable) -> NearSpace | None:
        """Get the memory of one dict; None if it doesn't exist."""
        return self._of_dicts.get(identity)

    def spaces(self) -> list[tuple[Hashable, Any]]:
        """List the states, by identity; those of dicts by `None`."""
        with self._lock:
            of_dicts: list[tuple[Hashable, Any]] = [(None, one) for one in self._of_dicts.values()]
            return of_dicts + list(self._spaces.items())

    def close(self) -> None:
        """Close the listener's connection, and forget all."""
        self.listener.close()


class SlotListener:
    """Notifies of changes in one slot of a Cluster, by the listener of its node.

    Which node that is the commands of readers find out; a read that finds nothing to serve makes
    this follow.
    """

    def __init__(
        self, backend: Backend, slot: int, watches: Sequence[Watch], probe_prefix: bytes
    ) -> None:
        self._backend = backend
        self._slot = slot
        self._watches = watches
        self._probe_prefix = probe_prefix
        self._states = tuple(dict.fromkeys(watch.state for watch in watches))
        self._bound: float | None = None
        self._listener: Listener | None = None

    @property
    def is_up(self) -> bool:
        """Whether the node reports changes now."""
        listener = self._listener
        return listener is not None and listener.is_up and listener.watches(self._states[0])

    @property
    def is_plain(self) -> bool:
        """As `Listener.is_plain`."""
        return self._listener is not None and self._listener.is_plain

    @property
    def reason(self) -> str:
        """Why not."""
        listener = self._listener
        if listener is None or not listener.watches(self._states[0]):
            return "the node that has the slot isn't known yet"
        return listener.reason

    def ensure(self) -> None:
        """Start the listener of the node that has the slot, as far as is known."""
        cluster = self._backend.cluster
        node = None if cluster is None else cluster.owner(self._slot)
        if node is None:
            return
        listener, old = near_service(node).listener, self._listener
        if old is not None and old is not listener:
            old.unwatch(self._states)
        self._listener = listener
        if not listener.watches(self._states[0]):
            listener.watch(self._watches, self._probe_prefix)
            if self._bound is not None:
                listener.keep_within(self._bound)
        listener.ensure()

    def nudge(self) -> None:
        """As `Listener.nudge()`."""
        if self._listener is not None:
            self._listener.nudge()

    def keep_within(self, bound: float) -> None:
        """As `Listener.keep_within()`, for whichever node it will be."""
        self._bound = min(bound, self._bound or bound)
        if self._listener is not None:
            self._listener.keep_within(self._bound)

    def forget(self, state: NearState) -> None:
        """As `Listener.forget()`."""
        if self._listener is not None:
            self._listener.forget(state)

    def track(self, state: NearState, keys: Sequence[Hashable]) -> bool:
        """As `Listener.track()`."""
        return self._listener is not None and self._listener.track(state, keys)

    async def atrack(self, state: NearState, keys: Sequence[Hashable]) -> bool:
        """As `Listener.atrack()`."""
        return self._listener is not None and await self._listener.atrack(state, keys)

    def ping_after(self, start: float) -> bool:
        """As `Listener.ping_after()`."""
        return self._listener is not None and self._listener.ping_after(start)

    async def aping_after(self, start: float) -> bool:
        """As `Listener.aping_after()`."""
        return self._listener is not None and await self._listener.aping_after(start)


def teller_of(backend: Backend, watches: Sequence[Watch], probe_prefix: bytes) -> Teller:
    """Get the object that will notify the states of changes; connects nothing.

    Args:
        watches: of keys that lie in one slot.
        probe_prefix: as `Listener.watch()` takes it, of the same slot.
    """
    if backend.cluster is None:
        listener = near_service(backend).listener
        listener.watch(watches, probe_prefix)
        return listener
    with_slot = [watch._replace(slot_key=probe_prefix) for watch in watches]
    return SlotListener(backend, key_slot(probe_prefix), with_slot, probe_prefix)


_lock = threading.Lock()


def near_service(backend: Backend) -> NearService:
    """Get the service of a backend, made at the first call."""
    if not own[0]:
        take_over()
    found = backend.attachments.get(_NAME)
    if found is None:
        with _lock:
            found = backend.attachments.get(_NAME)
            if found is None:
                found = backend.attachments[_NAME] = NearService(backend)
    assert isinstance(found, NearService)  # the name is this module's
    return found


def service_in_use(backend: Backend) -> NearService | None:
    """Get the service of a backend, if it has one: without near reads there is none."""
    found = backend.attachments.get(_NAME)
    return found if isinstance(found, NearService) else None


def _begin_anew() -> None:
    global _lock
    _lock = threading.Lock()


on_fork(_begin_anew)
