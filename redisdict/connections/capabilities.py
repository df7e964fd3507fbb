"""What the server of a backend can do: believed until the server itself denies it.

Version numbers don't tell: KeyDB calls itself Redis 6.3, Dragonfly 7.4 and Valkey 7.2.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from redis.exceptions import ResponseError

from redisdict.connections.requests import Operation

__all__ = ["Capabilities", "server_name"]


class Capabilities:
    """One flag for each thing that not every server has and that is worth a try."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Try everything again: another server may have taken its place."""
        #: HSCAN has NOVALUES (Redis 7.4, Valkey 8, Dragonfly).
        self.has_scan_without_values = True
        #: There is HGETDEL (Redis 8, Valkey 9).
        self.has_hash_getdel = True
        #: There is WAITAOF, and an append-only file to wait for: not believed but asked, since a
        #: write must not be made before that is known.
        self.has_aof = False


def server_name() -> Operation[str]:
    """What the server calls itself, for an error: "Redis 7.0.15". INFO.

    It is "the server" where the user may not ask.
    """
    try:
        reply = yield (b"INFO", b"server")
    except ResponseError:
        return "the server"
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
    info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    # What they all say in `redis_version` is for clients that know Redis alone.
    if "dragonfly_version" in info:
        return f"Dragonfly {info['dragonfly_version'].removeprefix('df-v')}"
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    is_keydb = "keydb" in PurePosixPath(info.get("executable", "")).name
    return f"{'KeyDB' if is_keydb else 'Redis'} {info.get('redis_version', '')}".rstrip()
