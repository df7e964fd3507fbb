"""Drop from memory every key that a command names, before it is sent and after its reply.

That covers all reads and writes of a dict's keys that keep nothing, whichever method of whichever
handle sends them, because the command names the keys. A middleware does it, before the drivers of
all handles of a dict if one handle in the process has `near`; for other dicts it costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

from redisdict.connections.drivers import AsyncDriver, Driver, DriverPair
from redisdict.connections.middleware import AsyncMiddlewareDriver, MiddlewareDriver
from redisdict.near.state import NearState
from redisdict.near.watches import Watch, Watches
from redisdict.wire.requests import (
    Argument,
    Call,
    Command,
    Operation,
    Reply,
    Request,
    Sleep,
    Step,
    commands_of,
)

T = TypeVar("T")

#: What tells of fields of a hash, which stand behind its key.
_OF_FIELDS: Final = frozenset({b"HGET", b"HMGET", b"HEXISTS"})

#: What changes keys that it doesn't name.
_OF_ALL: Final = frozenset({b"FLUSHDB", b"FLUSHALL"})

#: What tells nothing of the items.
_OF_NO_ITEM: Final = frozenset({b"HLEN", b"PTTL", b"MEMORY"})


class Access:
    """Finds the entries that a command concerns, by the keys that it names.

    A value that looks like a key is taken for one: more is dropped then, and nothing is wrong.
    """

    def __init__(self, watches: Sequence[Watch]) -> None:
        self._watches = Watches(watches)

    def watch(self, watches: Sequence[Watch]) -> None:
        """Watch these from now on, in the place of those before."""
        self._watches = Watches(watches)

    def drop(self, commands: Sequence[Command]) -> None:
        """Drop the keys that these commands name."""
        watches = self._watches
        if all(state.is_empty for state in watches.states):
            return
        for command in commands:
            name = command[0]
            if name == b"SCAN":
                # It shows which items there are, so none of them may be missing afterwards.
                for state in watches.states:
                    state.drop_missing()
                continue
            if name in _OF_ALL:
                for state in watches.states:
                    state.drop_all()
                continue
            keys = [
                each.encode() if isinstance(each, str) else each
                for each in command
                if not isinstance(each, int)
            ]
            if watches.has_exact:
                for at, key in enumerate(keys):
                    for state in watches.of_key(key):
                        _drop_of_hash(state, name, keys[at + 1 :])
            for state, own in watches.of_prefixes(keys).items():
                state.drop(own)

    def intercept(self) -> _Accessing:
        """Make the interceptor of one operation."""
        return _Accessing(self)

    def concerns(self, command: Command) -> bool:
        """Return that no command may take the fast path of a driver that doesn't drop."""
        return True


class _Accessing:
    """One operation; at most one request is under way."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._commands: Sequence[Command] = ()

    def answer(self, request: Request) -> Operation[Reply]:
        if isinstance(request, (Sleep, Call)):
            return (yield request)
        self._commands = commands = commands_of(request)
        self._access.drop(commands)
        try:
            return (yield request)
        finally:
            self._access.drop(commands)

    def fail(self, error: BaseException) -> None:
        # The operation is left where it is, maybe for as long as somebody has the traceback.
        self._access.drop(self._commands)


class _AccessDriver(MiddlewareDriver):
    """A blocking driver that drops; a step has its fast path."""

    def __init__(self, driver: Driver, access: Access) -> None:
        super().__init__(driver, access)
        self._access = access

    def do(self, step: Step[T]) -> T:
        if step.command is None:
            return self.run(step.begin())
        # What the step's operation does in place of the command concerns the same items.
        commands = (step.command,)
        self._access.drop(commands)
        try:
            return self._driver.do(step)
        finally:
            self._access.drop(commands)


class _AsyncAccessDriver(AsyncMiddlewareDriver):
    """An async driver that drops; a step has its fast path."""

    def __init__(self, driver: AsyncDriver, access: Access) -> None:
        super().__init__(driver, access)
        self._access = access

    def send(self, step: Step[T]) -> Awaitable[T | Exception]:
        if step.command is None:
            return self.run(step.begin())
        return self._do(step)

    async def _do(self, step: Step[T]) -> T:
        assert step.command is not None  # `send()` has looked
        commands = (step.command,)
        self._access.drop(commands)
        try:
            return await self._driver.do(step)
        finally:
            self._access.drop(commands)


def drivers_that_drop(drivers: DriverPair, access: Access) -> DriverPair:
    """Put the dropping before the drivers of a handle."""
    return DriverPair(
        _AccessDriver(drivers.driver, access), _AsyncAccessDriver(drivers.async_driver, access)
    )


def _drop_of_hash(state: NearState, name: Argument, fields: Sequence[bytes]) -> None:
    if name in _OF_FIELDS:
        state.drop(fields)
    elif name not in _OF_NO_ITEM:
        state.drop_all()
