"""Pass the tokens of a streaming credential provider on to all open connections.

IAM and Entra ID give tokens that expire. A *streaming* provider of redis-py's (redis-entraid has
one) announces each new token before the old one expires, so that connections authenticate again and
stay open.

Such a provider keeps only the callback that it was given last, but one provider serves many: pools
of threads and of event loops, every node of a Cluster, redis-py's own clients, the connection of
the near cache. So each provider is wrapped once in a process, and the wrapper notifies all.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from types import MethodType
from typing import Any, TypeAlias

from redis.auth.token import TokenInterface
from redis.credentials import StreamingCredentialProvider
from redis.exceptions import RedisError

from redisdict import forks

logger = logging.getLogger("redisdict")

Callback: TypeAlias = Callable[[Any], Any]
Credentials: TypeAlias = tuple[str] | tuple[str, str]


class Done:
    """The result of a callback that may be called as a function or awaited."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class SharedCredentials(StreamingCredentialProvider):
    """Passes each token of one streaming provider on to all subscribers.

    Args:
        provider: of which it becomes the only listener.
    """

    def __init__(self, provider: StreamingCredentialProvider) -> None:
        self._provider = provider
        self._lock = forks.Lock()
        self._on_next: list[_Subscription] = []
        self._on_error: list[_Subscription] = []
        self._last: object = None
        # What they give is awaited where the provider streams in a loop.
        provider.on_next(self.send)  # type: ignore[arg-type]  # its stub has None alone
        provider.on_error(self.fail)  # type: ignore[arg-type]  # as above

    def get_credentials(self) -> Credentials:
        """Ask the provider for the credentials of a new connection. May block."""
        if self._provider.is_streaming():
            return self._provider.get_credentials()
        with self._lock:
            if not _is_loop_running():
                return self._provider.get_credentials()
            # redis-py's TokenManager, begun in the thread of a running loop, waits for that loop.
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(self._provider.get_credentials).result()

    async def get_credentials_async(self) -> Credentials:
        """Ask the provider for the credentials of a new connection.

        The first time in a thread, where it begins to stream: begun in this loop it would stop with
        this loop, and others may follow.
        """
        if not self._provider.is_streaming():
            try:
                return await asyncio.to_thread(self.get_credentials)
            except NotImplementedError:
                pass
        return await self._provider.get_credentials_async()

    def is_streaming(self) -> bool:
        """Return whether the provider has begun to renew its token."""
        return self._provider.is_streaming()

    def on_next(self, callback: Callback) -> None:
        """Call a function with each new token. A method doesn't keep its object alive."""
        self._subscribe(self._on_next, callback)

    def on_error(self, callback: Callback) -> None:
        """Call a function with each error in getting a new token."""
        self._subscribe(self._on_error, callback)

    def send(self, token: TokenInterface) -> Done:
        """Pass a new token on, once. Called by the provider, in any thread or loop.

        redis-py's publish/subscribe passes a token that it gets to its pool, which calls this.
        """
        if token is not self._last:
            self._last = token
            self._tell(self._on_next, token)
        return Done()

    def fail(self, error: Exception) -> Done:
        """Report that no token could be got: connections stay as long as the old one is valid."""
        logger.warning("The credential provider couldn't renew its token: %s", error)
        self._tell(self._on_error, error)
        return Done()

    def _subscribe(self, subscriptions: list[_Subscription], callback: Callback) -> None:
        with self._lock:
            subscriptions[:] = [each for each in subscriptions if each.is_alive]
            if not any(each.find() == callback for each in subscriptions):
                subscriptions.append(_Subscription(callback))

    def _tell(self, subscriptions: list[_Subscription], news: object) -> None:
        for subscription in list(subscriptions):
            try:
                subscription.call(news)
            except Exception:
                logger.exception("A connection pool couldn't take a new token")


class _Subscription:
    """One subscriber, with its loop if it is a coroutine function of redis-py's."""

    def __init__(self, callback: Callback) -> None:
        self.find: Callable[[], Callback | None] = (
            weakref.WeakMethod(callback) if isinstance(callback, MethodType) else lambda: callback
        )
        is_in_loop = inspect.iscoroutinefunction(callback) and _is_loop_running()
        self._loop = asyncio.get_running_loop() if is_in_loop else None

    @property
    def is_alive(self) -> bool:
        is_closed = self._loop is not None and self._loop.is_closed()
        return self.find() is not None and not is_closed

    def call(self, news: object) -> None:
        callback = self.find()
        if callback is None:
            return
        answer = callback(news)
        if not inspect.iscoroutine(answer):
            return
        if self._loop is None or self._loop.is_closed():
            answer.close()  # its connections have ended with their loop
            return
        asyncio.run_coroutine_threadsafe(answer, self._loop)


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


#: By the id of the provider, which lives as long as its wrapper.
_shared: weakref.WeakValueDictionary[int, SharedCredentials] = weakref.WeakValueDictionary()
_lock = forks.Lock()


def shared_by_all(provider: Any) -> Any:
    """Wrap a streaming provider, once in a process; leave any other one as it is."""
    if not isinstance(provider, StreamingCredentialProvider):
        return provider
    if isinstance(provider, SharedCredentials):
        return provider
    with _lock:
        found = _shared.get(id(provider))
        if found is None:
            found = _shared[id(provider)] = SharedCredentials(provider)
        return found


def subscribe(options: dict[str, Any], take_token: Callable[[Any], None]) -> bool:
    """Notify a pool of new tokens, if the provider in its connections' options renews them.

    Args:
        options: in which the wrapper takes the place of the provider.
        take_token: called in any thread.

    Returns:
        Whether there can be new tokens.
    """
    provider = options.get("credential_provider")
    if not isinstance(provider, StreamingCredentialProvider):
        return False
    shared = options["credential_provider"] = shared_by_all(provider)
    shared.on_next(take_token)
    return True


def has_new_token(connection: Any) -> bool:
    """Whether a connection has to authenticate again before its next command."""
    inner = getattr(connection, "_conn", connection)  # of one with a client-side cache
    return getattr(inner, "_re_auth_token", None) is not None


def authenticate(connection: Any) -> None:
    """Authenticate again with the token that a connection was given, if it was.

    If that fails, it is connected again with new credentials of the provider.

    Raises:
        redis.exceptions.RedisError: it can't be connected.
    """
    try:
        connection.re_auth()
    except RedisError:
        connection.disconnect()
        connection.set_re_auth_token(None)
        connection.connect()


async def aauthenticate(connection: Any) -> None:
    """As `authenticate()`."""
    try:
        await connection.re_auth()
    except RedisError:
        await connection.disconnect(nowait=True)
        connection.set_re_auth_token(None)
        await connection.connect()


def credentials_of(token: TokenInterface) -> Credentials:
    """Return the arguments of AUTH for a token; redis-py has its user under the name `oid`."""
    user = token.try_get("oid")
    return (user, token.get_value()) if user else (token.get_value(),)
