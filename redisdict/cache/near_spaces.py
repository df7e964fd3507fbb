"""Keep entries of the caches of one server in memory, by the beginning of their keys.

An entry is kept under the server's whole key. So caches whose keys may be the same share one space,
whatever their KEY_PREFIX and KEY_FUNCTION, and see one another's writes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redisdict.cache.inside import ABSENT, BATCH, LEASE_PREFIX, UNKNOWN, Computations, NearBound
from redisdict.cache.options import CacheOptions
from redisdict.connections.backend import Backend
from redisdict.connections.drivers import DriverPair
from redisdict.connections.factory import PoolFactory
from redisdict.exceptions import ConfigurationError
from redisdict.forks import Lock
from redisdict.near.access import Access
from redisdict.near.service import near_service, service_in_use, teller_of
from redisdict.near.space import NearSpace, Part
from redisdict.near.state import FillToken, NearState
from redisdict.near.watches import Watch
from redisdict.wire.requests import Operation

_IDENTITY: Final = "caches"

#: What PTTL says where there is none.
NO_KEY: Final = -2

#: A key that begins so is written to see that the server tells of it; a user with the rights of a
#: cache may write it, and no cache has it.
PROBE_PREFIX: Final = LEASE_PREFIX + b"near:"


class CacheNear(NearBound[bytes]):
    """The state that the reads of a cache work with.

    Args:
        computing: of the cache.
        spaces: of its backend.
        space: the one that has its keys.
        prefix: what its keys begin with. One that doesn't, as KEY_FUNCTION may make it, isn't kept.
        near: its promise.
        drivers: those that don't drop.
    """

    def __init__(
        self,
        computing: Computations,
        spaces: CacheSpaces,
        space: NearSpace,
        prefix: bytes,
        near: float | str,
        drivers: DriverPair,
    ) -> None:
        super().__init__(computing.bound, space, near, drivers)
        self._spaces, self._space = spaces, space
        self.prefix = prefix
        self.stats = space.stats
        self.access = spaces.access

    @property
    def is_current(self) -> bool:
        """Whether its space hasn't been replaced by another one with the same keys."""
        return self._spaces.find(self.prefix) is self._space

    def known(self, key: bytes) -> Any:
        """Find the value in memory: `ABSENT` if there is none, `UNKNOWN` if it isn't known."""
        entry = self.find(key)
        if entry is None or entry.owner is not self.codec:
            return UNKNOWN
        return self.value_of(entry)

    def get_all(self, keys: Sequence[bytes], ping: Any) -> Operation[list[Any]]:
        """As `get_many()`, of any number of keys."""
        values: list[Any] = []
        for start in range(0, len(keys), BATCH):
            values += yield from self.get_many(keys[start : start + BATCH], ping)
        return values

    def _keep(
        self, state: NearState, token: FillToken, stored: bytes | None, left_ms: int, sent_at: float
    ) -> Any:
        if stored is None and left_ms != NO_KEY:
            # MGET gives nothing of a key of another type, as a list, which is there all the same.
            state.abandon_fill(token)
            return ABSENT
        return super()._keep(state, token, stored, left_ms, sent_at)

    def read_elsewhere(self, key: bytes) -> Operation[Any]:
        """Get the value of a key that isn't kept here, or `ABSENT`."""
        stored = yield from self._bound.layout.get(key).begin()
        return ABSENT if stored is None else self.codec.decode(stored)


class CacheSpaces:
    """The spaces of all caches of one backend, no two of which have a key in common.

    Attributes:
        access: drops from all spaces the keys that a command changes.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._by_prefix: dict[bytes, NearSpace] = {}
        self._lock = Lock()
        self.access = Access(())

    def find(self, prefix: bytes) -> NearSpace | None:
        """Find the space that has all keys with this prefix."""
        for known, space in self._by_prefix.items():
            if prefix.startswith(known):
                return space
        return None

    def every(self) -> list[NearSpace]:
        """List the spaces of all caches."""
        return list(self._by_prefix.values())

    def get(self, prefix: bytes, max_bytes: int, max_items: int) -> NearSpace:
        """Get the space with all keys of this prefix; a new one gets these limits.

        It replaces the spaces that have some of these keys; see `CacheNear.is_current`.
        """
        with self._lock:
            found = self.find(prefix)
            if found is not None:
                return found
            state = NearState(max_bytes, max_items)
            watches = [Watch(prefix, state, has_whole_keys=True)]
            listener = teller_of(self._backend, watches, PROBE_PREFIX)
            every = {**self._by_prefix, prefix: NearSpace([Part(state, watches, listener)])}
            covered = [key for key in self._by_prefix if key.startswith(prefix)]
            gone = [every.pop(key).parts[0].state for key in covered]
            near_service(self._backend).listener.unwatch(gone)
            self.access.watch([each.parts[0].watches[0] for each in every.values()])
            self._by_prefix = every
            return every[prefix]


def spaces_of(backend: Backend) -> CacheSpaces:
    """Get the spaces of a backend, made at the first call."""
    found = near_service(backend).space(_IDENTITY, lambda: CacheSpaces(backend))
    assert isinstance(found, CacheSpaces)  # the identity is this module's
    return found


def spaces_in_use(backend: Backend) -> CacheSpaces | None:
    """Get the spaces of a backend with a cache that has NEAR; None if it has none."""
    service = service_in_use(backend)
    found: CacheSpaces | None = None if service is None else service.find(_IDENTITY)
    return found


def refuse_near(options: CacheOptions, factory: PoolFactory) -> None:
    """Refuse NEAR where it can't be right.

    Raises:
        ConfigurationError: the cache reads from replicas, or is in a Cluster.
    """
    if options.near is None:
        return
    where = f'{options.where}["OPTIONS"] has "NEAR": {options.near!r}'
    if len(options.locations) > 1 or factory.reads_replicas:
        raise ConfigurationError(
            f"{where}, and reads from replicas, which may not yet have what the primary has"
            " announced. Give the primary alone, or leave NEAR out."
        )
    if factory.location.kind == "cluster":
        raise ConfigurationError(
            f"{where}, and its LOCATION is a Cluster, which spreads its keys over all nodes; NEAR"
            " needs a single server or Sentinel. A PersistentDict with near works there."
        )
