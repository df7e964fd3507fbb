"""Keep sync methods out of coroutines, where they would block the event loop."""

from __future__ import annotations

import os

# In asyncio's public list of names. `get_running_loop()` raises where there is no loop, which costs
# a cached read ten times as much.
from asyncio import _get_running_loop as running_loop

from django.core.exceptions import SynchronousOnlyOperation

__all__ = ["refuse_to_block", "running_loop"]


def refuse_to_block(called: str, twin: str) -> None:
    """Raise the error of a sync method that was called while the thread runs an event loop.

    Django's ORM has the same rule and the same way out, the variable DJANGO_ALLOW_ASYNC_UNSAFE.
    What is on the server could be read without the ORM, but not what is missing there: the same
    call would work until the next deployment, and fail then.

    Args:
        called: the call, for the message.
        twin: what to write instead.
    """
    if os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        return
    raise SynchronousOnlyOperation(
        f"{called} of a ModelDict asks the server and the database, and can't do so in a"
        f" coroutine: it would block the event loop. Use `{twin}`, or sync_to_async()."
    )
