"""Write and read the names of dicts as text for people."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from contextlib import suppress

from redisdict.inspection.values import is_plain

#: A part of a name, in the quotes of a Python string or as it stands, and what ends it.
_PART = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^/]*)(/|\Z)""", re.DOTALL)


def shown_path(path: Sequence[str]) -> str:
    """Name a dict as a reader may see it; child dicts with those they belong to.

    A name has quotes if it contains invisible characters or could be read as several names.
    """
    return "/".join(
        part if is_plain(part) and not set(part) & set("/'\"\\") else repr(part) for part in path
    )


def parse_path(text: str) -> tuple[str, ...]:
    """Read a name that `shown_path()` wrote: `shop`, `shop/eu` of a child, `'a/b'` with a slash."""
    parts = []
    position = 0
    while True:
        match = _PART.match(text, position)
        assert match is not None  # the last alternative matches anything
        part, end = match.groups()
        if part[:1] in ("'", '"'):
            with suppress(ValueError, SyntaxError):  # a quote that none closes is part of a name
                part = ast.literal_eval(part)
        parts.append(part)
        if not end:
            return tuple(parts)
        position = match.end()
