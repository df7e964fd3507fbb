"""From a configuration to pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.cluster import ClusterNode

from redisdict.conf import AliasConfig, Options, import_object
from redisdict.connections import borrowed, sentinel
from redisdict.connections.locations import parse_location
from redisdict.connections.middleware import Tracer
from redisdict.connections.options import POOL_OPTIONS, check_options, explain
from redisdict.exceptions import ConfigurationError

# Connection classes by kind of location: for threads, for tasks.
CONNECTION_CLASSES: Mapping[str, tuple[type[Any], type[Any]]] = {
    "tcp": (redis.Connection, redis.asyncio.Connection),
    "tls": (redis.SSLConnection, redis.asyncio.SSLConnection),
    "unix": (redis.UnixDomainSocketConnection, redis.asyncio.UnixDomainSocketConnection),
    "embedded": (redis.UnixDomainSocketConnection, redis.asyncio.UnixDomainSocketConnection),
}

#: Whether dicts may read from replicas.
READ_FROM_REPLICAS = "read_from_replicas"


class PoolFactory:
    """Makes the pools of one alias.

    Args:
        config: the checked configuration.
        to_replicas: whether its connections lead to replicas in place of the primary.

    Raises:
        ConfigurationError: the location, a pool class or an option can't be used.
    """

    def __init__(self, config: AliasConfig, *, to_replicas: bool = False) -> None:
        self._to_replicas = to_replicas
        self._config = config
        self._where = config.where
        self.is_borrowed = config.cache is not None
        check_options(f'{self._where}["OPTIONS"]', config.options)
        self._options: dict[str, Any] = dict(config.options)
        if config.cache is not None:
            self.location, self._options = borrowed.location_and_options(config.cache, self._where)
        else:
            assert config.location is not None  # conf has checked it
            self.location = parse_location(config.location, f'{self._where}["LOCATION"]')
        self.reads_replicas = self._take_reads_replicas()
        # As in redis-py, what the location says comes before the options.
        self._arguments = {**self._options, **self.location.options}

    @property
    def address(self) -> str:
        """Where the server is, without credentials."""
        return self.location.address

    @property
    def socket_timeout_s(self) -> float | None:
        """How long a connection waits for a reply, 5 s by redis-py's default; None for ever."""
        seconds: float | None = self._arguments.get("socket_timeout", 5)
        return seconds

    @property
    def has_credentials(self) -> bool:
        """Whether connections say who they are."""
        names = ("password", "credential_provider", "ssl_certfile")
        return any(self._arguments.get(name) for name in names)

    def make_pool(self) -> redis.ConnectionPool:
        self._refuse_cluster()
        if self._config.cache is not None:
            return borrowed.pool(self._config.cache, self._where)
        pool_class = self._pool_class("POOL_CLASS", redis.ConnectionPool)
        pool: redis.ConnectionPool = self._make(pool_class, is_async=False)
        if self.location.kind == "sentinel":
            pool.connection_kwargs["connection_pool"] = sentinel.SentinelRoute(
                pool, self.location, self._options, to_replicas=self._to_replicas
            )
        return pool

    def make_async_pool(self) -> redis.asyncio.ConnectionPool:
        """Make a pool; behind sentinels its connections have a route that is closed with it."""
        self._refuse_cluster()
        pool_class = self._pool_class("ASYNC_POOL_CLASS", redis.asyncio.ConnectionPool)
        pool: redis.asyncio.ConnectionPool = self._make(pool_class, is_async=True)
        if self.location.kind == "sentinel":
            pool.connection_kwargs["connection_pool"] = sentinel.AsyncSentinelRoute(
                pool, self.location, self._options, to_replicas=self._to_replicas
            )
        return pool

    def make_cluster_client(self) -> redis.RedisCluster:
        """Make redis-py's own client for threads, connected."""
        nodes = [ClusterNode(host, port) for host, port in self.location.nodes]
        client: redis.RedisCluster = self._with_cluster_options(redis.RedisCluster, nodes)
        return client

    def make_async_cluster_client(self) -> redis.asyncio.RedisCluster:
        """Make redis-py's own client for the tasks of one event loop."""
        nodes = [AsyncClusterNode(host, port) for host, port in self.location.nodes]
        client_class = redis.asyncio.RedisCluster
        client: redis.asyncio.RedisCluster = self._with_cluster_options(client_class, nodes)
        return client

    def _with_cluster_options(self, client_class: Any, nodes: Sequence[Any]) -> Any:
        options = {
            name: value
            for name, value in self._arguments.items()
            if name not in POOL_OPTIONS or name == "max_connections"
        }
        try:
            return client_class(startup_nodes=nodes, ssl=self.location.is_tls, **options)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f'{self._where}["OPTIONS"] can\'t be used for {client_class.__module__}.'
                f"{client_class.__qualname__}: {error}"
            ) from error

    def make_tracer(self) -> Tracer | None:
        """Import the function that TRACER names."""
        path = self._config.tracer
        if path is None:
            return None
        tracer: Any = import_object(f'{self._where}["TRACER"]', path)
        if not callable(tracer):
            raise ConfigurationError(
                f'{self._where}["TRACER"] is {path!r}, a {type(tracer).__name__}; a function'
                " (alias, command, count) that gives a context manager is expected."
            )
        return tracer  # type: ignore[no-any-return]  # of what it gives, nothing is known

    def verify(self) -> None:
        """Find mistakes in the pool classes and options now; connects and starts nothing."""
        for is_async, key, base in (
            (False, "POOL_CLASS", redis.ConnectionPool),
            (True, "ASYNC_POOL_CLASS", redis.asyncio.ConnectionPool),
        ):
            pool_class = self._pool_class(key, base)
            self._try_options(self._connection_options(is_async), pool_class)
        self.make_tracer()

    def revive(self) -> None:
        """Start the embedded server again if it is gone. Other servers are not ours to start."""
        if self.location.kind == "embedded":
            self._socket_options()

    def _take_reads_replicas(self) -> bool:
        """Take the option that is for neither the pools nor their connections."""
        given = self._options.pop(READ_FROM_REPLICAS, False)
        where = f'{self._where}["OPTIONS"]["{READ_FROM_REPLICAS}"]'
        if not isinstance(given, bool):
            raise ConfigurationError(f"{where} is {given!r}; True or False is expected.")
        if given and self.location.kind != "sentinel":
            raise ConfigurationError(
                f"{where} is True, but {self.address} isn't behind sentinels, which tell where the"
                " replicas are; leave it out, or give a redis+sentinel:// location."
            )
        return given

    def _refuse_cluster(self) -> None:
        if self.location.kind == "cluster":
            raise ConfigurationError(
                f"{self._where} is a cluster, which has a pool for each node and none for all of"
                " them; use a dict, or a client of redis-py's own (redis.RedisCluster)."
            )

    def _pool_class(self, key: str, base: type[Any]) -> type[Any]:
        path = self._config.pool_class if key == "POOL_CLASS" else self._config.async_pool_class
        pool_class = import_object(f'{self._where}["{key}"]', path)
        if not (isinstance(pool_class, type) and issubclass(pool_class, base)):
            raise ConfigurationError(
                f'{self._where}["{key}"] is {path!r}; a subclass of'
                f" {base.__module__}.{base.__qualname__} is expected, such as"
                f" those of redisdict.pools."
            )
        return pool_class

    def _connection_options(self, is_async: bool) -> dict[str, Any]:
        kind = self.location.kind
        if kind == "sentinel":
            default = sentinel.connection_class(self.location, is_async)
        else:
            if kind == "cluster":  # for the nodes
                kind = "tls" if self.location.is_tls else "tcp"
            default = CONNECTION_CLASSES[kind][is_async]
        return {"connection_class": default, **self._arguments}

    def _make(self, pool_class: type[Any], is_async: bool) -> Any:
        options = self._connection_options(is_async)
        if self.location.kind == "embedded":
            options |= self._socket_options()
        self._try_options(options, pool_class)
        try:
            return pool_class(**options)
        except Exception as error:
            raise self._refused(error, pool_class, options) from error

    def _socket_options(self) -> dict[str, Any]:
        # Only an alias that uses the embedded server pays for its import.
        from redisdict.servers.embedded import ensure_server

        assert self.location.path is not None  # an embedded location has one
        return {"path": str(ensure_server(self.location.path))}

    def _try_options(self, options: Options, pool_class: type[Any]) -> None:
        """Make one connection that never connects, to find a wrong option now and not in use."""
        arguments = {name: value for name, value in options.items() if name not in POOL_OPTIONS}
        if self.location.kind == "sentinel":
            arguments["connection_pool"] = None
        try:
            options["connection_class"](**arguments)
        except Exception as error:
            raise self._refused(error, pool_class, options) from error

    def _refused(
        self, error: Exception, pool_class: type[Any], options: Options
    ) -> ConfigurationError:
        classes = (pool_class, options["connection_class"])
        return ConfigurationError(explain(error, self._where, self._config.options, classes))
