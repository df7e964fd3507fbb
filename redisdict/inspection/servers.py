"""Describe the server behind an alias and cached models, by a few commands of constant cost."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
from django.core.checks import ERROR, CheckMessage
from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from redisdict import conf
from redisdict.checks import check_servers_at_deployment, check_settings
from redisdict.connections.backend import Backend
from redisdict.connections.registry import get_backend
from redisdict.exceptions import RedisDictError
from redisdict.templatetags.redisdict_figures import NOTHING
from redisdict.wire.requests import Operation
from redisdict.wire.server_info import (
    PERSISTENCE_SETTINGS,
    TITLES,
    ask_info,
    ask_settings,
    count_replicas,
    eviction,
    family_and_version,
    persistence,
    takes_writes,
)

if TYPE_CHECKING:
    from redisdict.modelcache.overview import TableOverview

#: The errors that a request to a server may raise; their texts contain no password.
SERVER_ERRORS = (RedisDictError, redis.RedisError, OSError)

TOPOLOGIES: Mapping[str, str | Promise] = {
    "tcp": gettext_lazy("one server"),
    "tls": gettext_lazy("one server, over TLS"),
    "unix": gettext_lazy("one server, on a unix socket"),
    "sentinel": gettext_lazy("behind Sentinel"),
    "cluster": gettext_lazy("Cluster"),
    "embedded": gettext_lazy("embedded in the project"),
}


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """An alias and its server, or why nothing is known of it."""

    alias: str
    address: str = NOTHING
    topology: str = NOTHING
    name: str = NOTHING
    role: str = NOTHING
    memory: str = NOTHING
    eviction: str = NOTHING
    persistence: str = NOTHING
    key_count: int | None = None
    problem: str = ""


def all_servers() -> list[ServerFacts]:
    """Describe the server of every configured alias.

    Raises:
        ConfigurationError: REDISDICT is no dict.
    """
    return [server_facts(alias) for alias in conf.aliases()]


def warnings() -> list[CheckMessage]:
    """List the warnings of the system checks; their errors are facts already."""
    messages = [*check_settings(None), *check_servers_at_deployment(None)]
    return [message for message in messages if message.level < ERROR]


def server_facts(alias: str) -> ServerFacts:
    """Describe the server of one alias. An error is a fact too."""
    try:
        return facts_of_backend(get_backend(alias))
    except SERVER_ERRORS as error:
        return ServerFacts(alias=alias, problem=str(error))


def facts_of_backend(backend: Backend) -> ServerFacts:
    """Ask one server: INFO, CONFIG GET of a few settings, DBSIZE. An error is a fact too."""
    alias, address = backend.config.alias, backend.address
    topology = str(TOPOLOGIES[backend.factory.location.kind])
    try:
        info, settings, key_count = backend.driver.run(_ask())
    except SERVER_ERRORS as error:
        return ServerFacts(alias=alias, address=address, topology=topology, problem=str(error))
    family, version = family_and_version(info)
    return ServerFacts(
        alias=alias,
        address=address,
        topology=topology,
        name=f"{TITLES[family]} {version}",
        role=_role(info),
        memory=_memory(info),
        eviction=eviction(info) or NOTHING,
        persistence=persistence(info, settings),
        key_count=key_count,
    )


def _ask() -> Operation[tuple[dict[str, str], dict[str, str], int]]:
    info = yield from ask_info()
    settings = yield from ask_settings(*PERSISTENCE_SETTINGS)
    key_count = yield (b"DBSIZE",)
    return info, settings, key_count


def _role(info: Mapping[str, str]) -> str:
    if not takes_writes(info):
        return _("replica")
    return _("primary with %(count)s replicas") % {"count": count_replicas(info)}


def _memory(info: Mapping[str, str]) -> str:
    used = filesizeformat(int(info.get("used_memory", 0)))
    limit = int(info.get("maxmemory", 0))
    if not limit:
        return _("%(used)s, no limit") % {"used": used}
    return _("%(used)s of %(limit)s") % {"used": used, "limit": filesizeformat(limit)}


def model_caches() -> list[TableOverview]:
    """Describe the tables of all models with a `ModelDict`; a project without any pays nothing."""
    if "redisdict.modelcache.cached_models" not in sys.modules:
        return []
    from redisdict.modelcache.overview import overview

    return list(overview())
