"""A persistent dict and model cache for Django on Redis-compatible servers."""

from redisdict.connections.registry import (
    aclose_all,
    close_all,
    get_async_client,
    get_client,
)
from redisdict.exceptions import (
    BackendUnavailable,
    ConcurrentUpdate,
    ConfigurationError,
    DeserializationError,
    NotANumberError,
    NotDurable,
    RedisDictError,
    SerializationError,
    ServerUnsupported,
)
from redisdict.mapping.persistent_dict import PersistentDict
from redisdict.version import __version__

__all__ = [
    "BackendUnavailable",
    "ConcurrentUpdate",
    "ConfigurationError",
    "DeserializationError",
    "NotANumberError",
    "NotDurable",
    "PersistentDict",
    "RedisDictError",
    "SerializationError",
    "ServerUnsupported",
    "__version__",
    "aclose_all",
    "close_all",
    "get_async_client",
    "get_client",
]
