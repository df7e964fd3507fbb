"""Fork as C code does, which Python's own hooks don't hear of, and hear from the child."""

import ctypes
import faulthandler
import os
import pickle
import select
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
LONGEST_S = 100

#: An interpreter that hangs does so at once. One that is only slow is forked again in vain.
SOUND_WITHIN_S = 10
FORKS_MOST = 10

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
    nothing that could be tested. On a busy machine a thread may wait all the same: then
    `_sound_fork()` forks again.
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


def _sound_fork(fork: Fork) -> int:
    """Fork until the interpreter works in the child, which `_no_switch()` can't promise."""
    for _ in range(FORKS_MOST):
        sound, told_sound = os.pipe()
        told_go, go = os.pipe()
        pid = fork()
        if pid == 0:  # pragma: no cover  # runs in the child, where coverage doesn't look
            os.close(go)
            _hand_over_the_interpreter()
            os.write(told_sound, b".")
            if not os.read(told_go, 1):
                os._exit(0)  # the parent didn't wait
            for each in (sound, told_sound, told_go):
                os.close(each)
            return 0
        is_sound, _, _ = select.select([sound], [], [], SOUND_WITHIN_S)
        if is_sound:
            os.write(go, b".")
        else:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for each in (sound, told_sound, told_go, go):
            os.close(each)
        if is_sound:
            return pid
    raise AssertionError(f"the interpreter hung in each of {FORKS_MOST} children")


def _hand_over_the_interpreter() -> None:
    """Give the interpreter's lock to a thread and take it back, often enough to hang if it can."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    until = time.monotonic() + PAUSE_S

    def spin() -> None:
        while time.monotonic() < until:
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    spin()
    thread.join()
    sys.setswitchinterval(interval_s)


class Child:
    """A forked process that runs a function, and the result or error of it."""

    def __init__(self, function: Callable[[], Any], fork: Fork = fork_in_c) -> None:
        self._reader, writer = os.pipe()
        self.pid = _sound_fork(fork) if fork is fork_in_c else fork()
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
