"""Run computations in the background, bounded in number, and finish them before the process ends.

Work for threads is done by a few daemon threads, which end when they are idle. Work for tasks is a
task of the caller's event loop. If the loop ends before the task is done, the task is cancelled,
and a thread does the work from its beginning, in a loop of its own. If the loop is one of
`async_to_sync()`, which ends with the view, a thread does the work from the start.

At the end of the interpreter remaining work gets `EXIT_S` seconds; then it is given up, so that
another process may do it. A process that is killed leaves its leases, which end by themselves.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import thread as _registers_its_own_end_first  # noqa: F401
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext, async_to_sync
from django.db import connections
from django.utils import timezone, translation

from redisdict.connections.drivers import AsyncDriver, Driver
from redisdict.forks import on_fork, own, take_over
from redisdict.mapping.locks import Value, wait_in_task, wait_in_thread
from redisdict.wire.requests import Operation

logger = logging.getLogger("redisdict.background")

#: Threads at once, jobs that wait for one of them, and tasks at once.
MOST_THREADS: Final = 4
MOST_WAITING: Final = 100
MOST_TASKS: Final = 100

#: How long a thread waits for the next job before it ends.
IDLE_S: Final = 5.0

#: The longest time for which the interpreter's end is delayed: less than the 30 s that gunicorn
#: gives its workers.
EXIT_S: Final = 10.0


@dataclass(eq=False, kw_only=True)
class Job:
    """Work that goes on when its caller has left.

    Args:
        begin: makes the operation; called again when the work is handed over to a thread.
        give_up: makes the operation that frees what the job holds, when this process won't do it.
        end: called once, with the server's error that has ended the job, or None.
        driver, async_driver: run the operations.
        is_async: whether the async driver is used.
    """

    begin: Callable[[], Operation[None]]
    give_up: Callable[[], Operation[None]]
    end: Callable[[BaseException | None], None]
    driver: Driver
    async_driver: AsyncDriver
    is_async: bool = False
    loop: asyncio.AbstractEventLoop | None = None
    task: asyncio.Task[None] | None = None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    #: A thread doesn't see what Django keeps for a request, even in a copy of its context.
    language: str | None = field(default_factory=translation.get_language)
    timezone: Any = field(default_factory=timezone.get_current_timezone)

    def can_go_on(self) -> bool:
        """Return whether another thread or loop will work on it while this thread waits."""
        loop = self.loop
        return loop is None or (loop.is_running() and loop is not _running_loop())


class Colour(Protocol):
    """The way an operation waits and starts background work: in threads or in tasks."""

    def wait(self, value: Value, timeout_s: float) -> Any:
        """Wait for a value in flight.

        Raises:
            TimeoutError: it takes longer.
        """

    def start(self, job: Job) -> Any:
        """Begin a job; return false if there are too many already."""


class Background:
    """The jobs of this process."""

    def __init__(self) -> None:
        self.is_inline = False
        self._is_registered = False
        self._is_over = False
        self._renew()

    def _renew(self) -> None:
        """Forget the parent's jobs: a forked child has none of its threads."""
        self._changed = threading.Condition()
        self._jobs: set[Job] = set()
        self._waiting: deque[Job] = deque()
        self._threads = 0
        self._idle = 0

    def submit(self, job: Job) -> bool:
        """Let a thread do it; false if there is too much to do, or the interpreter ends."""
        with self._lock():
            if self._is_over or len(self._waiting) >= MOST_WAITING or not self._register():
                return False
            job.loop = job.task = None
            self._jobs.add(job)
            self._waiting.append(job)
            is_thread_needed = len(self._waiting) > self._idle and self._threads < MOST_THREADS
            self._threads += is_thread_needed
            self._changed.notify_all()
        return not is_thread_needed or self._start_thread(job)

    def _start_thread(self, job: Job) -> bool:
        """Start another thread; false when none can be had for the job."""
        try:
            threading.Thread(target=self._work, name="redisdict-background", daemon=True).start()
        except RuntimeError:  # the system has no more
            with self._changed:
                self._threads -= 1
                if self._threads or job not in self._waiting:
                    return True  # another does it
                self._waiting.remove(job)
                self._jobs.discard(job)
            return False
        return True

    def create_task(self, job: Job) -> bool:
        """Let a task of the running loop do it, or a thread if the loop is about to end."""
        job.is_async = True
        loop = asyncio.get_running_loop()
        if loop in AsyncToSync.loop_thread_executors:
            return self.submit(job)
        with self._lock():
            # Tasks of loops that were closed without ceremony will never end.
            self._jobs -= {each for each in self._jobs if each.loop and each.loop.is_closed()}
            tasks = sum(each.loop is not None for each in self._jobs)
            if tasks >= MOST_TASKS or self._is_over:
                return False
            job.loop = loop
            self._jobs.add(job)
        # A thread of its own for what the ORM does: that of the request ends with the request.
        ours = ThreadSensitiveContext()
        context = job.context.copy()
        context.run(SyncToAsync.thread_sensitive_context.set, ours)
        coroutine = self._run_in_task(job, ours)
        job.task = loop.create_task(coroutine, name="redisdict-background", context=context)
        return True

    def finish(self, timeout_s: float) -> bool:
        """Wait until nothing is left to do; return whether everything was finished in time."""
        with self._lock() as changed:
            changed.wait_for(lambda: not any(job.can_go_on() for job in self._jobs), timeout_s)
            return not self._jobs

    @contextmanager
    def _lock(self) -> Iterator[threading.Condition]:
        """Hold the lock of this process; its parent may have been forked while another held it."""
        if not own[0]:
            take_over()
        with self._changed:
            yield self._changed

    def _register(self) -> bool:
        """Let the end of the interpreter wait; false if that has begun."""
        if not self._is_registered:
            # Before the threads of executors are ended, which a job may need. What Python has for
            # the purpose, `atexit`, comes after that.
            try:
                threading._register_atexit(self._finish_at_exit)  # type: ignore[attr-defined]  # not in typeshed
            except RuntimeError:
                return False
            self._is_registered = True
        return True

    def _finish_at_exit(self) -> None:
        self.finish(EXIT_S)
        with self._changed:
            self._is_over = True
            left, waiting = list(self._jobs), list(self._waiting)
            self._waiting.clear()
        if left:
            logger.warning(
                "%d background computations hadn't finished at the end of this process.", len(left)
            )
        for job in left:
            with suppress(Exception):  # the time limit of its lease is what remains
                job.driver.run(job.give_up())
        for job in waiting:  # for a thread that it doesn't get any more
            self._end(job, None)

    def _work(self) -> None:
        """Do one job after the other, in a thread of its own."""
        while (job := self._next()) is not None:
            try:
                job.context.copy().run(self._run_in_thread, job)
            except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
                with suppress(Exception):  # as at exit
                    job.driver.run(job.give_up())
                self._end(job, error)
            else:
                self._end(job, None)

    def _next(self) -> Job | None:
        changed = self._changed
        with changed:
            self._idle += 1
            changed.wait_for(lambda: self._waiting, IDLE_S)
            self._idle -= 1
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None

    def _run_in_thread(self, job: Job) -> None:
        try:
            with translation.override(job.language), timezone.override(job.timezone):
                if job.is_async:
                    async_to_sync(job.async_driver.run)(job.begin())
                else:
                    job.driver.run(job.begin())
        finally:
            connections.close_all()  # those of this thread

    async def _run_in_task(self, job: Job, context: ThreadSensitiveContext) -> None:
        try:
            await job.async_driver.run(job.begin())
        except asyncio.CancelledError:
            if not self.submit(job):
                with suppress(Exception):  # as at exit
                    await job.async_driver.run(job.give_up())
                self._end(job, None)
            raise
        except GeneratorExit:  # the loop was closed without ceremony, and nothing can be awaited
            self._end(job, None)
            raise
        except BaseException as error:  # noqa: BLE001  # passed on, not swallowed
            with suppress(Exception):  # as at exit
                await job.async_driver.run(job.give_up())
            self._end(job, error)
        else:
            self._end(job, None)
        finally:
            executor: Any = SyncToAsync.context_to_thread_executor.pop(context, None)
            if executor is not None:
                executor.submit(connections.close_all)
                executor.shutdown(wait=False)

    def _end(self, job: Job, error: BaseException | None) -> None:
        job.end(error)
        with self._changed:
            self._jobs.discard(job)
            self._changed.notify_all()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class InThreads(Colour):
    """Wait by blocking the thread, and have jobs done by others."""

    wait = staticmethod(wait_in_thread)

    def start(self, job: Job) -> bool:
        if not BACKGROUND.is_inline:
            return BACKGROUND.submit(job)
        job.driver.run(job.begin())
        job.end(None)
        return True


class InTasks(Colour):
    """Wait in the event loop, and have jobs done by its tasks."""

    wait = staticmethod(wait_in_task)

    def start(self, job: Job) -> Any:
        return self._start_inline(job) if BACKGROUND.is_inline else BACKGROUND.create_task(job)

    async def _start_inline(self, job: Job) -> bool:
        await job.async_driver.run(job.begin())
        job.end(None)
        return True


BACKGROUND: Final = Background()
on_fork(lambda: BACKGROUND._renew())
IN_THREADS: Final = InThreads()
IN_TASKS: Final = InTasks()


def finish_background(timeout: float = EXIT_S) -> bool:
    """Wait until this process computes nothing in the background; return whether it finished.

    For processes that skip the interpreter's normal end (`os._exit()`), and for tests. The normal
    end does it by itself. It can't wait for tasks of the event loop that runs in the calling
    thread: `afinish_background()` does.

    Args:
        timeout: seconds.
    """
    return BACKGROUND.finish(timeout)


async def afinish_background(timeout: float = EXIT_S) -> bool:
    """As `finish_background()`, for tasks."""
    return await asyncio.to_thread(BACKGROUND.finish, timeout)
