"""Edit the value of one item, unless somebody has changed it meanwhile."""

from __future__ import annotations

import hashlib
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from redisdict.codec import Codec
from redisdict.codec.codec import get_codec
from redisdict.codec.envelope import (
    FIRST_FORMAT_BYTE,
    JSON,
    LZ4,
    MSGPACK,
    RAW,
    UNCOMPRESSED,
    UNSEALED_BYTES,
    ZLIB,
    ZSTD,
    split_format_byte,
)
from redisdict.conf import AliasConfig
from redisdict.exceptions import DeserializationError, RedisDictError
from redisdict.inspection.literals import is_same, read_literal
from redisdict.inspection.values import LONGEST_WHOLE, decode_value, literal

TEXT, LITERAL = "text", "literal"

#: The codes of what an edited value can be written by, and their names in settings.
_SERIALIZERS = {MSGPACK: "msgpack", JSON: "json", RAW: "raw"}
_COMPRESSORS = {UNCOMPRESSED: None, ZLIB: "zlib", ZSTD: "zstd", LZ4: "lz4"}


_UNREADABLE = gettext_lazy("It can't be edited, because it can't be read.")


class ItemForm(forms.Form):
    """The value of an item as a text or as a Python literal, with the version it was made from."""

    value = forms.CharField(
        label=gettext_lazy("Value"),
        required=False,
        strip=False,
        max_length=LONGEST_WHOLE,
        widget=forms.Textarea(attrs={"cols": 80, "spellcheck": "false", "dir": "auto"}),
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("Written as"),
        choices=[
            (TEXT, gettext_lazy("a text as it stands")),
            (
                LITERAL,
                gettext_lazy("a Python literal, such as 42, True, None, ['a'], {'a': 1}"),
            ),
        ],
        widget=forms.RadioSelect,
    )
    version = forms.CharField(widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        """Read the value; `cleaned_data["new"]` is what it means."""
        cleaned = super().clean() or {}
        # A browser sends the line ends of a textarea as CR LF, whatever they were.
        text = cleaned.get("value", "").replace("\r\n", "\n")
        if cleaned.get("kind") == TEXT:
            cleaned["new"] = text
        elif cleaned.get("kind") == LITERAL:
            try:
                cleaned["new"] = read_literal(text)
            except ValueError as error:
                self.add_error("value", str(error))
        return cleaned

    def is_outdated(self, version: str) -> None:
        """Refuse to overwrite another user's change; sent again, the form replaces it."""
        self.add_error(
            None,
            _(
                "The item was changed meanwhile, so nothing was stored. Its present value is shown"
                " below; save again to replace it by yours."
            ),
        )
        self.data = {name: self.data.get(name) for name in self.fields} | {"version": version}


def version_of(stored: bytes) -> str:
    """Make a digest of the stored bytes, by which a form detects a change."""
    return hashlib.sha256(stored).hexdigest()


def form_for(stored: bytes) -> ItemForm:
    """Make the form that shows a value.

    Raises:
        ValueError: the value couldn't be put back as it is; the text says why.
    """
    try:
        value = decode_value(stored)
    except RedisDictError as error:
        raise ValueError(_UNREADABLE) from error
    if _is_plain_text(value):
        kind, text = TEXT, value
    else:
        kind, text = LITERAL, literal(value)
    if len(text) > LONGEST_WHOLE:
        raise ValueError(_("It can't be edited here, because it is too long."))
    if kind == LITERAL and not _comes_back(text, value):
        raise ValueError(_("It can't be edited here, because a part of it has no Python literal."))
    rows = min(max(text.count("\n") + 1, len(text) // 80 + 1, 3), 25)
    form = ItemForm(initial={"value": text, "kind": kind, "version": version_of(stored)})
    form.fields["value"].widget.attrs["rows"] = rows
    return form


def codec_for(stored: bytes, config: AliasConfig) -> Codec:
    """Choose the codec that wrote the stored value; for numbers, which have none, the alias's.

    Raises:
        ConfigurationError: the compressor's package isn't installed.
        DeserializationError: it is of a serializer or compressor that isn't read here.
    """
    first = stored[:1]
    if first == UNSEALED_BYTES:
        return get_codec("raw")
    if first >= bytes([FIRST_FORMAT_BYTE]):
        serializer, compressor = split_format_byte(stored[0])
        if serializer not in _SERIALIZERS or compressor not in _COMPRESSORS:
            raise DeserializationError(_UNREADABLE)
        return get_codec(_SERIALIZERS[serializer], _COMPRESSORS[compressor])
    # Of the alias only what these pages can read again.
    chosen = config.serializer if config.serializer in ("msgpack", "json") else "msgpack"
    return get_codec(chosen)


def _is_plain_text(value: Any) -> bool:
    """Return whether a textarea gives the text back as it is: it has no line ends but its own."""
    return type(value) is str and all(one.isprintable() or one == "\n" for one in value)


def _comes_back(text: str, value: Any) -> bool:
    try:
        return is_same(read_literal(text), value)
    except ValueError:
        return False
