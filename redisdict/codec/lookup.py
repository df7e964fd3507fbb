"""Find the serializer or compressor that a setting means."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from django.utils.module_loading import import_string

from redisdict.codec import envelope
from redisdict.codec.compressors import (
    Compressor,
    Lz4Compressor,
    ZlibCompressor,
    ZstdCompressor,
)
from redisdict.codec.serializers import (
    JsonSerializer,
    MessagePackSerializer,
    PickleSerializer,
    RawSerializer,
    Serializer,
)
from redisdict.exceptions import ConfigurationError
from redisdict.suggestions import nearest

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
        found = found()
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
        raise ConfigurationError(
            f"{setting} {path!r} isn't known: did you mean {nearest(path, names, cutoff=0)!r}?"
            f" There are {', '.join(map(repr, names))} and dotted paths to your own."
        )
    try:
        found: object = import_string(path)
    except ImportError as error:
        raise ConfigurationError(f"{setting} {path!r} can't be imported: {error}.") from error
    return found
