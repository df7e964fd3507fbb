"""A persistent dict and model cache for Django on Redis-compatible servers.

The names below are imported when they are first used, so that an installed app costs a project's
start next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        NoReplica,
        NotANumberError,
        NotCacheable,
        NotDurable,
        RedisDictError,
        SerializationError,
        ServerUnsupported,
    )
    from redisdict.mapping.background import afinish_background, finish_background
    from redisdict.mapping.dict import PersistentDict
    from redisdict.modelcache.model_dict import ModelDict
    from redisdict.modelcache.results.computed_dict import ComputedDict
    from redisdict.modelcache.results.querysets import (
        CachedManager,
        CachedQuerySet,
        cache_results_of,
    )
    from redisdict.near.barrier import near_barrier
    from redisdict.version import __version__

__all__ = [
    "BackendUnavailable",
    "CachedManager",
    "CachedQuerySet",
    "ComputedDict",
    "ConcurrentUpdate",
    "ConfigurationError",
    "DeserializationError",
    "ModelDict",
    "NoReplica",
    "NotANumberError",
    "NotCacheable",
    "NotDurable",
    "PersistentDict",
    "RedisDictError",
    "SerializationError",
    "ServerUnsupported",
    "__version__",
    "aclose_all",
    "afinish_background",
    "cache_results_of",
    "close_all",
    "finish_background",
    "get_async_client",
    "get_client",
    "near_barrier",
]

_HOMES = {
    "CachedManager": "redisdict.modelcache.results.querysets",
    "CachedQuerySet": "redisdict.modelcache.results.querysets",
    "ComputedDict": "redisdict.modelcache.results.computed_dict",
    "ModelDict": "redisdict.modelcache.model_dict",
    "PersistentDict": "redisdict.mapping.dict",
    "__version__": "redisdict.version",
    "aclose_all": "redisdict.connections.registry",
    "afinish_background": "redisdict.mapping.background",
    "cache_results_of": "redisdict.modelcache.results.querysets",
    "close_all": "redisdict.connections.registry",
    "finish_background": "redisdict.mapping.background",
    "get_async_client": "redisdict.connections.registry",
    "get_client": "redisdict.connections.registry",
    "near_barrier": "redisdict.near.barrier",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "redisdict.exceptions")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
