"""What another thread, with database connections of its own, does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import connections

__all__ = ["elsewhere"]

T = TypeVar("T")


def elsewhere(act: Callable[[], T]) -> T:
    """The result of `act()` in another thread."""
    found: list[T] = []

    def run() -> None:
        try:
            found.append(act())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]
