"""The lock that `d.lock()` gives, for threads and for tasks."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from redisdict.exceptions import BackendUnavailable, ConcurrentUpdate
from redisdict.mapping.locks import limit_ms
from redisdict.mapping.names import encode_text

__all__ = ["Lock"]


class Lock:
    """A lock with a time limit. `with` and `async with` acquire and release it.

    Each object has one owner at a time; make one for each task or thread. `is_owned` says whether
    this object has acquired it and not released it, which the server may see otherwise once the
    time limit is over: whoever works longer calls `extend()` in time, which tells.
    """

    def __init__(self, mapping: Any, name: str, timeout: float, wait: float | None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name is {type(name).__name__}; a string is expected.")
        limit_ms(timeout)
        self._mapping = mapping
        self._name = b":" + encode_text(name)  # no item's lease begins so
        self._timeout = timeout
        self._wait = wait
        self._token = b""

    def __repr__(self) -> str:
        return f"<Lock {self._shown_name!r} of {self._mapping!r}>"

    @property
    def is_owned(self) -> bool:
        return bool(self._token)

    def acquire(self) -> bool:
        """Wait for the lock; whether it was got in time. SET NX PX, repeated in growing pauses.

        Raises:
            RuntimeError: this object has it already.
        """
        token = self._new_token()
        if not self._mapping._run(self._acquire(token)):
            return False
        self._token = token
        return True

    async def aacquire(self) -> bool:
        """As `acquire()`."""
        token = self._new_token()
        if not await self._mapping._arun(self._acquire(token)):
            return False
        self._token = token
        return True

    def extend(self, timeout: float | None = None) -> None:
        """Keep the lock for `timeout` seconds from now, None for its own time. A script.

        Raises:
            ConcurrentUpdate: the time limit was over; the lock is lost.
            RuntimeError: this object doesn't have it.
        """
        self._check(self._mapping._run(self._extend(timeout)))

    async def aextend(self, timeout: float | None = None) -> None:
        """As `extend()`."""
        self._check(await self._mapping._arun(self._extend(timeout)))

    def release(self) -> None:
        """Give the lock back. A script that deletes it if it is still ours.

        Raises:
            ConcurrentUpdate: the time limit was over, and somebody else may have had it.
            RuntimeError: this object doesn't have it.
        """
        self._check(self._mapping._run(self._release()))

    async def arelease(self) -> None:
        """As `release()`."""
        self._check(await self._mapping._arun(self._release()))

    def __enter__(self) -> Self:
        if not self.acquire():
            raise self._too_late()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An error of the block says more than that the lock was lost meanwhile.
        with suppress(*((ConcurrentUpdate,) if error else ())):
            self.release()

    async def __aenter__(self) -> Self:
        if not await self.aacquire():
            raise self._too_late()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(*((ConcurrentUpdate,) if error else ())):
            await self.arelease()

    @property
    def _locks(self) -> Any:
        return self._mapping._operations.locks

    @property
    def _shown_name(self) -> str:
        return self._name[1:].decode(errors="replace")

    def _new_token(self) -> bytes:
        if self._token:
            raise RuntimeError(f"{self!r} is acquired already; make an object for each owner.")
        token: bytes = self._locks.new_token()
        return token

    def _acquire(self, token: bytes) -> Any:
        return self._locks.acquire(self._name, token, self._timeout, self._wait)

    def _extend(self, timeout: float | None) -> Any:
        timeout = self._timeout if timeout is None else timeout
        return self._locks.extend(self._name, self._own_token(), timeout)

    def _release(self) -> Any:
        token = self._own_token()
        self._token = b""
        return self._locks.release(self._name, token)

    def _own_token(self) -> bytes:
        if not self._token:
            raise RuntimeError(f"{self!r} isn't acquired.")
        return self._token

    def _check(self, was_ours: bool) -> None:
        if was_ours:
            return
        self._token = b""
        raise ConcurrentUpdate(
            f"{self!r} was held longer than its {self._timeout} s, so somebody else may have had"
            " it too; give it a longer timeout, or call extend() in time."
        )

    def _too_late(self) -> BackendUnavailable:
        return BackendUnavailable(f"{self!r} wasn't free within {self._wait} s (wait).")
