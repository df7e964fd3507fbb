"""Serializers and compressors as users write them, found by dotted path in the tests."""

import bz2
from typing import Any


class ReprSerializer:
    """Keeps one kind of value only, and fails in its own ways."""

    code = 12

    def dumps(self, value: Any) -> bytes:
        if value == "unlucky":
            raise RuntimeError("no luck")
        return repr(value).encode()

    def loads(self, data: bytes) -> Any:
        return {"'a'": "a", "None": None}[data.decode()]


instance = ReprSerializer()


class Bz2Compressor:
    code = 7

    def compress(self, data: bytes) -> bytes:
        return bz2.compress(data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        plain = bz2.BZ2Decompressor().decompress(data, max_length + 1)
        if len(plain) > max_length:
            raise ValueError("too long")
        return plain


class WithoutLoads:
    code = 12

    def dumps(self, value: Any) -> bytes:
        raise NotImplementedError


class WithTakenCode(ReprSerializer):
    code = 3


class WithoutCode:
    def dumps(self, value: Any) -> bytes:
        raise NotImplementedError

    def loads(self, data: bytes) -> Any:
        raise NotImplementedError


class Unmakable:
    """One that needs what nobody gives it."""

    def __init__(self) -> None:
        raise ZeroDivisionError("on\npurpose")
