"""What is to be called before a server is first used; it imports nothing, so apps may name it."""

from __future__ import annotations

from collections.abc import Callable

_starters: list[Callable[[], object]] = []


def on_new_server(starter: Callable[[], object]) -> None:
    """Have `starter` called whenever a server is about to be used: it may add an observer."""
    if starter not in _starters:
        _starters.append(starter)


def call_starters() -> None:
    """Call all of them."""
    for starter in _starters:
        starter()
