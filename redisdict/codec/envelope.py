"""Wrap a stored value: one format byte, the body, four bytes of checksum.

    0x80 | compressor << 4 | serializer     body     CRC-32 of all before it, little-endian

The format byte says how the value was written, so a change of settings never makes old values
unreadable. The codes below are permanent: a code is never given to something else, and a retired
one stays reserved. The byte is never below 0x80, where the text of numbers lives.

The checksum is what turns a flipped bit into an error instead of a wrong value. It also keeps
damaged bytes away from parsers written for speed.

Bytes that the serializer "raw" stores uncompressed have neither: one special byte, 0xC4, and then
the bytes as they are. Users of raw have a format already, and a checksum of each value would cost
more than everything else that is done with it here. That byte differs from any format byte in at
least two bits, so no single flipped bit turns a value with a checksum into raw bytes.

Integers are stored as decimal text, because HINCRBY and INCRBY work on nothing else. The text of a
float is only ever read: HINCRBYFLOAT and INCRBYFLOAT leave it behind.
"""

import re
from collections.abc import Sequence
from typing import Final
from zlib import crc32

from redisdict.exceptions import DeserializationError

FIRST_FORMAT_BYTE: Final = 0x80
UNSEALED_BYTES: Final = b"\xc4"

MSGPACK: Final = 0
JSON: Final = 1
PICKLE: Final = 2
RAW: Final = 3
CUSTOM_SERIALIZER_CODES: Final = range(12, 16)

UNCOMPRESSED: Final = 0
ZLIB: Final = 1
ZSTD: Final = 2
LZ4: Final = 3
CUSTOM_COMPRESSOR_CODES: Final = range(6, 8)

# The CRC-32 of any message followed by its own CRC-32 is this constant, so checking needs no slice.
CHECKSUM_RESIDUE: Final = 0x2144DF1C
CHECKSUM_LENGTH: Final = 4

# After every whole message the register of CRC-32 holds the same, whatever the message was. These
# four bytes take it from there back to what it begins with. So messages with them in between are
# all whole exactly if the checksum of the lot is the residue: damage changes the register by what
# depends on the damage alone, for a CRC is linear (Peterson and Brown, Cyclic Codes for Error
# Detection, 1961), and no later message changes it back.
_BETWEEN: Final = bytes.fromhex("81d59d4c")


def format_byte(serializer_code: int, compressor_code: int) -> bytes:
    """Return the first byte of values written by this serializer and this compressor."""
    return bytes([FIRST_FORMAT_BYTE | compressor_code << 4 | serializer_code])


def seal(message: bytes) -> bytes:
    """Append the checksum to a format byte and its body."""
    return message + crc32(message).to_bytes(CHECKSUM_LENGTH, "little")


def are_whole(messages: Sequence[bytes]) -> bool:
    """Return whether each of these, at least one, ends in its checksum; faster for many.

    As with one message, random damage passes with a probability of 2**-32, and up to two flipped
    bits in 512 MiB never do.
    """
    return crc32(_BETWEEN.join(messages)) == CHECKSUM_RESIDUE


def split_format_byte(first: int) -> tuple[int, int]:
    """Return the serializer code and the compressor code of a format byte."""
    return first & 0x0F, (first >> 4) & 0x07


def damaged(stored: bytes) -> DeserializationError:
    """Return the error for bytes that no codec wrote, or that were changed since."""
    return DeserializationError(
        f"{len(stored)} stored bytes that begin with 0x{stored[:1].hex()} are damaged, or were "
        "written by another program: the checksum at their end doesn't match. They stay on the "
        "server as they are; overwrite or delete the item."
    )


# An interpreter may be told to refuse int texts of more than 640 digits (the lowest limit that
# `sys.set_int_max_str_digits` takes). 2**2048 has 617, so any interpreter can read what was stored.
MAX_BITS_OF_TEXT: Final = 2048
_MAX_TEXT_LENGTH: Final = 640

_FLOAT: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)")


def parse_number(text: bytes) -> int | float:
    """Return the number that this text stands for, written by a codec or by the server.

    An integer without needless zeros gives an int, digits with a fraction or an exponent a float.
    Raises `DeserializationError` for anything else.
    """
    if len(text) <= _MAX_TEXT_LENGTH:
        try:
            number = int(text)
        except ValueError:
            if _FLOAT.fullmatch(text):
                return float(text)
        else:
            # int() also takes spaces, underscores, a plus sign and leading zeros.
            if b"%d" % number == text:
                return number
    raise DeserializationError(
        f"{len(text)} stored bytes that begin with 0x{text[:1].hex()} are neither a number nor a "
        "value that this package wrote. They stay on the server as they are: read them with "
        "another client, or overwrite or delete the item."
    )
