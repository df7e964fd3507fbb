"""Detect that this process is a forked child, however it was forked.

A child has copies of its parent's state: of sockets, from which each would read the other's
replies; of the state that tokens are made from; of locks held by threads that the child doesn't
have. Python's own hooks (`os.register_at_fork`) don't run when C code forks, as the master of uWSGI
does. So each use of something that belongs to one process checks for a fork:

    if not own[0]:
        take_over()

On Linux that reads a byte of a page that the kernel clears in every forked child, whatever forks
it (MADV_WIPEONFORK). On other systems `os.getpid()` is compared, a system call that costs up to ten
times as much.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import MethodType, TracebackType
from typing import Any, Final

#: Linux 4.14 and later; Python has no name for it.
MADV_WIPEONFORK: Final = 18


class ProcessId:
    """Replaces the page: its only item is 1 in the process that has written it, 0 in others."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, place: int) -> int:
        return int(os.getpid() == self._pid)

    def __setitem__(self, place: int, value: int) -> None:
        self._pid = os.getpid()


def _make_page() -> mmap.mmap | ProcessId:
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return ProcessId()
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        page.madvise(MADV_WIPEONFORK)
    except (AttributeError, OSError):  # another system, or one that only looks like Linux
        page.close()
        return ProcessId()
    return page


#: `own[0]` is 0 in a forked child, until `take_over()` has made everything the child's own.
own: Final = _make_page()
own[0] = 1

#: What is to be called in a child, by its id; of objects that may end before, weak references.
_renewals: dict[int, Callable[[], None] | weakref.WeakMethod[MethodType]] = {}

#: By process, since a lock inherited from the parent may be held for ever.
_takeovers: dict[int, threading.Lock] = {}
_taker: tuple[int, int] | None = None


def on_fork(renew: Callable[[], None]) -> None:
    """Call `renew` in each forked child, before anything there is used.

    It must not ask the server for anything. A method doesn't keep its object alive.
    """
    if isinstance(renew, MethodType):
        weak = weakref.WeakMethod(renew, _forget)
        _renewals[id(weak)] = weak
    else:
        _renewals[id(renew)] = renew


def take_over() -> None:
    """In a forked child, rebuild everything registered; once, in the thread that comes first.

    What is called often looks at `own[0]` first, which costs a fraction of the call.
    """
    global _taker
    thread = threading.get_ident()
    if own[0] or _taker == (os.getpid(), thread):
        return
    with _takeovers.setdefault(os.getpid(), threading.Lock()):
        if own[0]:
            return
        _taker = (os.getpid(), thread)
        try:
            errors = [error for each in list(_renewals.values()) if (error := _call(each))]
        finally:
            _taker = None
        if errors:
            raise errors[0]  # and the next use tries again
        own[0] = 1


def _call(renewal: Callable[[], None] | weakref.WeakMethod[MethodType]) -> Exception | None:
    """Call it if its object is still there; the error of one doesn't keep the others away."""
    renew = renewal() if isinstance(renewal, weakref.WeakMethod) else renewal
    if renew is not None:
        try:
            renew()
        except Exception as error:  # noqa: BLE001  # raised when all have been called
            return error
    return None


def _forget(
    renewal: weakref.WeakMethod[MethodType],
    # At the end of the process objects end when the names of this module are gone.
    renewals: dict[int, Any] = _renewals,
    id_of: Callable[[object], int] = id,
) -> None:
    renewals.pop(id_of(renewal), None)


def abandon(transport: asyncio.BaseTransport | None) -> None:
    """Close a transport of the parent's event loop; neither the parent nor the server notices.

    Closing it as usual would end TLS for the parent as well, and would take its socket out of what
    the parent's loop waits for: both processes have the same epoll. Left open, a child that runs a
    copy of that loop would read the parent's replies. So the socket's number is given to another
    one, which leads nowhere.
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


class Lock:
    """A lock for `with` that is free in a forked child, whoever held it in the parent."""

    def __init__(self) -> None:
        self._of_process: dict[int, threading.Lock] = {}

    def __enter__(self) -> None:
        self._of_process.setdefault(os.getpid(), threading.Lock()).acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        held = self._of_process.get(os.getpid())
        if held is not None:  # else it was entered by the parent, and isn't held here
            held.release()


# A fork that Python sees is no reason to wait for the first use.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=take_over)
