"""Fork as C code does, which Python's own hooks don't hear of, and hear from the child."""

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["FORKS", "Child", "Fork", "fork_in_c", "fork_in_python"]

Fork = Callable[[], int]

#: A child that hangs is ended by then.
LONGEST_S = 30

#: Longer than a fork takes.
SWITCH_S = 0.5

#: For other threads to do what they have to, and wait for something else than the interpreter.
PAUSE_S = 0.05


def fork_in_c() -> int:
    """Fork without `os.register_at_fork`; the lock of the interpreter is kept meanwhile."""
    # Held by a thread that is just starting, it would stay so, and no child could start another.
    with threading._active_limbo_lock, _no_switch():  # type: ignore[attr-defined]  # Python's own
        pid: int = ctypes.PyDLL(None).fork()
    return pid


@contextmanager
def _no_switch() -> Iterator[None]:
    """Keep other threads from asking for the interpreter's lock.

    A child that begins with such a request gives the lock away and waits for the thread that has
    asked to take it, which isn't there. Nor may a thread wait for the lock at the fork: in the
    child the C library waits for it to leave. So C code that forks in Python's threads' midst is
    nothing that could be tested.
    """
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        time.sleep(PAUSE_S)  # those that wait already have their turn
        yield
    finally:
        sys.setswitchinterval(interval_s)


def fork_in_python() -> int:
    """Fork with Python's own hooks; its warning that there are threads is known here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


#: By how a test calls them.
FORKS = {"C": fork_in_c, "Python": fork_in_python}


class Child:
    """A forked process that runs a function, and the result or error of it."""

    def __init__(self, function: Callable[[], Any], fork: Callable[[], int] = fork_in_c) -> None:
        self._reader, writer = os.pipe()
        self.pid = fork()
        if self.pid == 0:  # pragma: no cover  # runs in the child, where coverage doesn't look
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout's is the parent's
            # Says where it hangs, also where it waits for the interpreter itself.
            faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
            signal.alarm(LONGEST_S)
            try:
                try:
                    answer = True, function()
                except BaseException:  # noqa: BLE001  # told to the parent
                    answer = False, traceback.format_exc()
                with os.fdopen(writer, "wb") as pipe:
                    pickle.dump(answer, pipe)
            finally:
                os._exit(0)
        os.close(writer)

    def result(self) -> Any:
        """What the function gave, once the child has ended."""
        with os.fdopen(self._reader, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, f"the child ended with {status}"
        is_well, answer = pickle.loads(told)
        assert is_well, answer
        return answer
