"""Let go, in a forked child, of the connections of an event loop of the parent's.

Closing them as usual would end TLS for the parent as well, and would take their sockets out of what
the parent's loop waits for: both processes have the same epoll. Leaving them open, a child that
runs a copy of that loop would read the parent's replies.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress

__all__ = ["let_go"]


def let_go(transport: asyncio.BaseTransport | None) -> None:
    """Close a transport whose socket is the parent's; neither the parent nor the server notices.

    The socket's number is given to another one, which leads nowhere.
    """
    inherited = transport and transport.get_extra_info("socket")
    if not inherited or not transport:
        return
    with suppress(OSError, ValueError):  # it is closed already
        # A daemon has closed all numbers, and they may be in use for something else.
        if inherited.getsockname() == transport.get_extra_info("sockname"):
            here, there = socket.socketpair()
            with here, there:
                os.dup2(here.fileno(), inherited.fileno(), inheritable=False)
    if isinstance(transport, asyncio.WriteTransport):
        with suppress(RuntimeError):  # its loop is closed
            transport.abort()
