"""Define the errors of a benchmark, apart from those that the server client raises."""

from __future__ import annotations

from enum import IntEnum

from redis.exceptions import RedisError

from redisdict.exceptions import RedisDictError

#: What makes a cell or a service fail without ending the run.
CELL_ERRORS = (RedisError, RedisDictError, OSError)


class ExitStatus(IntEnum):
    """The exit statuses of `redisbench`. 2 is Django's own, for wrong arguments."""

    FINE = 0
    REGRESSION = 1
    FAILED_CELL = 3
    TOO_NOISY = 4
    WRONG_REPLY = 5


#: What every exit status means: the help and the documentation say the same.
EXIT_STATUSES = {
    "0": "fine",
    "1": "a proven slowdown by more than `--fail-threshold`, which the last line on standard error"
    " reports; or an error of use, in one line that begins with CommandError",
    "2": "wrong arguments",
    "3": "a service or a cell failed, a service chosen by name isn't available, or the report or"
    " the database couldn't be written; everything else is saved",
    "4": "too noisy to decide (`--strict`), or a self-test with a broken promise",
    "5": "a wrong reply, or two names for one server",
    "130, 143": "interrupted, terminated; finished results are saved",
}


class UsageError(RedisDictError):
    """The user asked for something that can't be done; the message says what to do instead."""


class SameServer(UsageError):
    """Two names stand for one server."""


class WrongReply(RedisDictError):
    """A server answered something else than what was stored; its figures are worth nothing."""


def describe(error: BaseException) -> str:
    """Describe an error in one line for a report."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
