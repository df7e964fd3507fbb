"""Names that a user typed, and the right ones nearest to them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

__all__ = ["match_name", "unknown_name"]


def match_name(name: str, known: Sequence[str]) -> str | None:
    """The known name that is meant, whatever its case."""
    return next((one for one in known if one.lower() == name.lower()), None)


def unknown_name(
    where: str, name: str, known: Sequence[str], candidates: Sequence[str] | None = None
) -> str:
    """What to tell somebody who typed an unknown name.

    Args:
        where: the option or key that it was given for.
        known: the names to list.
        candidates: those among which the nearest is looked for, when they are more.
    """
    by_lower = {one.lower(): one for one in reversed(candidates or known)}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.4)
    hint = f" Did you mean {by_lower[close[0]]!r}?" if close else ""
    return f"{where} {name!r} is unknown.{hint} Known: {', '.join(known)}."
