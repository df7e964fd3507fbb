"""Where a database server of the tests' own runs, and as whom: these refuse to run as root."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["make_directory", "unprivileged"]


def unprivileged(name: str) -> Mapping[str, Any] | None:
    """Give the arguments by which `subprocess` starts a program as another user than root.

    Args:
        name: the user to be preferred to `nobody`.

    Returns:
        None if there is neither; for who isn't root they are empty.
    """
    if os.geteuid() != 0:
        return {}
    for each in (name, "nobody"):
        try:
            user = pwd.getpwnam(each)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return None


def make_directory(prefix: str, user: Mapping[str, Any]) -> Path:
    """Make a directory of that user's, whose name begins so."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    if user:
        os.chown(directory, user["user"], user["group"])
    return directory
