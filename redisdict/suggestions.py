"""Suggest the name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

#: From this likeness on a name was probably meant: two letters of ten may be wrong. With less,
#: "yaml" would be taken for "raw", and BACKEND for CACHE.
LIKENESS = 0.7


def nearest(name: object, known: Iterable[object], cutoff: float = LIKENESS) -> str | None:
    """Find the known name that is most like this one, whatever their case; None if none is.

    The first wins, where several differ in their case alone. What is no text is like none.
    """
    if not isinstance(name, str):
        return None
    names = [each for each in known if isinstance(each, str)]
    by_folded = {each.casefold(): each[:] for each in reversed(names)}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=cutoff)
    return by_folded[close[0]] if close else None
