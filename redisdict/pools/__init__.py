"""The five pool classes, subclasses of redis-py's.

They serve a plain `redis.Redis(connection_pool=…)`, a plain `redis.asyncio.Redis(…)` and
django-redis's `CONNECTION_POOL_CLASS` as well as this package's own drivers.
"""

from redisdict.pools.asynchronous import AsyncBlockingConnectionPool, AsyncConnectionPool
from redisdict.pools.multiplexed import OptimizedAsyncConnectionPool
from redisdict.pools.sync import BlockingConnectionPool, ConnectionPool

__all__ = [
    "AsyncBlockingConnectionPool",
    "AsyncConnectionPool",
    "BlockingConnectionPool",
    "ConnectionPool",
    "OptimizedAsyncConnectionPool",
]
