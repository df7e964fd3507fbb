"""Send Lua scripts by their digest, and their text only to a server that doesn't know them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from redisdict.exceptions import ServerUnsupported
from redisdict.wire.requests import Argument, Once, Operation

#: How servers refuse scripts; what a script itself ends with is told in other words.
_REFUSAL = re.compile(r"\beval", re.IGNORECASE)
_REASON = re.compile(
    r"unknown command|not supported|unsupported|not allowed|disabled", re.IGNORECASE
)


def check_scripts_run(error: ResponseError) -> None:
    """Distinguish a refusal to run any script from other errors.

    Raises:
        ServerUnsupported: it is one.
    """
    text = str(error)
    is_refused = isinstance(error, NoPermissionError) or _REASON.search(text)
    if is_refused and _REFUSAL.search(text) and "script: " not in text:
        raise ServerUnsupported(
            f"The server refuses scripts ({text}), which this operation needs: EVALSHA and EVAL."
            " Allow them to the user of the alias (ACL: +eval +evalsha), or use a server that has"
            " them; docs/managed.md says what works without."
        ) from error


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
        """Run it: EVALSHA, and EVAL where the server doesn't know it yet.

        Raises:
            ServerUnsupported: the server runs no scripts.
        """
        kind = tuple if is_repeatable else Once
        try:
            try:
                return (yield kind((b"EVALSHA", self.digest, len(keys), *keys, *arguments)))
            except NoScriptError:
                return (yield kind((b"EVAL", self.text, len(keys), *keys, *arguments)))
        except ResponseError as error:
            check_scripts_run(error)
            raise
