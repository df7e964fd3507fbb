"""Lua scripts, sent by their digest: the text leaves only for a server that doesn't know it."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from redisdict.connections.requests import Argument, Once, Operation

__all__ = ["COMPARE_AND_DELETE", "COMPARE_AND_SET", "HASH", "Script"]


class Script:
    """One `.lua` file of this package."""

    def __init__(self, name: str) -> None:
        self._text = files(__package__).joinpath("lua", f"{name}.lua").read_bytes()
        self._digest = hashlib.sha1(self._text, usedforsecurity=False).hexdigest().encode()

    def call(
        self, keys: tuple[bytes, ...], *arguments: Argument, is_repeatable: bool = True
    ) -> Operation[Any]:
        """Run it: EVALSHA, and EVAL where the server doesn't know it yet."""
        kind = tuple if is_repeatable else Once
        try:
            return (yield kind((b"EVALSHA", self._digest, len(keys), *keys, *arguments)))
        except NoScriptError:
            return (yield kind((b"EVAL", self._text, len(keys), *keys, *arguments)))


HASH = Script("hash")
COMPARE_AND_SET = Script("compare_and_set")
COMPARE_AND_DELETE = Script("compare_and_delete")
