"""Register functions to call before a server is first used; imports nothing, so apps may use it."""

from __future__ import annotations

from collections.abc import Callable

_starters: list[Callable[[], object]] = []


def on_new_server(starter: Callable[[], object]) -> None:
    """Call `starter` whenever a server is about to be used: it may add an observer."""
    if starter not in _starters:
        _starters.append(starter)


def call_starters() -> None:
    """Call all of them."""
    for starter in _starters:
        starter()
