"""Serialize values as JSON, pickle or raw bytes, and define the interface of a serializer.

Each turns a value into bytes and back, and refuses a value that would come back changed. They know
nothing of the format byte, the checksum or compression.
"""

import json
import pickle
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from reprlib import repr as short_repr
from typing import Any, Final, Protocol

from django.utils.module_loading import import_string

from redisdict.codec import envelope, messagepack
from redisdict.codec.compressors import Compressor, Lz4Compressor, ZlibCompressor, ZstdCompressor
from redisdict.codec.normalize import type_name
from redisdict.exceptions import ConfigurationError, SerializationError
from redisdict.suggestions import nearest


class Serializer(Protocol):
    """The interface of a serializer.

    `code` is its permanent number in the format byte, 12 to 15 for serializers of your own.
    """

    code: int

    def dumps(self, value: Any) -> bytes:
        """Return the bytes of a value; raise an error for one that would come back changed."""
        ...

    def loads(self, data: bytes) -> Any:
        """Return the value of these bytes; raise an error if they are damaged."""
        ...


class MessagePackSerializer:
    """The default: every value of a model field, exactly; decoding never runs code."""

    code = envelope.MSGPACK
    dumps = staticmethod(messagepack.dumps)
    loads = staticmethod(messagepack.loads)


class JsonSerializer:
    """JSON for other programs to read: only values that JSON keeps as they are."""

    code = envelope.JSON

    def dumps(self, value: Any) -> bytes:
        try:
            _refuse_what_json_changes(value)
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            return text.encode()
        except (ValueError, RecursionError) as error:
            raise SerializationError(f"The serializer 'json' can't store this: {error}.") from error

    def loads(self, data: bytes) -> Any:
        return json.loads(data.decode(), parse_constant=_refuse_constant)


_JSON_SCALARS: Final = (str, int, float, bool, type(None))


def _refuse_what_json_changes(value: Any) -> None:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise SerializationError(
                    f"The serializer 'json' would turn the key {short_repr(key)} into text: use "
                    "str keys, or the serializer 'msgpack'."
                )
            _refuse_what_json_changes(item)
    elif kind is list:
        for item in value:
            _refuse_what_json_changes(item)
    elif kind not in _JSON_SCALARS:
        raise SerializationError(
            f"The serializer 'json' can't store a {type_name(value)} and give it back the same: "
            "convert it, or use the serializer 'msgpack'."
        )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


class PickleSerializer:
    """pickle, for values that only Python knows.

    Anyone who can write to the server can run code in every process that reads with this.
    """

    code = envelope.PICKLE

    # A fixed protocol: the default one changes with the Python version.
    _PROTOCOL: Final = 5

    def dumps(self, value: Any) -> bytes:
        return pickle.dumps(value, self._PROTOCOL)

    def loads(self, data: bytes) -> Any:
        stream = BytesIO(data)
        value = pickle.load(stream)  # noqa: S301 - only where a setting names pickle
        if stream.read(1):
            raise ValueError("other bytes follow the pickle")
        return value


class RawSerializer:
    """Raw bytes, as they are, and no other values."""

    code = envelope.RAW

    def dumps(self, value: Any) -> bytes:
        if type(value) is not bytes:
            raise SerializationError(
                f"The serializer 'raw' stores bytes and got a {type_name(value)}: encode it first, "
                "or use the serializer 'msgpack'."
            )
        return value

    def loads(self, data: bytes) -> bytes:
        return data


SERIALIZERS: Final[dict[str, Callable[[], Serializer]]] = {
    "msgpack": MessagePackSerializer,
    "json": JsonSerializer,
    "pickle": PickleSerializer,
    "raw": RawSerializer,
}
COMPRESSORS: Final[dict[str, type[Compressor]]] = {
    "zlib": ZlibCompressor,
    "zstd": ZstdCompressor,
    "lz4": Lz4Compressor,
}


#: What others call them.
OTHER_NAMES: Final[dict[str, str]] = {
    "messagepack": "msgpack",
    "gzip": "zlib",
    "deflate": "zlib",
    "zstandard": "zstd",
}


@cache
def builtin_compressor(code: int) -> Compressor | None:
    """Return the compressor of this package that has this code in the format byte, if any.

    Raises `ConfigurationError` when its package isn't installed.
    """
    return next((kind() for kind in COMPRESSORS.values() if kind.code == code), None)


def find_serializer(wanted: object) -> Serializer:
    """Return the serializer that a name, a dotted path, a class or an instance stands for.

    Raises `ConfigurationError` when there is none.
    """
    methods, codes = ("dumps", "loads"), envelope.CUSTOM_SERIALIZER_CODES
    found: Serializer = _find("SERIALIZER", wanted, SERIALIZERS, methods, codes)
    return found


def find_compressor(wanted: object) -> Compressor:
    """Return the compressor that a name, a dotted path, a class or an instance stands for.

    Raises `ConfigurationError` when there is none, or when its package isn't installed.
    """
    methods, codes = ("compress", "decompress"), envelope.CUSTOM_COMPRESSOR_CODES
    found: Compressor = _find("COMPRESSOR", wanted, COMPRESSORS, methods, codes)
    return found


def _find(
    setting: str,
    wanted: object,
    names: Mapping[str, Callable[[], Any]],
    methods: tuple[str, ...],
    codes: range,
) -> Any:
    if isinstance(wanted, str) and wanted in names:
        return names[wanted]()
    found = _import(setting, wanted, names) if isinstance(wanted, str) else wanted
    if isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            raise ConfigurationError(
                f"{setting} {wanted!r} can't be made without arguments:"
                f" {type(error).__name__}: {_one_line(error)}."
            ) from error
    missing = [name for name in methods if not callable(getattr(found, name, None))]
    if missing:
        raise ConfigurationError(
            f"{setting} {wanted!r} is no {setting.lower()}: it has no method "
            f"{' and no method '.join(missing)}. Use one of {', '.join(map(repr, names))}, or an "
            f"object with the methods {' and '.join(methods)}."
        )
    code = getattr(found, "code", None)
    if code not in codes:
        raise ConfigurationError(
            f"{setting} {wanted!r} has the code {code!r}: give it a `code` of its own from "
            f"{codes.start} to {codes.stop - 1}, which is stored with each value and must never "
            "change."
        )
    return found


def _import(setting: str, path: str, names: Mapping[str, Callable[[], Any]]) -> object:
    if "." not in path:
        close = OTHER_NAMES.get(path.casefold()) or nearest(path, names)
        hint = f": did you mean {close!r}?" if close else "."
        raise ConfigurationError(
            f"{setting} {path!r} isn't known{hint}"
            f" There are {', '.join(map(repr, names))} and dotted paths to your own."
        )
    try:
        found: object = import_string(path)
    except Exception as error:  # whatever the module raises
        raise ConfigurationError(
            f"{setting} {path!r} can't be imported: {type(error).__name__}: {_one_line(error)}."
        ) from error
    return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
