"""The keys of a dict on the server, such that no two dicts ever share one.

    PREFIX:h:{NAME}          the hash of a dict, or the fence in its place
    PREFIX:f:{NAME}          the hash behind the fence
    PREFIX:t:{NAME}          the deadlines of its items
    PREFIX:k:{NAME}:ITEM     one item of a dict in the keys layout
    PREFIX:l:{NAME}:ITEM     a lock or a lease
    PREFIX:m:{NAME}          the generation of a cached table of the database
    PREFIX:m:{NAME}:ROW      one row of it
    PREFIX:c:{NAME}          what is counted of it
    PREFIX:nh:{NAME}         how many shards a dict in the hash layout has, where it has any
    PREFIX:nk:{NAME}         the same of a dict in the keys layout

NAME and PREFIX are escaped so that neither holds a brace: the first `{` of a key begins the name
and the next `}` ends it, whatever ITEM holds. The braces also put all keys of one dict into one
slot of a cluster.

The NAME of one of several shards ends in `%:NUMBER:COUNT`, which no escape of a name gives. Shards
are spread over the slots, and those of another count are other keys.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Names", "encode_text", "escape_glob"]


@dataclass(frozen=True, slots=True)
class Names:
    """The keys of one dict.

    Args:
        prefix: the alias's KEY_PREFIX, any text.
        path: the dict's name, and below it those of a child dict; any text.
        shard: of a dict in shards, the number of one, from 0, and how many there are.
    """

    prefix: str
    path: tuple[str, ...]
    shard: tuple[int, int] | None = None

    @property
    def hash(self) -> bytes:
        return self._key("h")

    @property
    def fenced(self) -> bytes:
        return self._key("f")

    @property
    def deadlines(self) -> bytes:
        return self._key("t")

    @property
    def item_prefix(self) -> bytes:
        return self._key("k") + b":"

    @property
    def lock_prefix(self) -> bytes:
        return self._key("l") + b":"

    @property
    def cached_table(self) -> bytes:
        return self._key("m")

    @property
    def cached_row_prefix(self) -> bytes:
        return self._key("m") + b":"

    @property
    def counts(self) -> bytes:
        return self._key("c")

    @property
    def shard_count_of_hash(self) -> bytes:
        return self._key("nh")

    @property
    def shard_count_of_keys(self) -> bytes:
        return self._key("nk")

    def _key(self, kind: str) -> bytes:
        name = "/".join(_escape(part, "%{}/") or "%" for part in self.path)
        if self.shard is not None:
            name += "%:{}:{}".format(*self.shard)
        prefix = _escape(self.prefix, "%{}")
        return encode_text(f"{prefix}:{kind}:{{{name}}}" if prefix else f"{kind}:{{{name}}}")


def encode_text(text: str) -> bytes:
    """UTF-8, in which lone surrogates, as file names may hold, have a form too."""
    return text.encode("utf-8", "surrogatepass")


def escape_glob(text: bytes) -> bytes:
    """A pattern for MATCH that means exactly `text`."""
    for special in (b"\\", b"*", b"?", b"[", b"]"):
        text = text.replace(special, b"\\" + special)
    return text


def _escape(text: str, special: str) -> str:
    return "".join(f"%{ord(char):02X}" if char in special else char for char in text)
