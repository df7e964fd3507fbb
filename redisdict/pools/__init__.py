"""Export the five pool classes, subclasses of redis-py's.

They serve a plain `redis.Redis(connection_pool=…)`, a plain `redis.asyncio.Redis(…)` and
django-redis's `CONNECTION_POOL_CLASS` as well as this package's own drivers.
"""

from redisdict.pools import asynchronous, multiplexed, sync
from redisdict.pools.asynchronous import *  # noqa: F403 - of each what it names in its __all__
from redisdict.pools.multiplexed import *  # noqa: F403
from redisdict.pools.sync import *  # noqa: F403

__all__: list[str] = []
__all__ += asynchronous.__all__
__all__ += multiplexed.__all__
__all__ += sync.__all__
