"""What a process has of the near cache for one alias: the listener, and the states by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, Final

from redisdict.connections.backend import Backend
from redisdict.forks import on_fork
from redisdict.near.listener import Listener

_NAME: Final = "near"


class NearService:
    """The listener of one backend, and what is kept of it, shared by all that read near.

    A backend has at most one, found by `near_service()`; `Backend.close()` closes the connection,
    and the next near read opens it again.
    """

    def __init__(self, backend: Backend) -> None:
        route = None
        if backend.factory.location.kind == "sentinel":
            route = backend.pool().connection_kwargs["connection_pool"].get_master_address
        self.listener = Listener(backend, backend.factory.socket_timeout_s, route)
        self._spaces: dict[Hashable, Any] = {}
        self._begin_anew()
        on_fork(self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()

    def space(self, identity: Hashable, make: Callable[[], Any]) -> Any:
        """Get what is kept under an identity, made at the first call.

        `identity` names the same keys of the server each time, so that all handles of one dict
        share its entries, and drop one another's.
        """
        with self._lock:
            found = self._spaces.get(identity)
            if found is None:
                found = self._spaces[identity] = make()
            return found

    def find(self, identity: Hashable) -> Any:
        """Get what is kept under an identity; None when nobody has made it."""
        return self._spaces.get(identity)

    def close(self) -> None:
        """Close the listener's connection, and forget all."""
        self.listener.close()


_lock = threading.Lock()


def near_service(backend: Backend) -> NearService:
    """Get the service of a backend, made at the first call."""
    found = backend.attachments.get(_NAME)
    if found is None:
        with _lock:
            found = backend.attachments.get(_NAME)
            if found is None:
                found = backend.attachments[_NAME] = NearService(backend)
    assert isinstance(found, NearService)  # the name is this module's
    return found


def service_in_use(backend: Backend) -> NearService | None:
    """Get the service of a backend that has one: where nobody reads near there is none."""
    found = backend.attachments.get(_NAME)
    return found if isinstance(found, NearService) else None


def _begin_anew() -> None:
    global _lock
    _lock = threading.Lock()


on_fork(_begin_anew)
