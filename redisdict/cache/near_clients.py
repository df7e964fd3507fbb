"""Make redis-py's clients of a cache with NEAR, whose writes the process sees at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio

from redisdict.cache.base import Client
from redisdict.near.access import Access


class DroppingClient(Client):
    """A client whose commands drop the keys that they name from memory."""

    def __init__(self, access: Access, pool: redis.ConnectionPool) -> None:
        super().__init__(connection_pool=pool)
        self._access = access

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command, as redis-py's does."""
        with _dropping(self._access, arguments):
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]  # redis-py's


class AsyncDroppingClient(redis.asyncio.Redis):
    """As `DroppingClient`, for tasks."""

    def __init__(self, access: Access, pool: redis.asyncio.ConnectionPool) -> None:
        super().__init__(connection_pool=pool)
        self._access = access

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command, as redis-py's does."""
        with _dropping(self._access, arguments):
            return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]  # redis-py's


@contextmanager
def _dropping(access: Access, arguments: tuple[Any, ...]) -> Iterator[None]:
    name, *rest = arguments
    named = [bytes(each) for each in rest if isinstance(each, bytes | bytearray | memoryview)]
    named += [each.encode() for each in rest if isinstance(each, str)]
    command = (name.encode() if isinstance(name, str) else name, *named)
    access.drop([command])
    try:
        yield
    finally:
        access.drop([command])
