"""Encode the keys of a dict for the server, so that no two dicts share a key, and decode them.

A user's key is strictly of the dict's `key_type`: a key of another type is a TypeError. On the
server there are

    PREFIX:h:{NAME}          the public key: the hash of a dict, or the marker in its place
    PREFIX:f:{NAME}          the relocated key: the hash while items have timeouts
    PREFIX:t:{NAME}          the deadlines of its items
    PREFIX:k:{NAME}:ITEM     one item of a dict in the keys layout
    PREFIX:l:{NAME}:ITEM     a lock or a lease
    PREFIX:m:{NAME}          the generation of a cached table of the database
    PREFIX:m:{NAME}:ROW      one row of it
    PREFIX:p:{NAME}:RANDOM   written by a near cache, to test that it gets a message about it
    PREFIX:c:{NAME}          the counts of it
    PREFIX:nh:{NAME}         the number of shards of a dict in the hash layout, if it has any
    PREFIX:nk:{NAME}         the same of a dict in the keys layout

NAME and PREFIX are escaped so that neither holds a brace: the first `{` of a key begins the name
and the next `}` ends it, whatever ITEM holds. The braces also put all keys of one dict into one
slot of a cluster.

The NAME of one of several shards ends in `%:NUMBER:COUNT`, which no escape of a name gives. Shards
are spread over the slots, and those of another count are other keys.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from zlib import crc32

from redisdict.exceptions import ConfigurationError, DeserializationError
from redisdict.wire.requests import Argument

K = TypeVar("K")

#: A slot has room for a good many items, and whatever concerns all items visits every shard.
MOST_SHARDS = 1024


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
    def relocated(self) -> bytes:
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
    def probe_prefix(self) -> bytes:
        return self._key("p") + b":"

    @property
    def cached_table(self) -> bytes:
        return self._key("m")

    @property
    def cached_row_prefix(self) -> bytes:
        return self._key("m") + b":"

    @property
    def near_leases(self) -> bytes:
        return self._key("n")

    @property
    def near_signal(self) -> bytes:
        return self._key("ns")

    @property
    def counts(self) -> bytes:
        return self._key("c")

    @property
    def shard_count_of_hash(self) -> bytes:
        return self._key("nh")

    @property
    def shard_count_of_keys(self) -> bytes:
        return self._key("nk")

    def of_shards(self, shards: int | None) -> list[Names]:
        """Name those of each shard; none of a dict without shards."""
        count = shards or 0
        return [replace(self, shard=(number, count)) for number in range(count)]

    def _key(self, kind: str) -> bytes:
        name = "/".join(_escape(part, "%{}/") or "%" for part in self.path)
        if self.shard is not None:
            name += "%:{}:{}".format(*self.shard)
        prefix = _escape(self.prefix, "%{}")
        return encode_text(f"{prefix}:{kind}:{{{name}}}" if prefix else f"{kind}:{{{name}}}")


def shard_of(field: bytes, count: int) -> int:
    """The number of the shard, from 0: the CRC-32 of the key's bytes (as zlib has it), modulo the
    number of shards.
    """
    return crc32(field) % count


def check_shards(shards: object) -> None:
    """See that a number of shards can be used; None is a dict without any.

    Raises:
        TypeError: it isn't an int.
        ValueError: it is below 2 or above `MOST_SHARDS`.
    """
    if shards is None:
        return
    if isinstance(shards, bool) or not isinstance(shards, int):
        raise TypeError(
            f"shards is {type(shards).__name__}; an int from 2 to {MOST_SHARDS} is expected, or"
            " None for a dict in one slot."
        )
    if not 2 <= shards <= MOST_SHARDS:
        raise ValueError(
            f"shards is {shards}; from 2 to {MOST_SHARDS} are possible. Leave it out for a dict in"
            " one slot."
        )


def encode_text(text: str) -> bytes:
    """Encode as UTF-8, in which lone surrogates, as file names may hold, have a form too."""
    return text.encode("utf-8", "surrogatepass")


def escape_glob(text: bytes) -> bytes:
    """Make a pattern for MATCH that means exactly `text`."""
    for special in (b"\\", b"*", b"?", b"[", b"]"):
        text = text.replace(special, b"\\" + special)
    return text


def _escape(text: str, special: str) -> str:
    return "".join(f"%{ord(char):02X}" if char in special else char for char in text)


@dataclass(frozen=True, slots=True)
class KeyCodec(Generic[K]):
    """The encoding of one dict's keys.

    Args:
        kind: what a key is: "str", "int", "uuid.UUID", "bytes", or "custom" for a pair of the
            user's functions.
        encode: converts a key to bytes, different keys to different bytes; raises TypeError for
            anything else than a key.
        read: converts them back; raises ValueError or TypeError for bytes of no key.
        text: converts a key's bytes to the text that a pattern is matched with, if it has one.
    """

    kind: str
    encode: Callable[[K], bytes]
    read: Callable[[bytes], K]
    text: Callable[[bytes], str] | None

    def decode(self, stored: bytes) -> K:
        """Read the key of stored bytes.

        Raises:
            DeserializationError: no key of this type is written so.
        """
        try:
            return self.read(stored)
        except (ValueError, TypeError) as error:
            raise DeserializationError(
                f"The stored key {stored[:80]!r} is no key of this dict, whose key_type is"
                f" {self.kind}; was it written with another key_type?"
            ) from error

    @property
    def encode_plain(self) -> Callable[[K], bytes]:
        """A quicker `encode` for plain keys.

        It raises TypeError or UnicodeEncodeError for those that `encode` has to look at.
        """
        return str.encode if self.kind == "str" else self.encode  # type: ignore[return-value]  # K is str

    def encode_many(self, keys: Sequence[K]) -> list[bytes]:
        """Encode each key as `encode()` would; faster for many strings."""
        if self.kind == "str":
            with suppress(TypeError, UnicodeEncodeError):  # which `encode()` knows to deal with
                return list(map(str.encode, keys))  # type: ignore[arg-type]  # K is str
        encode = self.encode
        return [encode(key) for key in keys]

    def arguments(self, keys: Sequence[K]) -> Sequence[Argument]:
        """Make a command's arguments for these keys: ASCII text as it is, which packs the same."""
        is_ascii = False
        if self.kind == "str":
            with suppress(TypeError):  # which `encode_many()` says more about
                is_ascii = "".join(keys).isascii()  # type: ignore[arg-type]  # K is str
        return keys if is_ascii else self.encode_many(keys)  # type: ignore[return-value]  # as above

    def decode_many(self, stored: Iterable[bytes]) -> list[K]:
        """Read each key as `decode()` would; faster for many strings."""
        if self.kind == "str":
            with suppress(UnicodeDecodeError):
                return list(map(bytes.decode, stored))  # type: ignore[arg-type]  # K is str
        decode = self.decode
        return [decode(one) for one in stored]

    def decode_names(self, names: Sequence[bytes], prefix: bytes) -> list[K]:
        """Read the key of each of these, which begin with `prefix`."""
        if not prefix:
            return self.decode_many(names)
        if self.kind == "str" and b"\0" not in prefix:
            with suppress(UnicodeDecodeError):
                # One text is cut up faster than many. A name that holds what it is cut at gives a
                # piece too many; none can be missing, for that begins with the only NUL it has.
                text, text_prefix = b"\0".join(names).decode(), prefix.decode()
                keys: Any = text.removeprefix(text_prefix).split("\0" + text_prefix)
                if len(keys) == len(names):
                    return keys  # type: ignore[no-any-return]  # K is str
        return self.decode_many([name.removeprefix(prefix) for name in names])


def _encode_str(key: str) -> bytes:
    if not isinstance(key, str):
        raise _refusal("str", key)
    return key.encode("utf-8", "surrogatepass")  # as encode_text(), without the call


def _encode_int(key: int) -> bytes:
    if not isinstance(key, int) or isinstance(key, bool):
        raise _refusal("int", key)
    return b"%d" % key


def _encode_uuid(key: uuid.UUID) -> bytes:
    if not isinstance(key, uuid.UUID):
        raise _refusal("uuid.UUID", key)
    return key.bytes


def _encode_bytes(key: bytes) -> bytes:
    if not isinstance(key, bytes):
        raise _refusal("bytes", key)
    return key


def _refusal(kind: str, key: object) -> TypeError:
    return TypeError(
        f"A key of this dict is {kind}, not {type(key).__name__} ({key!r:.80});"
        " convert it, or give the dict another key_type."
    )


def _read_str(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def _read_int(stored: bytes) -> int:
    number = int(stored)
    if b"%d" % number != stored:
        raise ValueError(stored)
    return number


def _read_uuid(stored: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=stored)


def _checked(encode: Callable[[K], object]) -> Callable[[K], bytes]:
    def encode_checked(key: K) -> bytes:
        stored = encode(key)
        if isinstance(stored, bytes):
            return stored
        raise TypeError(
            f"The encode function of key_type gave {type(stored).__name__} for {key!r:.80};"
            " bytes are expected."
        )

    return encode_checked


def _text_of_custom(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


_KNOWN: dict[object, KeyCodec[Any]] = {
    str: KeyCodec("str", _encode_str, _read_str, _read_str),
    int: KeyCodec("int", _encode_int, _read_int, _read_str),
    uuid.UUID: KeyCodec("uuid.UUID", _encode_uuid, _read_uuid, None),
    bytes: KeyCodec("bytes", _encode_bytes, bytes, None),
}


def get_key_codec(key_type: object) -> KeyCodec[Any]:
    """Find the codec for a dict's `key_type`.

    Args:
        key_type: `str`, `int`, `uuid.UUID`, `bytes`, or a pair `(encode, decode)` of functions
            from a key to bytes and back.

    Raises:
        ConfigurationError: something else.
    """
    if isinstance(key_type, type) and key_type in _KNOWN:
        return _KNOWN[key_type]
    if isinstance(key_type, tuple) and len(key_type) == 2 and all(map(callable, key_type)):
        encode, read = key_type
        return KeyCodec("custom", _checked(encode), read, _text_of_custom)
    raise ConfigurationError(
        f"key_type is {key_type!r}; str, int, uuid.UUID, bytes or a pair of functions"
        " (encode, decode) is expected."
    )
