"""Users of a server whose passwords are tokens that end, and providers of them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.auth.idp import IdentityProviderInterface
from redis.auth.token import SimpleToken, TokenInterface
from redis.auth.token_manager import (
    CredentialsListener,
    RetryPolicy,
    TokenManager,
    TokenManagerConfig,
)
from redis.credentials import CredentialProvider, StreamingCredentialProvider

from tests.managed.service import ManagedService

__all__ = [
    "POOLED",
    "ManagedTokens",
    "Overtaken",
    "PlainTokens",
    "Streamed",
    "User",
    "end",
    "token_of",
]

#: A pool class whose connections tasks don't share.
POOLED = "redisdict.pools.AsyncBlockingConnectionPool"


class User:
    """A user of real servers; the passwords are what the service calls tokens."""

    def __init__(self, *clients: redis.Redis, name: str) -> None:
        self._clients = clients
        self.name = name
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.token = ""
        self.issue()

    def issue(self) -> str:
        """Have a further token count from now on, beside those there are."""
        with self._lock:
            token = f"token-{next(self._numbers)}"
            self._acl("SETUSER", self.name, "on", f">{token}", "~*", "&*", "+@all")
            self.token = token
            return token

    def end(self, token: str) -> None:
        """Have a token count no more. Redis lets connections stay; services hang up on them."""
        self._acl("SETUSER", self.name, f"<{token}")

    def remove(self) -> None:
        self._acl("DELUSER", self.name)

    def _acl(self, *words: str) -> None:
        for client in self._clients:
            client.execute_command("ACL", *words)


def end(service: ManagedService, user: User, token: str) -> int:
    """End a token as a service does; how many connections it has ended."""
    user.end(token)
    return service.end_token(token)


class PlainTokens(CredentialProvider):
    """Gives each new connection the token of the moment, and tells of none."""

    def __init__(self, user: User) -> None:
        self._user = user

    def get_credentials(self) -> tuple[str, str]:
        return self._user.name, self._user.token


class Overtaken(PlainTokens):
    """Gives tokens that end on their way, as many as the test says."""

    def __init__(self, user: User) -> None:
        super().__init__(user)
        self.times = 0

    def get_credentials(self) -> tuple[str, str]:
        name, token = super().get_credentials()
        if self.times:
            self.times -= 1
            self._user.issue()
            self._user.end(token)
        return name, token


class Streamed(StreamingCredentialProvider):
    """Tells of new tokens when the test says so. As redis-entraid's it keeps one callback."""

    def __init__(self, user: User) -> None:
        self.user = user
        self._on_next: Callable[[Any], Any] = lambda _token: None
        self._on_error: Callable[[Exception], Any] = lambda _error: None

    def get_credentials(self) -> tuple[str, str]:
        return self.user.name, self.user.token

    def on_next(self, callback: Callable[[Any], Any]) -> None:
        self._on_next = callback

    def on_error(self, callback: Callable[[Exception], Any]) -> None:
        self._on_error = callback

    def is_streaming(self) -> bool:
        return True

    def renew(self) -> tuple[str, str]:
        """Issue a token and tell of it, from another thread; the one before, and the new one."""
        old, new = self.user.token, self.user.issue()
        self.send(new)
        return old, new

    def send(self, value: str) -> None:
        token = token_of(self.user.name, value)
        thread = threading.Thread(target=self._on_next, args=(token,))
        thread.start()
        thread.join()

    def fail(self, error: Exception) -> None:
        self._on_error(error)


def token_of(name: str, value: str, lives_s: float = 3600) -> TokenInterface:
    now_ms = time.time() * 1000
    return SimpleToken(value, now_ms + lives_s * 1000, now_ms, {"oid": name})


class _Identities(IdentityProviderInterface):
    def __init__(self, user: User, lives_s: float) -> None:
        self._user = user
        self._lives_s = lives_s
        self.requests = 0

    def request_token(self, force_refresh: bool = False) -> TokenInterface:
        self.requests += 1
        value = self._user.issue() if force_refresh else self._user.token
        return token_of(self._user.name, value, self._lives_s)


class ManagedTokens(StreamingCredentialProvider):
    """Made of redis-py's TokenManager as redis-entraid is, with tokens that live half a second."""

    def __init__(self, user: User) -> None:
        self.identities = _Identities(user, 0.5)
        self.manager = TokenManager(
            self.identities, TokenManagerConfig(0.5, 0, 1000, RetryPolicy(3, 10))
        )
        self._listener = CredentialsListener()
        self._is_streaming = False

    def get_credentials(self) -> tuple[str, str]:
        token = self.manager.acquire_token().get_token()
        if not self._is_streaming:
            self.manager.start(self._listener, skip_initial=True)
            self._is_streaming = True
        return token.try_get("oid"), token.get_value()

    async def get_credentials_async(self) -> tuple[str, str]:
        token = (await self.manager.acquire_token_async()).get_token()
        if not self._is_streaming:
            await self.manager.start_async(self._listener, skip_initial=True)
            self._is_streaming = True
        return token.try_get("oid"), token.get_value()

    def on_next(self, callback: Callable[[Any], Any]) -> None:
        self._listener.on_next = callback

    def on_error(self, callback: Callable[[Exception], Any]) -> None:
        self._listener.on_error = callback

    def is_streaming(self) -> bool:
        return self._is_streaming
