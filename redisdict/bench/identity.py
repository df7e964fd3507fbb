"""Which server answers at an address: what it calls itself, and whether it is one already known."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from redisdict.wire.server_info import (
    PERSISTENCE_SETTINGS,
    TITLES,
    Family,
    family_and_version,
    parse_settings,
    persistence,
)

__all__ = ["ServerIdentity", "identify", "read_settings"]


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
    """CONFIG GET of each of these, those that the server has; empty where the user may not ask."""
    settings: dict[str, str] = {}
    with suppress(redis.ResponseError):  # a hosted server, or a user without the right to ask
        for name in names:
            reply: Any = client.execute_command("CONFIG", "GET", name)
            settings |= parse_settings(reply)
    return settings
