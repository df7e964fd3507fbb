"""Which items there are, where they are, and how a version is stored in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from tests.stress.near.board import ITEMS, PROCESSES

#: The promises, by process in turn; the last two processes have all of them.
PROMISES: Final[tuple[float | str, ...]] = (0.2, 1.0, "request")


class Place(NamedTuple):
    """A dict, by its layout."""

    is_hash: bool
    shards: int | None

    @property
    def name(self) -> str:
        return f"{'hash' if self.is_hash else 'keys'}-{self.shards or 1}"


PLACES: Final = (Place(False, None), Place(False, 3), Place(True, None), Place(True, 3))

TEXT, CHANGEABLE, COUNT = "text", "changeable", "count"
_KINDS: Final = (TEXT, CHANGEABLE, COUNT)

_STORED: Final[dict[str, Callable[[int], Any]]] = {
    TEXT: str,
    CHANGEABLE: lambda version: {"version": version, "and": ["more"]},
    COUNT: int,
}


class Item(NamedTuple):
    """One item of the board."""

    number: int
    owner: int
    place: Place
    kind: str

    @property
    def key(self) -> str:
        return f"item {self.number}"

    def store(self, version: int) -> Any:
        return _STORED[self.kind](version)

    def version_of(self, value: Any) -> int | None:
        """Find the version in what was read; None stands for a missing item."""
        if value is None:
            return None
        return int(value["version"] if self.kind == CHANGEABLE else value)


def _item(number: int) -> Item:
    own = number // PROCESSES
    return Item(number, number % PROCESSES, PLACES[own % 4], _KINDS[own // 4 % 3])


ALL: Final = tuple(_item(number) for number in range(ITEMS))


def promises_of(process: int) -> tuple[float | str, ...]:
    """Tell the promises of a process's dicts."""
    return PROMISES if process >= PROCESSES - 2 else (PROMISES[process % len(PROMISES)],)


def open_backend(location: str, prefix: str, tracking: str) -> Backend:
    options = {"socket_timeout": 1, "socket_connect_timeout": 1}
    values = {"LOCATION": location, "KEY_PREFIX": prefix, "OPTIONS": options, "RETRY_FOR": 1}
    return Backend(parse_alias("truth", {**values, "NEAR_TRACKING": tracking}))


def open_dict(backend: Backend, place: Place, near: float | str) -> PersistentDict[str, Any]:
    return PersistentDict(
        place.name, backend, near=near, hset_enabled=place.is_hash, shards=place.shards
    )
