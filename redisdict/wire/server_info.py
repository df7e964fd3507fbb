"""Translate what servers report, INFO's fields and a few settings, into one set of terms.

Servers use different terms. KeyDB's active replicas take writes and list their replicas in INFO
alone; Dragonfly evicts by a "cache mode", and takes snapshots by settings that no other has. The
checks, the benchmarks, the admin and durable writes use this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from redis.exceptions import ResponseError

from redisdict.wire.requests import Operation

Family = Literal["redis", "valkey", "keydb", "dragonfly"]

TITLES: dict[Family, str] = {
    "redis": "Redis",
    "valkey": "Valkey",
    "keydb": "KeyDB",
    "dragonfly": "Dragonfly",
}

#: What persistence is called where the server doesn't tell.
UNKNOWN = "unknown"

#: What it is called where a crash loses everything: Dragonfly with a `dbfilename` alone.
AT_SHUTDOWN = "a snapshot at shutdown"

#: What Dragonfly's INFO calls the policy of its cache mode.
CACHE_MODE = "eviction"

#: Dragonfly has the last two; the others have a `dbfilename`, too, but only `save` has it written.
PERSISTENCE_SETTINGS = ("save", "snapshot_cron", "dbfilename")

#: What INFO calls a replica that is sent every write ("stable_sync": Dragonfly, by a flag).
CONNECTED = ("state=online", "state=stable_sync")


def parse_info(reply: bytes | str) -> dict[str, str]:
    """Parse the fields of a reply to INFO."""
    text = reply if isinstance(reply, str) else reply.decode("utf-8", "replace")
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def ask_info(*section: bytes) -> Operation[dict[str, str]]:
    """Ask a server for INFO, or a section of it.

    Raises:
        redis.exceptions.ResponseError: the user may not ask.
    """
    return parse_info((yield (b"INFO", *section)))


def ask_settings(*names: str) -> Operation[dict[str, str]]:
    """Ask for settings by CONFIG GET, one a round trip (Redis 6.2 takes one a call).

    Returns:
        Those that the server has; empty where the user may not ask.
    """
    settings: dict[str, str] = {}
    for name in names:
        try:
            settings |= parse_settings((yield (b"CONFIG", b"GET", name)))
        except ResponseError:
            return {}
    return settings


def parse_settings(reply: Mapping[bytes, bytes] | Sequence[bytes]) -> dict[str, str]:
    """Parse the settings in a reply to CONFIG GET: a list in RESP2, a mapping in RESP3."""
    flat = (
        [word for pair in reply.items() for word in pair] if isinstance(reply, Mapping) else reply
    )
    words = [word.decode("utf-8", "replace") for word in flat]
    return dict(zip(words[::2], words[1::2], strict=True))


def family_and_version(info: Mapping[str, object]) -> tuple[Family, str]:
    """Return the program that answers, "redis", "valkey", "keydb" or "dragonfly", and its version.

    Args:
        info: the reply to INFO server, or to more. Other programs give `redis_version` for old
            clients only, so it counts last.
    """
    if "dragonfly_version" in info:
        return "dragonfly", str(info["dragonfly_version"]).removeprefix("df-v")
    if "valkey_version" in info:
        return "valkey", str(info["valkey_version"])
    # KeyDB has no version field of its own, but a section of its own with this line.
    is_keydb = "keydb" in PurePosixPath(str(info.get("executable", ""))).name
    family: Family = "keydb" if is_keydb or "mvcc_depth" in info else "redis"
    return family, str(info.get("redis_version", ""))


def persistence(info: Mapping[str, object], settings: Mapping[str, object]) -> str:
    """Describe the server's persistence.

    Args:
        info: INFO persistence and memory, at least.
        settings: those of `PERSISTENCE_SETTINGS` that it has.

    Returns:
        "off", "append-only file", "snapshots", `AT_SHUTDOWN`, "flash storage", several of them
        joined by "and", or `UNKNOWN`.
    """
    kinds = []
    if str(info.get("aof_enabled", 0)) == "1":
        kinds.append("append-only file")
    if str(info.get("storage_provider", "none")) not in ("none", ""):  # KeyDB
        kinds.append("flash storage")
    if settings.get("save"):
        kinds.append("snapshots")
    if "snapshot_cron" in settings and settings.get("dbfilename"):
        kinds.append("snapshots" if settings["snapshot_cron"] else AT_SHUTDOWN)
    is_told = "save" in settings or {"snapshot_cron", "dbfilename"} <= settings.keys()
    return " and ".join(kinds) or ("off" if is_told else UNKNOWN)


def eviction(info: Mapping[str, object]) -> str:
    """Return the policy by which keys are deleted when memory is short; empty if INFO has none.

    Dragonfly has two: "noeviction" and `CACHE_MODE`.
    """
    return str(info.get("maxmemory_policy", ""))


def evicts_any_key(info: Mapping[str, object]) -> bool:
    """Whether keys without a time to live may be deleted, too, when memory is short."""
    policy = eviction(info)
    return policy not in ("", "noeviction") and not policy.startswith("volatile-")


def takes_writes(info: Mapping[str, object]) -> bool:
    """Whether it is a primary, or an active replica of KeyDB, by INFO replication."""
    return info.get("role") in ("master", "active-replica")


def count_replicas(info: Mapping[str, str]) -> int:
    """Count the replicas that are sent every write, by INFO replication.

    ROLE has a list of them, too, but not on an active replica of KeyDB. A hosted Dragonfly keeps
    all but their number to itself.
    """
    replicas = _replicas(info)
    if not replicas:
        return int(info.get("connected_slaves", 0))
    return sum(not {*CONNECTED}.isdisjoint(replica.split(",")) for replica in replicas)


def tells_offsets(info: Mapping[str, str]) -> bool:
    """Whether INFO replication has the offset of each replica: not on Dragonfly."""
    return any(",offset=" in replica for replica in _replicas(info))


def _replicas(info: Mapping[str, str]) -> list[str]:
    """List the replicas in INFO replication: "slave0:ip=127.0.0.1,port=7001,state=…"."""
    return [
        value for name, value in info.items() if name.startswith("slave") and name[5:].isdigit()
    ]


def server_name() -> Operation[str]:
    """Ask for the server's name and version, for an error: "Redis 7.0.15". INFO server.

    It is "the server" where the user may not ask.
    """
    try:
        info = yield from ask_info(b"server")
    except ResponseError:
        return "the server"
    family, version = family_and_version(info)
    return f"{TITLES[family]} {version}".rstrip()
