"""Define every error that this package raises on purpose, all under `RedisDictError`."""

from django.core.exceptions import ImproperlyConfigured


class RedisDictError(Exception):
    """The base of all errors of this package."""


class ConfigurationError(RedisDictError, ImproperlyConfigured):
    """A setting can't be used; the message names the setting, what was got and what to do."""


class NotCacheable(RedisDictError):
    """The result of the query can't be cached; the message says why, and what to do."""


class SerializationError(RedisDictError, TypeError):
    """The value can't be stored by the chosen serializer; nothing was written."""


class DeserializationError(RedisDictError, ValueError):
    """The stored bytes can't be read; they stay on the server exactly as they are."""


class NotANumberError(RedisDictError, TypeError):
    """`incr()` or `decr()` of an item that isn't a number; it stays as it is."""


class ConcurrentUpdate(RedisDictError):
    """Another process changed the item meanwhile, or took the lock; nothing was stored."""


class ServerUnsupported(RedisDictError):
    """The server lacks a command that is needed; the message names it, and servers that have it."""


class BackendUnavailable(RedisDictError, ConnectionError):
    """The server can't be reached, hung up, or didn't answer in time.

    `outcome_unknown` is true if a command that must not be repeated had been sent already, so the
    server may or may not have carried it out.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class NotDurable(BackendUnavailable):
    """The write was made, but the server didn't confirm in time that it is safe (`durable`).

    It is visible to everybody, and lost if the server fails now.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, outcome_unknown=True)


class NoReplica(BackendUnavailable, ServerUnsupported):
    """No replica is connected, so nothing was written (`durable="replicas"`)."""
