"""Suggest the known name that the user probably meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

#: Least likeness of a name that is suggested: two letters of ten may be wrong. With less, "raw"
#: would be suggested for "yaml", and CACHE for BACKEND.
LIKENESS = 0.7


def nearest(name: object, known: Iterable[object], cutoff: float = LIKENESS) -> str | None:
    """Find the known name that is most similar to this one, ignoring case; None if none is.

    The first wins, if several differ in their case alone. What is no text matches nothing.
    """
    if not isinstance(name, str):
        return None
    names = [each for each in known if isinstance(each, str)]
    by_folded = {each.casefold(): each[:] for each in reversed(names)}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=cutoff)
    return by_folded[close[0]] if close else None


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """End a sentence about an unknown name with the one that was probably meant, if one is."""
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else ""


def known_instead(name: object, known: Collection[str]) -> str:
    """End a sentence about an unknown name: with the one probably meant, or with all there are."""
    return did_you_mean(name, known) or f"; known: {', '.join(known)}."
