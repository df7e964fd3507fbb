"""Lua scripts, sent by their digest: the text leaves only for a server that doesn't know it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from redisdict.wire.requests import Argument, Once, Operation


class Script:
    """One `.lua` file of a package.

    Args:
        name: of the file, without its suffix.
        package: the package that has it in its folder `lua`.
        heading: comes before the text, where scripts of one text must differ in their digest.
    """

    def __init__(self, name: str, package: str, heading: bytes = b"") -> None:
        self.text = heading + files(package).joinpath("lua", f"{name}.lua").read_bytes()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()

    def call(
        self, keys: Sequence[bytes], *arguments: Argument, is_repeatable: bool = True
    ) -> Operation[Any]:
        """Run it: EVALSHA, and EVAL where the server doesn't know it yet."""
        kind = tuple if is_repeatable else Once
        try:
            return (yield kind((b"EVALSHA", self.digest, len(keys), *keys, *arguments)))
        except NoScriptError:
            return (yield kind((b"EVAL", self.text, len(keys), *keys, *arguments)))
