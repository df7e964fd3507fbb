"""Find the services that can be measured, bring one up, and identify the server that answers.

Each service is an address that the user gave, or a server started for the run. A service that is
neither is listed too, with the reason and what to do about it.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from redisdict.bench.errors import UsageError
from redisdict.bench.settings import SERVICES, address_of, configured_services
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from redisdict.connections.locations import Location, parse_location
from redisdict.exceptions import BackendUnavailable, ConfigurationError
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import (
    Program,
    ProgramMissing,
    find_program,
    find_sentinel_program,
)
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from redisdict.wire.server_info import (
    PERSISTENCE_SETTINGS,
    TITLES,
    Family,
    family_and_version,
    parse_settings,
    persistence,
)


@dataclass(frozen=True, kw_only=True)
class ServerIdentity:
    """Who a server says it is. Two addresses with one `run_id` are one server.

    `process_id` is as the server sees it: in a container it names another process than here.
    `persistence` is as `server_info.persistence()` has it.
    """

    family: Family
    version: str
    run_id: str
    executable: str
    process_id: int | None
    persistence: str

    @property
    def name(self) -> str:
        return f"{TITLES[self.family]} {self.version}"


def identify(client: redis.Redis) -> ServerIdentity:
    """Ask a server who it is: INFO and CONFIG GET.

    Raises redis-py's errors when it can't be reached or refuses INFO.
    """
    info: Any = client.info()
    family, version = family_and_version(info)
    return ServerIdentity(
        family=family,
        version=version,
        # Dragonfly has no run_id; what its replicas would know it by is as unique.
        run_id=str(info.get("run_id") or info.get("master_replid", "")),
        executable=str(info.get("executable", "")),
        process_id=info.get("process_id"),
        persistence=persistence(info, read_settings(client, PERSISTENCE_SETTINGS)),
    )


def read_settings(client: redis.Redis, names: Iterable[str]) -> dict[str, str]:
    """Ask CONFIG GET of each; those that the server has, none where the user may not ask."""
    settings: dict[str, str] = {}
    with suppress(redis.ResponseError):  # a hosted server, or a user without the right to ask
        for name in names:
            reply: Any = client.execute_command("CONFIG", "GET", name)
            settings |= parse_settings(reply)
    return settings


@dataclass(frozen=True, kw_only=True)
class Service:
    """Something to measure, or the reason why it can't be.

    `source` says in words where it comes from, `address` where it is (never with a password),
    empty for a server that is started only when the run needs it. `family` is what an address
    that was given for it has to be; None is any. `placement` is that under which it is measured,
    once that has been chosen.
    """

    key: str
    title: str
    source: str = "not available"
    address: str = ""
    reason: str = ""
    family: Family | None = None
    location: str | None = field(default=None, repr=False)
    program: Program | None = field(default=None, repr=False)
    placement: str = ""

    @property
    def is_available(self) -> bool:
        return not self.reason

    @property
    def is_cluster(self) -> bool:
        """Whether redis-py's client has a pool of redis-py's own class for each node."""
        return self.key == "cluster" or "+cluster://" in (self.location or "")

    @property
    def has_own_pool(self) -> bool:
        """Whether the report shows it with one pool, its own ("Default")."""
        return self.key == "sentinel" or self.is_cluster


#: The family that a service requires of its server, where it matters.
FAMILIES: Mapping[str, Family] = {
    "redis": "redis",
    "keydb": "keydb",
    "dragonfly": "dragonfly",
    "valkey": "valkey",
}

#: All services of the report, in its order, whether they are available or not.
KNOWN = tuple(
    Service(key=key, title=title, family=FAMILIES.get(key)) for key, title in SERVICES.items()
)


@dataclass(frozen=True, kw_only=True)
class RunningService:
    """A service that answers. `location` may hold a password, so it stays out of the repr.

    `pids` are the processes started for it, first the `primary_count` that carry out commands; none
    for an address that was given.
    """

    service: Service
    location: str = field(repr=False)
    client: redis.Redis = field(repr=False)
    identity: ServerIdentity
    pids: tuple[int, ...] = ()
    primary_count: int = 1

    @property
    def server_pid(self) -> int | None:
        return self.pids[0] if self.pids else None


def discover(
    urls: Sequence[str] = (),
    *,
    configured: Mapping[str, str] | None = None,
    allow_remote: bool = False,
) -> list[Service]:
    """Find every service, in the order of the report, then those that only `urls` name.

    Args:
        urls: what `--url` was given, "Title=redis://…"; a title (or key) of the report's services
            says where that one is, any other adds a service.
        configured: instead of `configured_services()`.
        allow_remote: whether servers on other machines may be measured.

    Raises:
        UsageError: one of `urls` can't be used. (A configured address that can't be used makes
            its service unavailable.)
        ConfigurationError: the setting has unknown names.

    Nothing is started or connected; programs are asked for their version.
    """
    if configured is None:
        configured = configured_services()
    given = [_from_url(text, allow_remote) for text in urls]
    by_key = {service.key: service for service in given}
    if len(by_key) < len(given):
        raise UsageError("--url names one service twice; give each a title of its own.")
    known = [
        by_key.get(kind.key)
        or _from_settings(kind, configured.get(kind.key), allow_remote)
        or _from_program(kind)
        for kind in KNOWN
    ]
    return [*known, *(service for service in given if service not in known)]


@contextmanager
def running(service: Service) -> Iterator[RunningService]:
    """Bring the service up, if it isn't, and take down what was started.

    Started servers keep nothing on disk (`--save "" --appendonly no`).

    Raises `BackendUnavailable` when it can't be reached or doesn't answer, `ServerStartError` when
    it doesn't start, and `UsageError` when it is another kind of server than its name says.
    """
    if not service.is_available:
        raise BackendUnavailable(f"{service.title} is not available: {service.reason}")
    with ExitStack() as stack:
        pids: tuple[int, ...] = ()
        location = service.location
        if location is None:
            location, pids = _start(service, stack)
        backend = Backend(parse_alias(f"redisbench {service.title}", {"LOCATION": location}))
        stack.callback(backend.close)
        client = backend.client()
        try:
            identity = identify(client)
        except (redis.RedisError, OSError) as error:
            where = service.address or "its own address"
            raise BackendUnavailable(
                f"{service.title} at {where} can't be measured: {error} "
                "Check the address and the password, and that the server runs."
            ) from error
        if service.family not in (None, identity.family):
            raise UsageError(
                f"{service.title}: the server at {service.address or location} is "
                f"{identity.name}. Name it {TITLES[identity.family]}, or give it a title of its "
                'own with --url "TITLE=…".'
            )
        if pids:
            _set_alike(client)
        yield RunningService(
            service=service,
            location=location,
            client=client,
            identity=identity,
            pids=pids,
            primary_count=len(pids) if service.is_cluster else 1,
        )


def _from_url(text: str, allow_remote: bool) -> Service:
    title, separator, url = text.partition("=")
    if not separator or "://" in title or not title.strip():
        raise UsageError(f'--url {_without_login(text)}: "TITLE=redis://HOST:PORT/0" is expected.')
    title = title.strip()
    try:
        location = parse_location(url, f"--url {title!r}")
    except ConfigurationError as error:
        raise UsageError(str(error)) from error
    if not allow_remote and _is_remote(location):
        raise UsageError(
            f"--url {title!r} is {location.address}, on another machine. Benchmarks load a server "
            "heavily; if that is all right there, add --allow-remote."
        )
    kind = next((kind for kind in KNOWN if title.lower() in (kind.key, kind.title.lower())), None)
    if kind is None:
        key = "-".join(title.lower().split())
        kind = Service(key=key, title=title)
    return replace(kind, source="--url", address=location.address, location=url)


def _from_settings(kind: Service, configured: str | None, allow_remote: bool) -> Service | None:
    if configured is None:
        return None
    if "://" in configured:
        source = f'settings REDISDICT_BENCH["SERVICES"]["{kind.key}"]'
    else:
        source = f"settings alias {configured}"
    try:
        url = address_of(kind.key, configured)
    except ConfigurationError as error:
        return replace(kind, source=source, reason=str(error))
    location = parse_location(url)
    if not allow_remote and _is_remote(location):
        reason = f"{location.address} is on another machine; to measure it, add --allow-remote."
        return replace(kind, source=source, address=location.address, reason=reason)
    return replace(kind, source=source, address=location.address, location=url)


def _from_program(kind: Service) -> Service:
    try:
        program = find_program(kind.family) if kind.family else find_sentinel_program()
    except ProgramMissing as error:
        return replace(kind, reason=str(error))
    source = f"started for this run from {program}, persistence off"
    return replace(kind, source=source, program=program)


def _start(service: Service, stack: ExitStack) -> tuple[str, tuple[int, ...]]:
    assert service.program is not None
    topologies = {"sentinel": SentinelTopology, "cluster": ClusterTopology}
    if service.key in topologies:
        topology = stack.enter_context(topologies[service.key](service.program))
        return topology.location, tuple(member.pid for member in topology.members)
    server = stack.enter_context(ServerProcess(service.program))
    return server.url, (server.pid,)


#: Settings whose defaults differ between servers, with the value in servers that a run starts.
ALIKE = {"lazyfree-lazy-user-del": "no"}


def _set_alike(client: redis.Redis) -> None:
    """Give a server the settings that all servers of a run have (CONFIG SET)."""
    for name, value in ALIKE.items():
        with suppress(redis.ResponseError):  # Dragonfly has no such setting
            client.config_set(name, value)


def _is_remote(location: Location) -> bool:
    hosts = [host for host, _ in location.nodes]
    if location.kind in ("tcp", "tls"):
        hosts.append(str(location.options["host"]))
    return not all(map(_is_loopback, hosts))


def _is_loopback(host: str) -> bool:
    """Return whether the name, or every address that it stands for, is this machine's loopback."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address.split("%")[0]).is_loopback for address in addresses)


def _without_login(text: str) -> str:
    """Remove the parts that may hold a password: everything before the host, and the query."""
    scheme, separator, rest = text.partition("://")
    return f"{scheme}{separator}{rest.partition('?')[0].rpartition('@')[2]}"
