"""Show keys and values as harmless text of bounded length, whatever bytes are stored."""

from __future__ import annotations

import pprint
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from redisdict.codec import Codec
from redisdict.exceptions import RedisDictError
from redisdict.mapping.layouts.base import FOREVER

#: Characters of a value that a list of items shows; the item's own page shows the whole.
LONGEST_TEXT = 500

#: Characters that the page of one item shows.
LONGEST_WHOLE = 1_000_000

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
    """Show a key as `repr()` does if it is text, as hex otherwise.

    The quotes make an empty key, a blank and a line end visible.
    """
    text = key_text(field)
    if text is None:
        return ShownKey(field.hex(" "), field.hex(), is_hex=True)
    return ShownKey(repr(text), field.hex(), is_hex=False)


def key_text(field: bytes) -> str | None:
    """Read a key as text, lone surrogates included; None when it isn't text."""
    try:
        return field.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def show_value(stored: bytes, longest: int = LONGEST_TEXT) -> ShownValue:
    """Decode a value and show at most `longest` characters of it."""
    try:
        value = decode_value(stored)
    except RedisDictError as error:
        return ShownValue(
            text=stored[:LONGEST_HEX].hex(" "),
            type_name="",
            byte_count=len(stored),
            is_cut=len(stored) > LONGEST_HEX,
            problem=visible(str(error)),
        )
    text = value if isinstance(value, str) and value == value.strip() != "" else literal(value)
    return ShownValue(
        text=visible(text[:longest]),
        type_name=type(value).__name__,
        byte_count=len(stored),
        is_cut=len(text) > longest,
    )


def decode_value(stored: bytes) -> Any:
    """Decode a value without running any code.

    Raises:
        RedisDictError: it is a pickle, is damaged, too long, or not this package's.
    """
    return _CODEC.decode(stored)


def lifetime_text(left_ms: int | None) -> str:
    """Write the two greatest units that aren't zero: `2 d 3 h`, `5 min 10 s`."""
    if left_ms in (None, FOREVER):
        return _("for ever")
    seconds = max(left_ms, 0) // 1000
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    parts = [
        (days, pgettext("duration", "d")),
        (hours, pgettext("duration", "h")),
        (minutes, pgettext("duration", "min")),
        (seconds, pgettext("duration", "s")),
    ]
    texts = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(texts[:2]) or f"0 {parts[-1][1]}"


def literal(value: Any) -> str:
    """Write a value as Python code would have it, over several lines where it is long."""
    try:
        return _Printer(width=100, compact=True, sort_dicts=False).pformat(value)
    except ArithmeticError:  # a set with a NaN of Decimal, which is compared with nothing
        return repr(value)


def is_plain(text: str) -> bool:
    """Return whether a text is fully visible: printable, without invisible blanks."""
    return text.isprintable() and text == text.strip() != ""


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
