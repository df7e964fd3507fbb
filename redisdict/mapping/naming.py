"""An error about one value of many says which item it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from redisdict.exceptions import DeserializationError, SerializationError

__all__ = ["naming"]


@contextmanager
def naming(
    keys: Iterable[object], values: Iterable[Any], convert: Callable[[Any], object]
) -> Iterator[None]:
    """Add the key to an error of the block, which converts all of these values at once.

    The values are converted one by one to find it, so only an error costs anything.
    """
    try:
        yield
    except (DeserializationError, SerializationError) as error:
        items = zip(keys, values, strict=True)
        key = next(key for key, value in items if not _is_good(convert, value))
        error.add_note(f"It is the value of {key!r:.80}.")
        raise


def _is_good(convert: Callable[[Any], object], value: object) -> bool:
    try:
        convert(value)
    except (DeserializationError, SerializationError):
        return False
    return True
