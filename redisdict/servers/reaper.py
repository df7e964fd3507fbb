"""Ends servers whose owner is gone, and removes their directories.

Every process that starts servers (the owner) keeps their directories in one directory of its own
and holds a lock on a file in it for as long as it lives; the kernel lets the lock go however the
process ends. This file is the other side: as a module it clears away what earlier owners left, as
a program it waits for one owner's end and does so at once, or (`serve`) turns into a server.

An owner can be killed between any two steps, so each step is noted before it is made:

- the reaper is started before the owner's directory is made, and waits for the lock of the root
  directory, which the owner holds until its own lock is taken;
- a server is noted by the process that becomes it, before it does. It becomes one only if the
  owner's lock file is still there *after* it is noted; and whoever clears up removes that file
  *before* looking for notes. So either the note is found, or nothing is started;
- a directory of an owner without a lock file is one that somebody was killed in making or
  clearing, since both are done under the root's lock. The next to come clears it.

`prctl(PR_SET_PDEATHSIG)` is the second line, for a reaper that is killed as well. It can't be the
first: it exists on Linux alone, and fires when the starting *thread* ends; so a server gets it
only from a main thread.

It is started by path with `python -I -S`, so it imports nothing but the standard library and is
there within 30 ms.
"""

import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OWNER_LOCK = "owner.lock"
_ROOT_LOCK = ".lock"
_RECORD = "process.json"
_END_TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG = 1

#: How a directory of an owner is named: its process's number, and something random.
_OWNER_NAME = re.compile(r"\d+-.+")


def write_record(directory: Path, pid: int, program: str) -> None:
    """Note which process serves from that directory, so that it is known again later."""
    seen = _describe(pid)
    if seen is None:
        return
    draft = directory / f"{_RECORD}.draft"
    draft.write_text(json.dumps({"pid": pid, "started": seen[0], "program": program}))
    draft.replace(directory / _RECORD)


def recorded_process(directory: Path) -> int | None:
    """The process that `write_record` noted there, if it still runs, else None.

    The number of a process is given out again after its end, so the process counts as the same
    only when it also started at the same time and still runs the same program.
    """
    try:
        record = json.loads((directory / _RECORD).read_text())
        pid, started, program = int(record["pid"]), record["started"], record["program"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    seen = _describe(pid)
    if seen is None or seen[0] != started:
        return None
    # For a moment of its becoming another program, a process has no command line.
    return None if seen[1] and program not in seen[1] else pid


def end_recorded_process(directory: Path) -> None:
    """SIGKILL the process noted in that directory and its children, and see it gone."""
    deadline = time.monotonic() + _END_TIMEOUT_S
    while (pid := recorded_process(directory)) is not None and time.monotonic() < deadline:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # as it leads a session, also what saves its data
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


@contextmanager
def locked_root(root: Path) -> Iterator[None]:
    """Hold the lock of the directory that all owners of this user share; it is made if missing.

    The last one to leave removes the directory, so the lock only counts when it was taken on the
    file that is still at that path. Raises `PermissionError` when the directory is somebody
    else's: the temporary directory is open to everybody.
    """
    while True:
        root.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            refuse_foreign(root)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(root / _ROOT_LOCK, flags, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), (root / _ROOT_LOCK).stat()):
                    break
            os.close(lock)
    try:
        yield
    finally:
        if [entry.name for entry in root.iterdir()] == [_ROOT_LOCK]:
            (root / _ROOT_LOCK).unlink()
            root.rmdir()
        # Unlock, because a child that was forked meanwhile has the same open file.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def refuse_foreign(root: Path) -> None:
    status = root.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(
            f"{root} must be a directory that only this user (uid {os.getuid()}) can open, but it "
            f"belongs to uid {status.st_uid} with mode {stat.S_IMODE(status.st_mode):o}. "
            "Remove it, or set TMPDIR to another directory."
        )


def clear_ended_owners(root: Path) -> None:
    """Clear away what owners left that have ended. The caller holds the root's lock."""
    for directory in root.iterdir():
        try:
            lock = os.open(directory / OWNER_LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            if _OWNER_NAME.fullmatch(directory.name):
                clear_owner(directory)
            continue
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            clear_owner(directory)
        finally:
            os.close(lock)


def clear_owner(directory: Path) -> None:
    """End every server of one owner and remove the owner's directory."""
    # From here on no process becomes a server, and each that may become one is noted.
    (directory / OWNER_LOCK).unlink(missing_ok=True)
    for record in directory.glob(f"*/{_RECORD}"):
        end_recorded_process(record.parent)
    shutil.rmtree(directory, ignore_errors=True)


def _describe(pid: int) -> tuple[str, str] | None:
    """When a process started and its command line; None when there is no such process."""
    if sys.platform == "linux":
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        # The name, in parentheses, may hold spaces and parentheses itself.
        state, *fields = status[status.rindex(")") + 2 :].split()
        return None if state == "Z" else (f"{boot} {fields[18]}", command)
    listing = subprocess.run(  # noqa: S603 - fixed words and a number
        ["/bin/ps", "-o", "lstart=", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    ).stdout
    lstart_width = len("Mon Jan  1 00:00:00 2026")
    return (listing[:lstart_width], listing[lstart_width:]) if listing.strip() else None


def watch(directory: Path) -> None:
    """Wait until the owner of that directory is gone, then clear up after it."""
    with locked_root(directory.parent):  # until the owner is through with making it
        try:
            lock = os.open(directory / OWNER_LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # it has cleared up itself, or was killed before it could
            clear_ended_owners(directory.parent)
            return
    fcntl.flock(lock, fcntl.LOCK_EX)
    if directory.exists():
        with locked_root(directory.parent):
            clear_owner(directory)


def serve(directory: Path, owner: int, command: list[str]) -> None:
    """Note this process in that directory, then turn it into the server, which keeps its number.

    `owner` is the process to end with, by the kernel; 0 for one that didn't start this from its
    main thread, or whose system can't. Doesn't return if the server is to run.
    """
    if owner and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != owner:
            return  # it was gone before the kernel was told
    with suppress(FileNotFoundError):  # the directory went with its owner
        write_record(directory, os.getpid(), Path(command[0]).name)
    if not (directory.parent / OWNER_LOCK).exists():
        (directory / _RECORD).unlink(missing_ok=True)
        with locked_root(directory.parent.parent):  # who clears up may have come before the note
            clear_owner(directory.parent)
        return
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and so would the server
    os.execv(command[0], command)  # noqa: S606 - the program that the owner chose


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        watch(Path(sys.argv[2]))
    else:
        serve(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
