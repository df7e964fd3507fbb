"""Find the values in memory that a handle may serve under its promise."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, Protocol

from redisdict.conf import LONGEST_S
from redisdict.described import described
from redisdict.exceptions import ConfigurationError
from redisdict.near.barrier import NO_REQUEST, start_of_request
from redisdict.near.clock import clock
from redisdict.near.eviction import Entry
from redisdict.near.state import NearState
from redisdict.wire.requests import Call, Operation

REQUEST: Final = "request"
STRICT: Final = "strict"


class Teller(Protocol):
    """Notifies a state of changes: a listener, or in a Cluster that of the present node."""

    @property
    def is_up(self) -> bool: ...

    @property
    def reason(self) -> str: ...

    @property
    def is_plain(self) -> bool: ...

    def ensure(self) -> None: ...

    def nudge(self) -> None: ...

    def keep_within(self, bound: float) -> None: ...

    def ping_after(self, start: float) -> bool: ...

    async def aping_after(self, start: float) -> bool: ...

    def track(self, state: NearState, keys: Sequence[Hashable]) -> bool: ...

    async def atrack(self, state: NearState, keys: Sequence[Hashable]) -> bool: ...

    def forget(self, state: NearState) -> None: ...


def track(teller: Teller, state: NearState, keys: Sequence[Hashable]) -> Operation[None]:
    """Let the server track keys whose fill tokens were put, before it is asked for them.

    Nothing is sent where the server reports all keys anyway. Otherwise an EXISTS goes over the
    tracking connection; if it fails, the tokens are taken away.
    """
    if teller.is_plain and not (yield Call(teller.track, (state, keys), teller.atrack)):
        state.drop(keys)


class SecondsReader:
    """Serves values that weren't replaced more than `bound` seconds before the read began."""

    def __init__(self, state: NearState, listener: Teller, bound: float) -> None:
        self.state = state
        self.listener = listener
        self._bound = bound

    def find(self, key: object) -> Entry | None:
        """Find what may be served now, without a request to the server."""
        now = clock()
        return self.state.lookup(key, now, now - self._bound)

    def who_pings(self, key: object) -> RequestReader | None:
        """Return the reader that could wait for a PING that makes an entry servable: none.

        Under this promise the server is asked at once, and the PING is for the next reader.
        """
        if self.state.watermark < clock() - self._bound:
            self.listener.nudge()
        if not self.state.is_connected:
            self.listener.ensure()
        return None


class RequestReader:
    """Serves values not replaced before the current request began; none outside of any."""

    def __init__(self, state: NearState, listener: Teller) -> None:
        self.state = state
        self.listener = listener

    def find(self, key: object) -> Entry | None:
        """Find what may be served now, without a request to the server."""
        return self.state.lookup(key, clock(), start_of_request())

    def who_pings(self, key: object) -> RequestReader | None:
        """Return the reader that could wait for a PING that makes an entry servable, or None."""
        state = self.state
        if not state.is_connected:
            self.listener.ensure()
            return None
        start = start_of_request()
        would_help = start != NO_REQUEST and state.watermark < start and state.has(key)
        return self if would_help else None

    def ping(self) -> bool:
        """Wait for a PING that was sent after the start of the request; return whether it came."""
        return self.listener.ping_after(start_of_request())

    async def aping(self) -> bool:
        """As `ping()`."""
        return await self.listener.aping_after(start_of_request())


def check_near(where: str, near: object) -> None:
    """Refuse a value that is no promise of a dict or a cache.

    Raises:
        ConfigurationError: it is something else than None, a number of seconds or "request".
    """
    if near is None or near == REQUEST:
        return
    if near == STRICT:
        raise ConfigurationError(
            f'{where} is "strict", which only a ModelDict can promise: its writers wait for the'
            ' readers. Give seconds, or "request".'
        )
    if isinstance(near, bool) or not isinstance(near, int | float) or not 0 < near <= LONGEST_S:
        raise ConfigurationError(
            f'{where} is {described(near)}; seconds above 0 that a read may be behind, "request"'
            " (as of the start of the request) or None (every read asks the server) is expected."
        )
