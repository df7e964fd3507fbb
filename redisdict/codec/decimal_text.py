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

_FLOAT: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)")


def parse(text: bytes) -> int | float:
    """Return the number that this text stands for, written by a codec or by the server.

    An integer without needless zeros gives an int, digits with a fraction or an exponent a float.
    Raises `DeserializationError` for anything else.
    """
    if len(text) <= MAX_LENGTH:
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
