"""Search through every order in which the steps of several processes can be taken.

What is searched is a *world*: it says which moves are possible now, makes one, and describes its
state, by whatever decides how things can go on. The search is depth-first over states: one that was
seen before, by whatever way, isn't searched again. The operations under test are generators, which
can't be copied, so a state is reached anew by making all moves that lead to it; but on with the
last of its moves the search goes in the very world that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

__all__ = ["Breach", "Move", "World", "explore"]

Move = tuple[Any, ...]


class Breach(AssertionError):
    """A world has come to what must not be."""


class World(Protocol):
    """One schedule under way."""

    def moves(self) -> Iterable[Move]:
        """What can come next."""

    def make(self, move: Move) -> None:
        """Let that come next.

        Raises:
            Breach: it must not have been possible.
        """

    def check(self) -> None:
        """Judge what has come of the last move, and change nothing.

        It isn't asked again while a state is reached anew, which takes half as long so.

        Raises:
            Breach: it must not have come to that.
        """

    def snapshot(self) -> Any:
        """Whatever decides how things can go on."""


def explore(begin: Callable[[], World]) -> int:
    """Try every schedule; how many states there are.

    Args:
        begin: makes a world in which nothing has been done yet, the same one each time.

    Raises:
        Breach: with the moves that lead to it.
    """
    seen = set()
    paths: list[tuple[Move, ...]] = [()]
    while paths:
        path = paths.pop()
        world = begin()
        try:
            for move in path:
                world.make(move)
            world.check()
            while (state := world.snapshot()) not in seen:
                seen.add(state)
                moves = list(world.moves())
                if not moves:
                    break
                paths += [(*path, move) for move in moves[:-1]]
                path = (*path, moves[-1])
                world.make(moves[-1])
                world.check()
        except Breach as error:
            error.add_note("after " + ", ".join(" ".join(map(str, move)) for move in path))
            raise
    return len(seen)
