"""List the properties of commands: one table for durability, replicas, Clusters and connections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from redis.crc import key_slot

from redisdict.wire.requests import Batch, Command, commands_of


class CommandInfo(NamedTuple):
    """The properties of a command.

    Attributes:
        is_read: it changes nothing, so there is no write to wait for after it.
        is_for_replicas: any server with the data may answer it. That excludes scans, since a cursor
            is valid only on the server that gave it, and commands about the server itself.
        key_at: the position of its first key; None when it has no key, so any node may be asked.
        needs_own_connection: it blocks, changes the connection's state for the commands that
            follow, or has more or less than one reply.
        is_about_own_writes: its reply depends on the writes sent before over the same connection.
    """

    is_read: bool = False
    is_for_replicas: bool = False
    key_at: int | None = 1
    needs_own_connection: bool = False
    is_about_own_writes: bool = False


READ: Final = CommandInfo(is_read=True, is_for_replicas=True)
OWN: Final = CommandInfo(needs_own_connection=True)
OWN_WITHOUT_KEY: Final = CommandInfo(needs_own_connection=True, key_at=None)

#: What is so of every command that isn't in the table: it may write, and has its key first.
OTHER: Final = CommandInfo()


def _row(names: str, info: CommandInfo) -> dict[bytes, CommandInfo]:
    return dict.fromkeys(names.encode().split(), info)


#: By name. On KeyDB KEYS, and SCAN with a COUNT of 100 or more, block, too, and what follows is
#: left lying there.
COMMANDS: Final[Mapping[bytes, CommandInfo]] = MappingProxyType(
    {
        # What dicts and caches read.
        **_row("EXISTS GET HEXISTS HGET HKEYS HLEN HMGET HRANDFIELD MGET PTTL TYPE", READ),
        **_row("HSCAN", READ._replace(is_for_replicas=False)),
        **_row("KEYS", OWN_WITHOUT_KEY._replace(is_read=True)),
        **_row("MEMORY", READ._replace(key_at=2)),
        **_row("SCAN", CommandInfo(is_read=True, key_at=3, needs_own_connection=True)),
        # What calls a script: its text or digest comes first, and the number of keys.
        **_row("EVAL EVALSHA", CommandInfo(key_at=3)),
        # What asks a server about itself. CLUSTER and CONFIG can change it as well.
        **_row("COMMAND DBSIZE INFO PING", CommandInfo(is_read=True, key_at=None)),
        **_row("CLUSTER CONFIG", CommandInfo(key_at=None)),
        **_row("WAIT WAITAOF", CommandInfo(key_at=None, is_about_own_writes=True)),
        # What blocks.
        **_row("BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN", OWN),
        **_row("XREAD XREADGROUP", OWN),
        # Transactions.
        **_row("DISCARD EXEC MULTI UNWATCH", OWN_WITHOUT_KEY),
        **_row("WATCH", OWN),
        # Pushes.
        **_row("MONITOR PSUBSCRIBE PSYNC PUNSUBSCRIBE SUBSCRIBE SYNC UNSUBSCRIBE", OWN_WITHOUT_KEY),
        **_row("SSUBSCRIBE SUNSUBSCRIBE", OWN),
        # What a connection is.
        **_row("ASKING AUTH CLIENT HELLO QUIT READONLY READWRITE REPLCONF RESET", OWN_WITHOUT_KEY),
        **_row("SELECT", OWN_WITHOUT_KEY),
        **_row("HIMPORT", OWN),
        # The end of a server, for now or for good.
        **_row("DEBUG FAILOVER SHUTDOWN", OWN_WITHOUT_KEY),
    }
)


@lru_cache(maxsize=1024)
def lookup(name: str | bytes) -> tuple[str, CommandInfo]:
    """Look a command up as a client gives it, maybe with the name of its subcommand."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    word = text.partition(" ")[0].upper()
    return word, COMMANDS.get(word.encode("latin-1", "replace"), OTHER)


def is_read(commands: Iterable[Command]) -> bool:
    """Whether all of the commands change nothing."""
    return all(_info(command).is_read for command in commands)


def is_replica_read(commands: Iterable[Command]) -> bool:
    """Whether all of the commands change nothing, and a replica may answer them."""
    return all(_info(command).is_for_replicas for command in commands)


def slot_of(request: Command | Batch) -> int | None:
    """Find the slot of a request's keys in a Cluster; None when it names no key.

    All keys of one dict lie in one slot, by their hash tag. A SCAN is for the items of one dict,
    whose tag stands in the pattern; so that node has all of them.
    """
    for command in commands_of(request):
        key_at = _info(command).key_at
        if key_at is None:
            continue
        key = command[key_at]
        key = key.encode() if isinstance(key, str) else cast(bytes, key)
        if command[0] == b"SCAN":
            key = re.sub(rb"\\(.)", rb"\1", key, flags=re.DOTALL)
        return key_slot(key)
    return None


def scans_all_nodes(request: Command | Batch) -> bool:
    """Whether it is a SCAN whose pattern has no hash tag, so that any node may have matches."""
    commands = commands_of(request)
    if len(commands) != 1 or commands[0][0] != b"SCAN":
        return False
    pattern = cast(bytes, commands[0][cast(int, COMMANDS[b"SCAN"].key_at)])
    return re.search(rb"\{.+\}", pattern, re.DOTALL) is None


def _info(command: Command) -> CommandInfo:
    return COMMANDS.get(cast(bytes, command[0]), OTHER)
