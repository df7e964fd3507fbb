"""Which server answers at an address: what it calls itself, and whether it is one already known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from redisdict.servers.programs import TITLES, Family

__all__ = ["ServerIdentity", "identify"]


@dataclass(frozen=True, kw_only=True)
class ServerIdentity:
    """Who a server says it is. Two addresses with one `run_id` are one server.

    `process_id` is as the server sees it: in a container it names another process than here.
    `persistence` is "off", "append-only file", "snapshots", both, or "unknown".
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
    family, version = _family_and_version(info)
    return ServerIdentity(
        family=family,
        version=version,
        # Dragonfly has no run_id; what its replicas would know it by is as unique.
        run_id=str(info.get("run_id") or info.get("master_replid", "")),
        executable=str(info.get("executable", "")),
        process_id=info.get("process_id"),
        persistence=_persistence(client, info),
    )


def _family_and_version(info: Mapping[str, Any]) -> tuple[Family, str]:
    """`redis_version` is what the others say to old clients, so it counts last."""
    if "dragonfly_version" in info:
        return "dragonfly", str(info["dragonfly_version"]).removeprefix("df-v")
    if "valkey_version" in info:
        return "valkey", str(info["valkey_version"])
    # KeyDB has no version field of its own, but a section of its own with this line.
    if "mvcc_depth" in info or "keydb" in Path(str(info.get("executable", ""))).name:
        return "keydb", str(info["redis_version"])
    return "redis", str(info["redis_version"])


def _persistence(client: redis.Redis, info: Mapping[str, Any]) -> str:
    try:
        configured: Any = client.config_get("save")
    except redis.ResponseError:  # a hosted server, or a user without the right to ask
        configured = {}
    if "aof_enabled" not in info or "save" not in configured:
        return "unknown"
    kinds = []
    if info["aof_enabled"]:
        kinds.append("append-only file")
    if configured["save"]:
        kinds.append("snapshots")
    return " and ".join(kinds) or "off"
