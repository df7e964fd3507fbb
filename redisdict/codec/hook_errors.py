"""What was raised inside a hook that ormsgpack called.

ormsgpack replaces any exception of a hook, `KeyboardInterrupt` and a worker's time limit included,
with an error of its own that has neither cause nor context. So a hook leaves its exception here and
the caller of ormsgpack picks it up.
"""

from threading import local


class HookErrors(local):
    """The innermost exception of the hooks of one thread, until it is taken."""

    _error: BaseException | None = None

    def keep(self, error: BaseException) -> None:
        """Remember an exception, unless one from deeper inside is remembered already."""
        if self._error is None:
            self._error = error

    def take(self) -> BaseException | None:
        """Return the remembered exception and forget it."""
        error, self._error = self._error, None
        return error


hook_errors = HookErrors()
