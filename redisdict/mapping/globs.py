"""Match keys by patterns, with one meaning on every server and in both layouts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from redisdict.mapping.keys import encode_text, escape_glob

#: `\x`, a whole class, or any one character.
_TOKEN = re.compile(
    r"\\(?P<escaped>.)|\[(?P<not>\^?)(?P<class>(?:\\.|[^\]\\])*)\]|(?P<one>.)", re.DOTALL
)
_MEMBER = re.compile(r"\\?(?P<first>.)(?:-\\?(?P<last>.))?", re.DOTALL)

_ANYTHING = b"*"


class Glob:
    r"""A pattern: `*` any characters, `?` one, `[abc]`, `[a-z]` or `[^a]` one of a class, and `\`
    takes the next character for itself.

    Servers match bytes, and differ in unusual patterns. So the server is only asked for a superset,
    by literal text and `*` alone, and the characters are matched here.

    Args:
        pattern: any text.

    Attributes:
        superset: a pattern for MATCH that every matching key fits.

    Raises:
        TypeError: `pattern` isn't a str.
        ValueError: a `[` of it has no `]`.
    """

    __slots__ = ("_regex", "superset")

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise TypeError(f"pattern is {type(pattern).__name__}; a str is expected.")
        segments = [""]  # what stands between the stars
        superset: list[bytes] = []
        for expression, literal in _translate(pattern):
            if expression == "*":
                segments.append("")
            else:
                segments[-1] += expression
            if literal != _ANYTHING or superset[-1:] != [_ANYTHING]:
                superset.append(literal)
        self._regex = _compile(segments)
        self.superset = b"".join(superset)

    def matches(self, text: str) -> bool:
        return self._regex.fullmatch(text) is not None


def _translate(pattern: str) -> Iterator[tuple[str, bytes]]:
    """Make the regular expression or `*` of each part, and the server's pattern."""
    for token in _TOKEN.finditer(pattern):
        one = token["one"]
        if token["class"] is not None:
            yield _class(token["class"], is_negated=bool(token["not"])), _ANYTHING
        elif one == "*":
            yield "*", _ANYTHING
        elif one == "?":
            yield ".", _ANYTHING
        elif one == "[":
            raise ValueError(
                f"The pattern {pattern!r} has a [ without a ]; write \\[ for a bracket itself."
            )
        else:
            literal = token["escaped"] or token["one"]
            yield re.escape(literal), escape_glob(encode_text(literal))


def _class(members: str, *, is_negated: bool) -> str:
    if not members:
        return "." if is_negated else "(?!)"
    ranges = []
    for member in _MEMBER.finditer(members):
        first, last = member["first"], member["last"] or member["first"]
        ranges.append("-".join(map(re.escape, sorted((first, last)))))
    return f"[{'^' if is_negated else ''}{''.join(ranges)}]"


def _compile(segments: Sequence[str]) -> re.Pattern[str]:
    if len(segments) == 1:
        return re.compile(segments[0], re.DOTALL)
    first, *middle, last = segments
    # The first place where a segment fits is as good as any later one, so there is no way back
    # into an atomic group, and no pattern takes more than quadratic time.
    found = "".join(f"(?>.*?{segment})" for segment in middle if segment)
    return re.compile(f"{first}{found}.*{last}", re.DOTALL)
