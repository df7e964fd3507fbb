"""Define the interfaces between the parts of the near cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Lock
from typing import Any, Protocol

import redis

from redisdict.connections.drivers import Driver
from redisdict.near.state import NearState
from redisdict.near.watches import Watches


class Server(Protocol):
    """The part of a backend that the listener needs."""

    @property
    def address(self) -> str: ...

    @property
    def driver(self) -> Driver: ...

    def pool(self) -> redis.ConnectionPool: ...

    def leave_connections(self) -> None: ...


class Listening(Protocol):
    """The part of a listener that a session needs, which outlives a connection."""

    wants_plain: bool
    is_plain: bool
    is_up: bool
    reason: str
    _server: Server
    _primary_address: Callable[[], tuple[str, int]] | None
    _timeout_s: float
    _lock: Lock
    _watches: Watches
    _probe_prefix: bytes
    _bound: float | None
    _losses: int
    _is_closing: bool
    _is_nudged: bool
    _waiting: list[tuple[float, Future[bool]]]
    _token: Any
    _tracks: list[tuple[list[bytes], Future[bool]]]

    def let_go(self) -> None: ...

    def unwatch(self, states: Iterable[NearState]) -> None: ...

    def answer_waiting(self, sent_at: float) -> None: ...

    def next_token(self) -> Any: ...
