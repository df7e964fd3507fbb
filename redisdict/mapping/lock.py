"""The lock that `d.lock()` gives, for threads and for tasks."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from redisdict.exceptions import BackendUnavailable, ConcurrentUpdate
from redisdict.mapping.names import encode_text

__all__ = ["Lock"]


class Lock:
    """A lock with a time limit. `with` and `async with` acquire and release it.

    Each object has one owner at a time; make one for each task or thread. `is_owned` says whether
    this object has acquired it and not released it, which the server may see otherwise once the
    time limit is over.
    """

    def __init__(self, mapping: Any, name: str, timeout: float, wait: float | None) -> None:
        self._mapping = mapping
        self._name = b":" + encode_text(name)  # no item's lease begins so
        self._timeout = timeout
        self._wait = wait
        self._token = b""

    @property
    def is_owned(self) -> bool:
        return bool(self._token)

    def acquire(self) -> bool:
        """Wait for the lock; whether it was got in time. SET NX PX, repeated in growing pauses."""
        token = self._locks.new_token()
        if not self._mapping._run(self._acquire(token)):
            return False
        self._token = token
        return True

    async def aacquire(self) -> bool:
        token = self._locks.new_token()
        if not await self._mapping._arun(self._acquire(token)):
            return False
        self._token = token
        return True

    def release(self) -> None:
        """Give the lock back. A script that deletes it if it is still ours.

        Raises:
            ConcurrentUpdate: the time limit was over, and somebody else may have had it.
        """
        self._check_release(self._mapping._run(self._locks.release(self._name, self._token)))

    async def arelease(self) -> None:
        release = self._locks.release(self._name, self._token)
        self._check_release(await self._mapping._arun(release))

    def __enter__(self) -> Self:
        if not self.acquire():
            raise self._too_late()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
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
        await self.arelease()

    @property
    def _locks(self) -> Any:
        return self._mapping._operations.locks

    def _acquire(self, token: bytes) -> Any:
        return self._locks.acquire(self._name, token, self._timeout, self._wait)

    def _check_release(self, was_ours: bool) -> None:
        self._token = b""
        if not was_ours:
            raise ConcurrentUpdate(
                f"The lock {self._name[1:].decode(errors='replace')!r} of {self._mapping!r} was"
                f" held longer than its {self._timeout} s, so somebody else may have had it too;"
                " give it a longer timeout."
            )

    def _too_late(self) -> BackendUnavailable:
        return BackendUnavailable(
            f"The lock {self._name[1:].decode(errors='replace')!r} of {self._mapping!r} wasn't"
            f" free within {self._wait} s (wait)."
        )
