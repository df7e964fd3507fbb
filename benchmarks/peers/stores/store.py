"""What every client and every dict is asked to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from redisdict.bench.workloads.calls import Call

__all__ = ["Items", "Store"]

#: Starts an iteration over pairs of key and value.
Items = Callable[[], Iterable[tuple[Any, Any]]]


class Store(ABC):
    """Items on a server, reached through one client as its users reach them.

    An operation is given as a call, a method bound to its arguments outside the timer. An
    asynchronous client's calls return awaitables.
    """

    #: Values are text, which the client serializes; otherwise bytes, which it sends as they are.
    stores_text: ClassVar[bool] = False

    #: Bulk operations and iterations make a round trip for every item or every few of them. Such a
    #: client gets a tenth of the items, for its time an item doesn't depend on their number.
    is_item_by_item: ClassVar[bool] = False

    @abstractmethod
    def get(self, key: str) -> Call: ...

    @abstractmethod
    def set(self, key: str, value: Any) -> Call: ...

    @abstractmethod
    def delete(self, key: str) -> Call: ...

    @abstractmethod
    def contains(self, key: str) -> Call: ...

    def get_many(self, keys: Sequence[str]) -> Call:
        """Replies with the values in the order of the keys, or with a mapping."""
        raise NotImplementedError("it has no such operation")

    def set_many(self, items: Mapping[str, Any]) -> Call:
        raise NotImplementedError("it has no such operation")

    def items(self) -> Items:
        raise NotImplementedError("it has no such operation")

    @abstractmethod
    def close(self) -> Awaitable[None] | None:
        """Close the connections."""
