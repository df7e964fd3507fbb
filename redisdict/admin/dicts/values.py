"""Show keys and values: whatever bytes are stored, harmless and bounded."""

from __future__ import annotations

import pprint
from dataclasses import dataclass
from typing import Any

from django.db.models import Model

from redisdict.codec import Codec
from redisdict.exceptions import RedisDictError

#: Characters of a value that are shown.
LONGEST_TEXT = 2000

#: Bytes that are shown of what can't be decoded.
LONGEST_HEX = 64

#: A compressed value that would become longer than this isn't decoded only to be looked at.
MAX_DECODED_LENGTH = 1024 * 1024

#: Reads what every serializer of this package but pickle has written: looking at a value must
#: never run code.
_CODEC = Codec("msgpack", max_decoded_length=MAX_DECODED_LENGTH)


@dataclass(frozen=True)
class ShownKey:
    """A key in words. `handle` names it in links, whatever bytes it is made of."""

    text: str
    handle: str
    is_hex: bool


@dataclass(frozen=True)
class ShownValue:
    """A value in words, or its bytes and why they can't be read."""

    text: str
    type_name: str
    byte_count: int
    is_cut: bool = False
    problem: str = ""


def show_key(field: bytes) -> ShownKey:
    """Show a key as text if it is UTF-8, as hex otherwise."""
    try:
        return ShownKey(visible(field.decode()), field.hex(), is_hex=False)
    except UnicodeDecodeError:
        return ShownKey(field.hex(" "), field.hex(), is_hex=True)


def show_value(stored: bytes) -> ShownValue:
    """Decode a value and show at most `LONGEST_TEXT` characters of it."""
    try:
        value = _CODEC.decode(stored)
    except RedisDictError as error:
        return ShownValue(
            text=stored[:LONGEST_HEX].hex(" "),
            type_name="",
            byte_count=len(stored),
            is_cut=len(stored) > LONGEST_HEX,
            problem=visible(str(error)),
        )
    text = (
        value
        if isinstance(value, str)
        else _Printer(width=100, compact=True, sort_dicts=False).pformat(value)
    )
    return ShownValue(
        text=visible(text[:LONGEST_TEXT]),
        type_name=type(value).__name__,
        byte_count=len(stored),
        is_cut=len(text) > LONGEST_TEXT,
    )


def visible(text: str) -> str:
    """Escape all but printable characters and line ends.

    So lone surrogates can be sent, and neither NUL nor a character that turns the direction of
    writing makes a text look like another.
    """
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


class _Printer(pprint.PrettyPrinter):
    """Names an instance of a model by its key: its own `__str__` might ask the database."""

    def format(
        self,
        object: Any,  # noqa: A002 - the name of the method's own parameter
        context: dict[int, int],
        maxlevels: int,
        level: int,
    ) -> tuple[str, bool, bool]:
        if isinstance(object, Model):
            return f"<{object._meta.label} {object.pk!r}>", False, False
        return super().format(object, context, maxlevels, level)
