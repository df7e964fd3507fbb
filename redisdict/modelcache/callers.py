"""Tell which line of the project's code has asked for something."""

from __future__ import annotations

import sys
from pathlib import PurePath
from types import FrameType

__all__ = ["calling_place"]

#: Names at the end of a path that tell a file from others.
TELLING_PARTS = 3


def calling_place(below: tuple[str, ...]) -> str:
    """The file and line that called, such as "shop/views.py:42"; with three names of its path.

    Args:
        below: how the names of modules begin whose frames aren't looked for.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(below):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    parts = PurePath(frame.f_code.co_filename).parts
    return f"{'/'.join(parts[-TELLING_PARTS:])}:{frame.f_lineno}"
