"""What every client and every dict is asked to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from redisdict.bench.workloads.calls import Calls

__all__ = ["Items", "Store"]

#: Starts an iteration over pairs of key and value.
Items = Callable[[], Iterable[tuple[Any, Any]]]


class Store(ABC):
    """Items on a server, reached through one client as its users reach them.

    An operation is given as calls of a method with their arguments, put together outside the timer.
    The calls of an asynchronous client return awaitables.
    """

    #: Values are text, which the client serializes; otherwise bytes, which it sends as they are.
    stores_text: ClassVar[bool] = False

    #: Bulk operations and iterations make a round trip for every item or every few of them. Such a
    #: client gets a tenth of the items, for its time an item doesn't depend on their number.
    is_item_by_item: ClassVar[bool] = False

    @abstractmethod
    def get(self, keys: Sequence[str]) -> Calls:
        """A call for each key."""

    @abstractmethod
    def set(self, items: Mapping[str, Any]) -> Calls:
        """A call for each item."""

    @abstractmethod
    def delete(self, keys: Sequence[str]) -> Calls:
        """A call for each key."""

    @abstractmethod
    def contains(self, keys: Sequence[str]) -> Calls:
        """A call for each key."""

    def get_many(self, keys: Sequence[str]) -> Calls:
        """One call; it replies with the values in the order of the keys, or with a mapping."""
        raise NotImplementedError("it has no such operation")

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        """One call."""
        raise NotImplementedError("it has no such operation")

    def items(self) -> Items:
        raise NotImplementedError("it has no such operation")

    @abstractmethod
    def close(self) -> Awaitable[None] | None:
        """Close the connections."""
