"""Make pools from a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.cluster import ClusterNode

from redisdict.conf import AliasConfig, Options, import_object
from redisdict.connections import borrowed, sentinel
from redisdict.connections.announced import AddressBook, has_names
from redisdict.connections.cluster import Cluster
from redisdict.connections.groups import N
from redisdict.connections.locations import parse_location
from redisdict.connections.middleware import Tracer
from redisdict.connections.options import (
    ADDRESS_REMAP,
    AVAILABILITY_ZONE,
    DYNAMIC_STARTUP_NODES,
    POOL_OPTIONS,
    READ_FROM_REPLICAS,
    check_options,
    explain,
)
from redisdict.connections.retry import Server
from redisdict.connections.sentinel_replicas import SentinelReplicas
from redisdict.connections.zones import Zones, is_zone
from redisdict.described import described
from redisdict.exceptions import ConfigurationError
from redisdict.pools.credentials import shared_by_all

# Connection classes by kind of location: for threads, for tasks.
CONNECTION_CLASSES: Mapping[str, tuple[type[Any], type[Any]]] = {
    "tcp": (redis.Connection, redis.asyncio.Connection),
    "tls": (redis.SSLConnection, redis.asyncio.SSLConnection),
    "unix": (redis.UnixDomainSocketConnection, redis.asyncio.UnixDomainSocketConnection),
    "embedded": (redis.UnixDomainSocketConnection, redis.asyncio.UnixDomainSocketConnection),
}

#: redis-py's own cache on the client's side.
CLIENT_CACHE = ("cache", "cache_config")


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
        #: Where servers are reached that announce themselves.
        self.book = self._take_book()
        self.remembers_nodes = self._take_remembers_nodes()
        self._replicas = self._take_replicas()
        self._zones = self._take_zones()
        self._refuse_client_cache()
        if "credential_provider" in self._options:
            provider = shared_by_all(self._options["credential_provider"])
            self._options["credential_provider"] = provider
        # As in redis-py, what the location says comes before the options.
        self._arguments = {**self._options, **self.location.options}

    @property
    def address(self) -> str:
        """Where the server is, without credentials."""
        return self.location.address

    @property
    def reads_replicas(self) -> bool:
        """Whether dicts read from replicas."""
        return bool(self._replicas)

    def config_of_replicas(self) -> AliasConfig:
        """Return the configuration of the replicas; if none answers, the primary is used."""
        config = dataclasses.replace(self._config, retry_for=0.0)
        if not isinstance(self._replicas, str):
            return config
        options = {
            name: value for name, value in config.options.items() if name != READ_FROM_REPLICAS
        }
        return dataclasses.replace(config, location=self._replicas, options=options)

    @property
    def socket_timeout_s(self) -> float | None:
        """The seconds that a connection waits for a reply, by default 5; None for ever."""
        seconds: float | None = self._arguments.get("socket_timeout", 5)
        return seconds

    @property
    def has_credentials(self) -> bool:
        """Whether connections authenticate."""
        names = ("password", "credential_provider", "ssl_certfile")
        return any(self._arguments.get(name) for name in names)

    @property
    def has_credential_provider(self) -> bool:
        """Whether each new connection asks a provider for its credentials."""
        return self._arguments.get("credential_provider") is not None

    def make_group(
        self, server: Server, make_node: Callable[[AliasConfig], N]
    ) -> Cluster[N] | SentinelReplicas[N] | None:
        """Make the router that chooses among several servers; None where connections do.

        Args:
            server: the group as a whole.
            make_node: makes the endpoint of one server from its configuration.
        """
        zones = self._zones if self._to_replicas else None
        if self.location.kind == "cluster":
            return Cluster(
                server,
                self.location,
                make_node,
                self.book,
                remembers_nodes=self.remembers_nodes,
                to_replicas=self._to_replicas,
                zones=zones,
            )
        if zones is not None:
            return SentinelReplicas(server, self.location, make_node, self.book, zones)
        return None

    def make_pool(self) -> redis.ConnectionPool:
        self._refuse_cluster()
        if self._config.cache is not None:
            return borrowed.pool(self._config.cache, self._where)
        pool_class = self._pool_class("POOL_CLASS", redis.ConnectionPool)
        pool: redis.ConnectionPool = self._make(pool_class, is_async=False)
        if self.location.kind == "sentinel":
            pool.connection_kwargs["connection_pool"] = sentinel.SentinelRoute(
                pool, self.location, self._options, self.book, to_replicas=self._to_replicas
            )
        return pool

    def make_async_pool(self) -> redis.asyncio.ConnectionPool:
        """Make a pool; behind sentinels its connections have a route that is closed with it."""
        self._refuse_cluster()
        pool_class = self._pool_class("ASYNC_POOL_CLASS", redis.asyncio.ConnectionPool)
        pool: redis.asyncio.ConnectionPool = self._make(pool_class, is_async=True)
        if self.location.kind == "sentinel":
            pool.connection_kwargs["connection_pool"] = sentinel.AsyncSentinelRoute(
                pool, self.location, self._options, self.book, to_replicas=self._to_replicas
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
        options |= {
            ADDRESS_REMAP: self.book.reach,
            DYNAMIC_STARTUP_NODES: self.remembers_nodes,
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
                f'{self._where}["TRACER"] is {described(path)}, a {type(tracer).__name__}; a'
                " function (alias, command, count) that gives a context manager is expected."
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

    def _take_replicas(self) -> bool | str:
        """Take the option that says whether replicas are read, or at which address."""
        given = self._options.pop(READ_FROM_REPLICAS, False)
        where = f'{self._where}["OPTIONS"]["{READ_FROM_REPLICAS}"]'
        kind = self.location.kind
        if not isinstance(given, bool | str):
            raise ConfigurationError(
                f"{where} is {described(given)}; True, False or the location of a reader endpoint"
                " is expected."
            )
        if given is True and kind not in ("sentinel", "cluster"):
            raise ConfigurationError(
                f"{where} is True, but {self.address} is neither behind sentinels nor a Cluster,"
                " which tell where the replicas are; leave it out, give a redis+sentinel:// or"
                " redis+cluster:// location, or the location of a reader endpoint in place of True."
            )
        if isinstance(given, str):
            reader = parse_location(given, where)
            if {kind, reader.kind} - {"tcp", "tls"}:
                raise ConfigurationError(
                    f"{where} is the location of a reader endpoint, {reader.address}, which goes"
                    f" with a redis:// or rediss:// location; {self.address} needs True."
                )
        return given

    def _take_zones(self) -> Zones | None:
        """Take the option that names the availability zone of this process."""
        zone = self._options.pop(AVAILABILITY_ZONE, None)
        where = f'{self._where}["OPTIONS"]["{AVAILABILITY_ZONE}"]'
        if zone is None:
            return None
        if not (is_zone(zone) or callable(zone)):
            raise ConfigurationError(
                f"{where} is {described(zone)}; the name of a zone is expected, such as"
                ' "eu-west-1a", or a function that returns it.'
            )
        self._refuse_single(where)
        if not self._replicas:
            raise ConfigurationError(
                f"{where} says which replicas are preferred, but none are read; set"
                f' "{READ_FROM_REPLICAS}": True beside it, or leave it out.'
            )
        return Zones(zone, where)

    def _take_book(self) -> AddressBook:
        """Take the option that says where servers are reached that announce themselves."""
        remap = self._options.pop(ADDRESS_REMAP, None)
        where = f'{self._where}["OPTIONS"]["{ADDRESS_REMAP}"]'
        if isinstance(remap, str):
            remap = import_object(where, remap)
        if remap is not None and not callable(remap):
            raise ConfigurationError(
                f"{where} is {described(remap)}; a function from (host, port) to (host, port) is"
                " expected, or its dotted path."
            )
        if remap is not None:
            self._refuse_single(where)
        checks_names = self.location.is_tls and self._options.get("ssl_check_hostname", True)
        prefers_names = bool(checks_names) and has_names(self.location.nodes)
        return AddressBook(remap, prefers_names=prefers_names, where=where)

    def _take_remembers_nodes(self) -> bool:
        """Take the option that says who is asked where the slots of a Cluster are."""
        given = self._options.pop(DYNAMIC_STARTUP_NODES, None)
        where = f'{self._where}["OPTIONS"]["{DYNAMIC_STARTUP_NODES}"]'
        if given is None:
            return True
        if not isinstance(given, bool):
            raise ConfigurationError(f"{where} is {described(given)}; True or False is expected.")
        self._refuse_single(where, "cluster")
        return given

    def _refuse_single(self, where: str, *kinds: str) -> None:
        if self.location.kind not in (kinds or ("cluster", "sentinel")):
            raise ConfigurationError(
                f"{where} is for servers that announce one another's addresses, and {self.address}"
                " is used as it is; leave it out, or give a"
                f" {' or '.join(f'redis+{kind}://' for kind in kinds or ('cluster', 'sentinel'))}"
                " location."
            )

    def _refuse_client_cache(self) -> None:
        for name in CLIENT_CACHE:
            if name in self._options:
                raise ConfigurationError(
                    f'{self._where}["OPTIONS"]["{name}"] is redis-py\'s client-side cache,'
                    " which dicts don't use. Leave it out, and give the dict, ModelDict or cache,"
                    " for example, near=1.0: it answers reads from this process's memory"
                    " (docs/near.md)."
                )

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
                f'{self._where}["{key}"] is {described(path)}; a subclass of'
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
