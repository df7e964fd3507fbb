"""Renew the credentials of open connections, for providers that don't do so themselves."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from redis.auth.token import SimpleToken
from redis.credentials import CredentialProvider, StreamingCredentialProvider

from redisdict.forks import on_fork, own, take_over

__all__ = ["RenewingCredentialProvider"]


class RenewingCredentialProvider(StreamingCredentialProvider):
    """Let open connections authenticate again at regular intervals.

    A provider of redis-py's gives credentials to new connections. Services that close connections
    whose token has expired (ElastiCache and MemoryDB do so 12 hours after the last AUTH) keep them
    open if they send AUTH with a new token. This class asks a provider for new credentials in a
    thread of its own, which begins with the first connection, and passes them on.

    Args:
        provider: any `redis.CredentialProvider`; its `get_credentials()` is called by a thread.
        every: seconds from one renewal to the next, well below the lifetime of a token or
            connection.

    Raises:
        TypeError: `provider` is no provider, or `every` is no number.
        ValueError: `every` isn't above 0, or isn't finite.
    """

    def __init__(self, provider: CredentialProvider, every: float) -> None:
        if not isinstance(provider, CredentialProvider):
            raise TypeError(
                f"provider is {type(provider).__name__}; a redis.CredentialProvider is expected."
            )
        if isinstance(every, bool) or not isinstance(every, int | float):
            raise TypeError(f"every is {type(every).__name__}; seconds as a number are expected.")
        if not 0 < every < math.inf:
            raise ValueError(f"every is {every} s; seconds above 0 are expected.")
        self._provider = provider
        self._every = every
        self._on_next: Callable[[Any], Any] = lambda _token: None
        self._on_error: Callable[[Exception], Any] = lambda _error: None
        self._begin_anew()
        on_fork(self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Ask the provider for the credentials of a new connection."""
        self._ensure_thread()
        return self._provider.get_credentials()

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Ask the provider for the credentials of a new connection."""
        self._ensure_thread()
        return await self._provider.get_credentials_async()

    def on_next(self, callback: Callable[[Any], Any]) -> None:
        """Set the function that is called with each new token, replacing the one before."""
        self._on_next = callback

    def on_error(self, callback: Callable[[Exception], Any]) -> None:
        """Set the function that is called with each error, replacing the one before."""
        self._on_error = callback

    def is_streaming(self) -> bool:
        """Return whether the thread runs."""
        return self._thread is not None

    def _ensure_thread(self) -> None:
        if not own[0]:
            take_over()
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_renew_until_gone,
                    args=(weakref.ref(self),),
                    name="redisdict-credentials",
                    daemon=True,
                )
                self._thread.start()

    def _renew(self) -> None:
        try:
            *user, value = self._provider.get_credentials()
        except Exception as error:  # noqa: BLE001  # told, and tried again
            self._on_error(error)
            return
        now_ms = time.time() * 1000
        # redis-py has the user under the name that Entra ID gives it.
        claims = {"oid": user[0] if user else "default"}
        self._on_next(SimpleToken(value, now_ms + self._every * 1000, now_ms, claims))


def _renew_until_gone(reference: weakref.ref[RenewingCredentialProvider]) -> None:
    provider = reference()
    while provider is not None:
        every = provider._every
        del provider
        time.sleep(every)
        provider = reference()
        if provider is not None:
            provider._renew()
