"""Keep the backends of the process, one for each alias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from django.core.signals import setting_changed
from django.dispatch import receiver

from redisdict import conf, forks
from redisdict.conf import AliasConfig
from redisdict.connections.backend import Backend

#: By alias; those of other settings than REDISDICT by a pair.
_backends: dict[str | tuple[str, str], Backend] = {}
_lock = forks.Lock()
_listeners: list[Callable[[], None]] = []


def get_backend(alias: str = conf.DEFAULT_ALIAS) -> Backend:
    """Get the backend of `alias`, made at the first call.

    Raises:
        ConfigurationError: no such alias, or its values are wrong.
    """
    try:
        return _backends[alias]
    except KeyError:
        pass
    backend = Backend(conf.get_alias(alias))
    with _lock:
        return _backends.setdefault(alias, backend)


def get_backend_of(config: AliasConfig, identity: str) -> Backend:
    """Get the backend of a configuration from another setting than REDISDICT.

    It is made at the first call, and closed and discarded together with those of the aliases.

    Args:
        identity: differs between configurations of different servers or pools. It may hold a
            password.

    Raises:
        ConfigurationError: the configuration can't be used.
    """
    key = (config.setting, identity)
    backend = _backends.get(key)
    if backend is None:
        backend = Backend(config)
        with _lock:
            backend = _backends.setdefault(key, backend)
    return backend


def used_aliases() -> tuple[str, ...]:
    """List the aliases whose backend has been made since the settings were last read."""
    return tuple(name for name in list(_backends) if isinstance(name, str))


def backends() -> list[Backend]:
    """List the backends that were made since the settings were last read, also those of caches."""
    return list(_backends.values())


def get_client(using: str = conf.DEFAULT_ALIAS) -> redis.Redis:
    """Make a redis-py client over the alias's pool for threads.

    Raises:
        ConfigurationError: no such alias, or its values are wrong.
    """
    return get_backend(using).client()


def get_async_client(using: str = conf.DEFAULT_ALIAS) -> redis.asyncio.Redis:
    """Make a redis-py asyncio client over the running event loop's pool of the alias.

    Raises:
        ConfigurationError: no such alias, or its values are wrong.
        RuntimeError: no event loop is running.
    """
    return get_backend(using).async_client()


def close_all() -> None:
    """Close the connections of all pools for threads; the next use opens new ones."""
    for backend in list(_backends.values()):
        backend.close()


async def aclose_all() -> None:
    """Close the connections of all pools of the running event loop; the next use opens new ones.

    Rarely needed: they are closed when the loop ends.
    """
    for backend in list(_backends.values()):
        await backend.aclose()


def on_reset(listener: Callable[[], None]) -> None:
    """Call `listener` when backends are discarded because the settings changed."""
    _listeners.append(listener)


@receiver(setting_changed)
def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting not in ("REDISDICT", "CACHES"):
        return
    close_all()
    _backends.clear()
    for listener in _listeners:
        listener()
