"""Describe a value of a setting in an error, whatever it is: short, on one line, no secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redisdict.exceptions import ConfigurationError

#: Characters of a value that are shown; its beginning identifies it.
LONGEST = 60

#: Types whose repr shows what was written. For all others the type is shown, as their repr may be
#: anything.
_PLAIN = (type(None), bool, int, float, str, bytes)


def described(value: object) -> str:
    """Return the repr of a plain value, shortened if it is long; of any other its type's name.

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


def quoted(name: object) -> str:
    """Quote a name of an alias or a cache for an error, on one line whatever it is."""
    return f'"{name}"' if isinstance(name, str) and name.isprintable() else described(name)


def reason_of(error: BaseException) -> str:
    """Return the type and the text of an error on one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  # its __str__ is foreign code
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name


@contextmanager
def telling_of(where: str) -> Iterator[None]:
    """Report any error that a setting's values raise while they are checked, with its name.

    A lazy object may fail when it is first used, and any object when it is compared or hashed.

    Raises:
        ConfigurationError: the block raised it, or another error.
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
