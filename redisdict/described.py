"""Describe a value of a setting in an error, whatever it is: short, on one line, no secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redisdict.exceptions import ConfigurationError

#: Characters of a value that are shown; its beginning tells which one it is.
LONGEST = 60

#: Those whose repr tells what was written. Of all others the type does, and its repr may be
#: anything.
_PLAIN = (type(None), bool, int, float, str, bytes)


def described(value: object) -> str:
    """Give the repr of a plain value, cut where it is long; of any other the name of its type.

    A text with :// or an @ may be an address with a password, so of that only the type is told.
    """
    kind = type(value)
    if kind not in _PLAIN:
        return kind.__name__
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python writes
        return kind.__name__
    if "@" in text or "://" in text:
        return kind.__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def reason_of(error: BaseException) -> str:
    """Name the type of an error and what it says, on one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  # its __str__ is somebody else's code
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name


@contextmanager
def telling_of(where: str) -> Iterator[None]:
    """Have whatever the values of a setting raise while they are checked told by its name.

    A lazy object may fail when it is first looked at, and any object when it is compared or hashed.

    Raises:
        ConfigurationError: one of the block's own, or for another error.
    """
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{where} can't be read; plain values are expected, and one of them raised"
            f" {reason_of(error)}"
        ) from error
