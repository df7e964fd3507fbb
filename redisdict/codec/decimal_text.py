"""Numbers as the server's own counters write them: decimal text.

Integers are stored so because HINCRBY and INCRBY work on nothing else. The text of a float is only
ever read: HINCRBYFLOAT and INCRBYFLOAT leave it behind.
"""

import re
from typing import Final

from redisdict.exceptions import DeserializationError

# An interpreter may be told to refuse int texts of more than 640 digits (the lowest limit that
# `sys.set_int_max_str_digits` takes). 2**2048 has 617, so any interpreter can read what was stored.
MAX_BITS: Final = 2048
MAX_LENGTH: Final = 640

_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]*")
_FLOAT: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def parse(text: bytes) -> int | float:
    """Return the number that this text, written by a codec or by the server, stands for.

    An integer without leading zeros gives an int; digits with a fraction or an exponent a float.
    Raises `DeserializationError` for anything else.
    """
    if len(text) <= MAX_LENGTH:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text) and not text.lstrip(b"-").isdigit():
            return float(text)
    raise DeserializationError(
        f"{len(text)} stored bytes are neither a number nor a value that this package wrote: they "
        f"begin with {text[:16]!r}. They stay on the server as they are; overwrite or delete the "
        "item, or read it with a client of its own."
    )
