"""Iterate over a dict page by page: keys, values, items, views, patterns, and all of it."""

from __future__ import annotations

import collections.abc
from collections.abc import (
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    KeysView,
    MutableMapping,
    Sequence,
)
from itertools import chain
from typing import Any, Generic, TypeVar

from redisdict.mapping.bound import Topic, noting_key
from redisdict.mapping.globs import Glob
from redisdict.mapping.scanning import PageSize, Scan
from redisdict.wire.requests import Operation

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class IterationMethods(Topic[K, V], MutableMapping[K, V], Generic[K, V]):
    """Iteration, views, `copy`, `==` and `|`: each is a `Scan`, whose pages a driver reads."""

    # Keys

    def _scan_keys(self) -> Scan[K]:
        bound = self._bound
        layout = bound.layout

        def page(cursor: bytes) -> Operation[Any]:
            cursor, fields = yield from layout.scan_fields(cursor)
            return cursor, fields, (fields,)

        return Scan(page, bound.key_codec.decode_many)

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys, page by page. HSCAN or SCAN."""
        return self._iterate(self._scan_keys())

    def __aiter__(self) -> AsyncIterator[K]:
        """As `iter(d)`."""
        return self._aiterate(self._scan_keys())

    def keys(self) -> KeysView[K]:
        """Return a view of the keys, which is read page by page with HSCAN or SCAN."""
        return KeysView(self)

    def akeys(self) -> AsyncIterator[K]:
        """Iterate over the keys, page by page; no view."""
        return self._aiterate(self._scan_keys())

    def _scan_keys_matching(self, pattern: str) -> Scan[K]:
        bound = self._bound
        text = bound.key_codec.text
        if text is None:
            raise TypeError(
                f"The keys of this dict are {bound.key_codec.kind}, not text, so no pattern"
                " matches them; iterate over the keys and select them yourself."
            )
        layout, glob = bound.layout, Glob(pattern)

        def page(cursor: bytes) -> Operation[Any]:
            cursor, fields = yield from layout.scan_fields(cursor, glob.superset)
            matching = [field for field in fields if glob.matches(text(field))]
            return cursor, matching, (matching,)

        return Scan(page, bound.key_codec.decode_many)

    def keys_matching(self, pattern: str) -> Iterator[K]:
        r"""Iterate over the keys that match a pattern, page by page. HSCAN or SCAN of all keys.

        Args:
            pattern: `*` stands for any characters, `?` for one, `[abc]`, `[a-z]` and `[^a]` for
                one of a class; `\` escapes the next character. Keys that aren't text are
                matched as decimal digits (`int`) or as what `key_type` encodes them to.

        Raises:
            TypeError: the keys are `bytes` or `uuid.UUID`.
            ValueError: the pattern has a `[` without a `]`.
        """
        return self._iterate(self._scan_keys_matching(pattern))

    def akeys_matching(self, pattern: str) -> AsyncIterator[K]:
        """As `keys_matching()`."""
        return self._aiterate(self._scan_keys_matching(pattern))

    # Values and items

    def _scan_values(self) -> Scan[V]:
        bound = self._bound
        prefix, decode_key = bound.layout.prefix, bound.key_codec.decode
        codec = bound.codec

        def decode(names: Sequence[bytes], values: Sequence[bytes]) -> list[V]:
            fields = (name.removeprefix(prefix) for name in names)
            with noting_key(map(decode_key, fields), values, codec.decode):
                return codec.decode_many(values)

        return self._scan_pairs(decode)

    def values(self) -> ValuesView[V]:
        """Return a view of the values, which is read page by page with HSCAN, or SCAN and MGET."""
        return ValuesView(self)

    def avalues(self) -> AsyncIterator[V]:
        """Iterate over the values, page by page; no view."""
        return self._aiterate(self._scan_values())

    def _scan_items(self) -> Scan[tuple[K, V]]:
        bound = self._bound
        prefix, decode_names = bound.layout.prefix, bound.key_codec.decode_names
        codec = bound.codec

        def decode(names: Sequence[bytes], values: Sequence[bytes]) -> Iterable[tuple[K, V]]:
            keys = decode_names(names, prefix)
            with noting_key(keys, values, codec.decode):
                return zip(keys, codec.decode_many(values), strict=True)

        return self._scan_pairs(decode)

    def items(self) -> ItemsView[K, V]:
        """Return a view of the items, which is read page by page with HSCAN, or SCAN and MGET."""
        return ItemsView(self)

    def aitems(self) -> AsyncIterator[tuple[K, V]]:
        """Iterate over the items, page by page; no view."""
        return self._aiterate(self._scan_items())

    def _scan_pairs(self, decode: Callable[..., Iterable[T]]) -> Scan[T]:
        layout, size = self._bound.layout, PageSize()

        def page(cursor: bytes) -> Operation[Any]:
            cursor, names, values = yield from layout.scan_pairs(cursor, size.count)
            size.learn(names, values)
            return cursor, names, (names, values)

        return Scan(page, decode)

    # All items

    def copy(self) -> dict[K, V]:
        """Read all items into a plain `dict`. HSCAN, or SCAN and MGET."""
        return dict(self._iterate(self._scan_items()))

    async def acopy(self) -> dict[K, V]:
        """As `copy()`."""
        return {key: value async for key, value in self.aitems()}

    # Scans

    def _iterate(self, scan: Scan[T]) -> Iterator[T]:
        return chain.from_iterable(self._pages(scan))

    def _pages(self, scan: Scan[T]) -> Iterator[Iterable[T]]:
        while not scan.is_over:
            yield self._run(scan.next_page())

    async def _aiterate(self, scan: Scan[T]) -> AsyncIterator[T]:
        while not scan.is_over:
            for item in await self._arun(scan.next_page()):
                yield item


class ValuesView(collections.abc.ValuesView[V]):
    """Reads the values page by page, not one by one as the standard library's does."""

    _mapping: IterationMethods[Any, V]

    def __iter__(self) -> Iterator[V]:
        return self._mapping._iterate(self._mapping._scan_values())

    def __contains__(self, value: object) -> bool:
        return any(value is one or value == one for one in self)


class ItemsView(collections.abc.ItemsView[K, V]):
    """Reads the items page by page, not one by one as the standard library's does."""

    _mapping: IterationMethods[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._iterate(self._mapping._scan_items())
