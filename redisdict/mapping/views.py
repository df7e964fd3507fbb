"""The views that `values()` and `items()` give; `keys()` gives the standard library's."""

from __future__ import annotations

import collections.abc
from collections.abc import Iterator
from typing import Any, TypeVar

__all__ = ["ItemsView", "ValuesView"]

K = TypeVar("K")
V = TypeVar("V")


class ValuesView(collections.abc.ValuesView[V]):
    """Reads the values page by page, not one by one as the standard library's does."""

    _mapping: Any

    def __iter__(self) -> Iterator[V]:
        values: Iterator[V] = self._mapping._walk(self._mapping._operations.scan_values())
        return values

    def __contains__(self, value: object) -> bool:
        return any(value is one or value == one for one in self)


class ItemsView(collections.abc.ItemsView[K, V]):
    """Reads the items page by page, not one by one as the standard library's does."""

    _mapping: Any

    def __iter__(self) -> Iterator[tuple[K, V]]:
        items: Iterator[tuple[K, V]] = self._mapping._walk(self._mapping._operations.scan_items())
        return items
