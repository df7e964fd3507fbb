"""Whether what a read has given is allowed: by the promise, and by what the process has seen."""

from __future__ import annotations

from typing import Final

from tests.stress.near.board import (
    DELETED,
    FIRST_VERSION,
    ITEMS,
    REMEMBERED,
    Board,
    Change,
    now,
)

#: Nanoseconds by which a server may be late in ending a value: it looks at its clock once a turn.
SLACK: Final = 50_000_000


class Breach(AssertionError):
    """A read gave what the promise excludes."""


class Judge:
    """Judges the reads of one process, of all its threads and tasks."""

    def __init__(self, board: Board) -> None:
        self._board = board
        # Of each item the newest that a read of this process has given: twice the version, and one
        # more if that was seen to be gone. Two threads at once may set it back to the lower of
        # theirs, which only excuses more.
        self._seen = [0] * ITEMS
        self._required_since = 0
        self.longest_after_end = 0

    def seen(self, item: int) -> int:
        """Tell what is to be handed to the judge of a read that begins now."""
        return self._seen[item]

    def judge(
        self, item: int, version: int | None, began: int, since: int, own_since: int, seen: int
    ) -> int:
        """Judge a read that has given a version, or nothing.

        Args:
            began: when the read began.
            since: what others had replaced before may not be given.
            own_since: nor what the item's owner had, which may be this process.
            seen: what `seen()` told before the read.

        Returns:
            The nanoseconds for which the value had been replaced when the read began.

        Raises:
            Breach: it may not have been given.
        """
        board = self._board
        if board.required_since != self._required_since:
            self._required_since = board.required_since
            self._seen = [0] * ITEMS
        if began < self._required_since:
            return 0
        if version is None:
            self._judge_missing(item, own_since, seen)
            return 0
        if version < FIRST_VERSION:
            return 0
        if 2 * version < seen:
            raise Breach(f"went back from {seen / 2} to {version}")
        if 2 * version > self._seen[item]:
            self._seen[item] = 2 * version
        if version > board.begun(item):
            raise Breach(f"{version} was never written")
        self._judge_end(item, version, began)
        age = max(
            self._age(item, version, began, own_since), self._flushed(item, version, began, since)
        )
        return max(0, age)

    def _age(self, item: int, version: int, began: int, since: int) -> int:
        latest = self._board.answered(item)
        for newer in range(max(version + 1, latest - REMEMBERED + 2), latest + 1):
            change = self._board.change(item, newer)
            if change and change.answered and change.answered >= self._required_since:
                if change.answered <= since:
                    raise Breach(
                        f"{version} was replaced by {newer} {ms(began - change.answered)} before"
                        f" the read began, {ms(since - change.answered)} before it may have been"
                    )
                return began - change.answered
        return 0

    def _flushed(self, item: int, version: int, began: int, since: int) -> int:
        if not self._board.last_flush:
            return 0
        change = self._board.change(item, version)
        if change is None or not change.answered:
            return 0
        age = 0
        for flush_began, flush_answered in self._board.flushes():
            if flush_began <= change.answered:
                break
            if flush_answered:
                if flush_answered <= since:
                    raise Breach(f"{version} was flushed {ms(began - flush_answered)} before")
                age = began - flush_answered
        return age

    def _judge_end(self, item: int, version: int, began: int) -> None:
        change = self._board.change(item, version)
        if change is not None and change.lives > 0 and change.answered:
            late = began - change.answered - change.lives
            self.longest_after_end = max(self.longest_after_end, late)
            if late > SLACK:
                raise Breach(f"{version} had ended {ms(late)} before the read began")

    def _judge_missing(self, item: int, since: int, seen: int) -> None:
        required = max(self._required(item, since), seen // 2)
        if seen & 1 and seen // 2 == required:
            return  # gone before, and nothing has come since
        change = self._board.change(item, required)
        if change is None:  # nothing is known
            return
        gone = self._gone_since(item, change)
        if gone is None:
            raise Breach(f"{required} and those after it were neither deleted nor ended")
        if gone > self._seen[item]:
            self._seen[item] = gone

    def _required(self, item: int, since: int) -> int:
        latest = self._board.answered(item)
        for version in range(latest, max(0, latest - REMEMBERED + 2), -1):
            change = self._board.change(item, version)
            if change and change.answered and change.answered <= since:
                return version if change.answered >= self._required_since else 0
        return 0

    def _gone_since(self, item: int, required: Change) -> int | None:
        """Find what can have taken the item away, as `_seen` has it; None if there is nothing."""
        board = self._board
        # What takes away least comes first: nothing is said of what wasn't seen.
        for _, answered in board.flushes():
            if not answered or answered >= required.began:
                return 2 * required.version + 1
            break
        for version in range(required.version, board.begun(item) + 1):
            change = board.change(item, version)
            if change is None:
                return 2 * required.version
            if change.lives == DELETED:
                return 2 * version
            if change.lives > 0 and change.began + change.lives <= now():
                return 2 * version + 1
        return None


def ms(nanoseconds: int) -> str:
    """Show a time in milliseconds."""
    return f"{nanoseconds / 1e6:.1f} ms"
