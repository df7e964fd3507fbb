"""Check the settings always, and the servers on request (Django's system checks).

`manage.py check` looks at the settings alone. `manage.py check --tag redisdict_server`, or
`--deploy`, also asks every configured server whether it could lose the dicts' data.

This module is imported at every start of a project, so it imports what it needs when it works.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning

from redisdict import conf
from redisdict.described import quoted, telling_of
from redisdict.exceptions import BackendUnavailable, ConfigurationError

if TYPE_CHECKING:
    from redisdict.connections.backend import Backend
    from redisdict.wire.requests import Operation

SERVER_TAG = "redisdict_server"


def register_all() -> None:
    register(check_settings, "redisdict")
    register(check_caches, "redisdict")
    register(check_metrics, "redisdict")
    register(check_model_dicts, "redisdict")
    register(check_servers_for_the_tag, SERVER_TAG)
    register(check_servers_at_deployment, SERVER_TAG, deploy=True)


def check_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Read REDISDICT as the first use would, without connecting."""
    try:
        aliases = conf.aliases()
    except ConfigurationError as error:
        return [Error(str(error), id="redisdict.E001")]
    return [message for alias in aliases for message in check_alias(alias)]


def check_caches(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Read the entries of CACHES that are this package's, if there are any."""
    caches = getattr(settings, "CACHES", None)
    if not isinstance(caches, Mapping):
        return []  # Django's to report
    try:
        with telling_of("CACHES"):
            # Django's own are the common case, which costs no import.
            entries = [entry for entry in caches.values() if isinstance(entry, dict)]
            backends = [str(entry.get("BACKEND")) for entry in entries]
    except ConfigurationError as error:
        return [Error(str(error), id="redisdict.E004")]
    if all(backend.startswith(("django.", "django_redis.")) for backend in backends):
        return []
    from redisdict.cache.checks import check_caches as check_all

    return list(check_all())


def check_metrics(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Read REDISDICT_METRICS, and see whether the packages are there that it needs."""
    from importlib.util import find_spec

    from redisdict.observing import PACKAGES, chosen_exporters

    try:
        chosen = chosen_exporters()
    except ConfigurationError as error:
        return [Error(str(error), id="redisdict.E006")]
    return [
        Error(
            f"REDISDICT_METRICS names {name!r}, and {PACKAGES[name]} isn't installed.",
            hint=f'pip install "django-redisdict[{name}]", or leave {name!r} out.',
            id="redisdict.E006",
        )
        for name in chosen
        if find_spec(PACKAGES[name]) is None
    ]


def check_model_dicts(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Look at the models that have a `ModelDict`, if there are any."""
    if "redisdict.modelcache.model_dict" not in sys.modules:
        return []
    from redisdict.modelcache.overview import check_cached_models

    return check_cached_models(app_configs, **options)


def check_servers_for_the_tag(app_configs: Any, **_: Any) -> list[CheckMessage]:
    return check_servers() if _is_tag_asked_for(sys._getframe(1)) else []


def check_servers_at_deployment(app_configs: Any, **_: Any) -> list[CheckMessage]:
    # With the tag as well, the other one has done it.
    return [] if _is_tag_asked_for(sys._getframe(1)) else check_servers()


def check_servers() -> list[CheckMessage]:
    """Ask every configured server whether it can lose data."""
    try:
        aliases = conf.aliases()
    except ConfigurationError:
        return []  # check_settings reports it
    return [message for alias in aliases for message in _check_server(alias)]


def _is_tag_asked_for(caller: FrameType) -> bool:
    """Return whether Django's `run_checks(tags=...)` was given this tag.

    Django doesn't pass the tags to a check, and has no kind of check that runs only for a tag.
    """
    return SERVER_TAG in (caller.f_locals.get("tags") or ())


def check_alias(alias: str) -> Iterator[CheckMessage]:
    """Look for mistakes in one alias."""
    from redisdict.codec.codec import codec_of
    from redisdict.connections.factory import PoolFactory

    try:
        config = conf.get_alias(alias)
        factory = PoolFactory(config)
        factory.verify()
        if factory.location.kind == "embedded":
            from redisdict.servers.programs import find_embeddable_program

            find_embeddable_program()
        codec_of(config)
        if config.scope is not None:
            from redisdict.modelcache.options import scope_of_alias

            scope_of_alias(config)
    except ConfigurationError as error:
        yield Error(str(error), id="redisdict.E001")
        return
    where = f"REDISDICT[{quoted(alias)}]"
    if config.serializer == "pickle" and factory.location.kind not in ("unix", "embedded"):
        yield CheckWarning(
            f"{where} reads pickles from {factory.address}: anyone who can write to that server"
            " can run code in this project.",
            hint='Use "SERIALIZER": "msgpack", or a server on a unix socket.',
            id="redisdict.W001",
        )
    if not factory.socket_timeout_s:
        yield CheckWarning(
            f"{where} has no socket timeout: a server that hangs holds every caller for ever.",
            hint='Set "OPTIONS": {"socket_timeout": 5}, or leave it out: the default is 5 s.',
            id="redisdict.W002",
        )


def _check_server(alias: str) -> Iterator[CheckMessage]:
    """Look for dangers of the server of one alias."""
    from redisdict.connections.registry import get_backend

    try:
        backend = get_backend(alias)
        backend.factory.verify()
    except ConfigurationError:
        return  # check_settings reports it
    yield from check_backend(f"The server of REDISDICT[{quoted(alias)}]", backend)
    yield from check_shared_database(alias, backend)


def check_backend(name: str, backend: Backend) -> Iterator[CheckMessage]:
    """Look for dangers of one server, called by `name` and its address."""
    from redis import RedisError

    try:
        info, settings, has_hello = backend.driver.run(_ask())
        quorum = _quorum(backend)
    except (ConfigurationError, BackendUnavailable, RedisError) as error:
        yield Error(
            str(error),
            hint="Check the address, the credentials, and that the server runs.",
            id="redisdict.E002",
        )
        return
    where = f"{name} ({backend.address})"
    yield from _check_persistence(where, info, settings)
    yield from _check_eviction(where, info)
    if not has_hello:
        yield CheckWarning(
            f"{where} speaks RESP2 only, because it has no HELLO.",
            hint="Use Redis 6 or later, Valkey, KeyDB or Dragonfly.",
            id="redisdict.W005",
        )
    if quorum == 1:
        yield CheckWarning(
            f"{where} fails over when a single sentinel can't reach the primary (quorum 1): a"
            " network fault can leave two primaries, and the writes to one of them are lost.",
            hint="Run three sentinels or more, with a quorum of more than half of them.",
            id="redisdict.W006",
        )


def check_shared_database(alias: str, backend: Backend) -> Iterator[CheckMessage]:
    """Look for caches whose `clear()` deletes the dicts too. Asks no server."""
    from redisdict.inspection.shared_databases import caches_that_empty

    names = caches_that_empty(backend.factory.location)
    if names:
        caches = " and ".join(f"CACHES[{quoted(name)}]" for name in names)
        yield CheckWarning(
            f"REDISDICT[{quoted(alias)}] has its dicts in the database of {caches}"
            f" ({backend.address}): clear() of that cache empties the whole database, so it deletes"
            " every dict.",
            hint="Give one of them a database of its own, or the cache the BACKEND"
            ' "redisdict.cache.DictCache", whose clear() deletes its own keys only.',
            id="redisdict.W007",
        )


def _check_persistence(
    where: str, info: Mapping[str, str], settings: Mapping[str, str]
) -> Iterator[CheckMessage]:
    from redisdict.wire.server_info import AT_SHUTDOWN, persistence

    kept = persistence(info, settings)
    hint = "Start it with --appendonly yes, or with points to save at."
    if "snapshot_cron" in settings:  # Dragonfly, which has no append-only file
        hint = 'Start it with --dbfilename=dump and --snapshot_cron="*/5 * * * *", say.'
    dangers = {
        "off": "writes nothing to disk: a restart loses every dict.",
        AT_SHUTDOWN: "writes to disk only when it is shut down: a crash loses everything stored"
        " since the last start.",
    }
    if kept in dangers:
        yield CheckWarning(f"{where} {dangers[kept]}", hint=hint, id="redisdict.W003")


def _check_eviction(where: str, info: Mapping[str, str]) -> Iterator[CheckMessage]:
    from redisdict.wire.server_info import CACHE_MODE, eviction, evicts_any_key

    if not evicts_any_key(info):
        return
    policy = eviction(info)
    if policy == CACHE_MODE:
        text, hint = "is in cache mode", "Start it without --cache_mode."
    else:
        text = f"has maxmemory-policy {policy}"
        hint = "Set maxmemory-policy to noeviction, or to a volatile-* policy."
    yield CheckWarning(
        f"{where} {text}: when memory is short it deletes any dict.", hint=hint, id="redisdict.W004"
    )


def _ask() -> Operation[tuple[dict[str, str], dict[str, str], bool]]:
    """Ask for INFO, the settings of persistence if CONFIG is allowed, and for a HELLO.

    HELLO itself isn't called: without a version it takes a connection to Dragonfly back to RESP2.
    """
    from redis.exceptions import ResponseError

    from redisdict.wire.server_info import PERSISTENCE_SETTINGS, ask_info, ask_settings

    info = yield from ask_info()
    settings = yield from ask_settings(*PERSISTENCE_SETTINGS)
    try:
        known = yield (b"COMMAND", b"INFO", b"HELLO")
    except ResponseError:  # the user may not ask
        return info, settings, True
    # Upstash lists no commands at all.
    return info, settings, known == [] or bool(known and known[0])


def _quorum(backend: Backend) -> int | None:
    from redisdict.connections.sentinel import SentinelRoute

    route = backend.pool().connection_kwargs.get("connection_pool")
    return route.quorum() if isinstance(route, SentinelRoute) else None
