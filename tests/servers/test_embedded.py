import os
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from redisdict.exceptions import BackendUnavailable, ConfigurationError
from redisdict.servers import embedded, supervisor
from redisdict.servers.embedded import ensure_server, stop_server
from redisdict.servers.programs import ProgramMissing
from tests.servers.conftest import ON_LINUX, PythonProcess, eventually, is_alive, processes_naming
from tests.waiting import LIMIT_S

USER = """
import os, sys, time
import redis
from redisdict.servers.embedded import ensure_server

HOME = sys.argv[1]

def server_pid():
    path = ensure_server(HOME, linger_s=float(sys.argv[2]) if sys.argv[2:] else 0.2)
    with redis.Redis(unix_socket_path=str(path)) as client:
        client.incr("users")
        return client.info("server")["process_id"]

print(server_pid(), flush=True)
"""

#: Uses the server until its input ends.
PATIENT_USER = USER + "sys.stdin.read()"

Users = Callable[..., PythonProcess]


@pytest.fixture
def home(temporary: Path) -> Iterator[Path]:
    """A directory for an embedded server that doesn't exist yet; the server ends with the test."""
    directory = temporary / "valkey"
    yield directory
    stop_server(directory)
    assert eventually(lambda: processes_naming(str(directory)) == [])


def server_of(path: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(path))


def server_pid(home: Path) -> int:
    with server_of(ensure_server(home, linger_s=2)) as client:
        pid: int = client.info("server")["process_id"]
        return pid


def test_it_is_ready_at_once_and_stays_the_same(home: Path) -> None:
    began = time.perf_counter()
    path = ensure_server(home, timeout_s=2 * LIMIT_S)
    assert time.perf_counter() - began < LIMIT_S  # it hasn't waited for its time to run out
    with server_of(path) as client:
        pid = client.info("server")["process_id"]

    assert ensure_server(home) == path
    assert ensure_server(str(home)) == path
    assert server_pid(home) == pid


def test_nobody_else_can_open_anything_of_it(home: Path) -> None:
    previous = os.umask(0)
    try:
        path = ensure_server(home)
    finally:
        os.umask(previous)
    with server_of(path) as client:
        client.set("key", "value")
        assert client.info("server")["tcp_port"] == 0
        assert client.config_get("bind") == {"bind": "127.0.0.1"}

    modes = {entry: stat.S_IMODE(entry.lstat().st_mode) for entry in [home, *home.rglob("*")]}
    assert len(modes) > 6
    assert {entry: oct(mode) for entry, mode in modes.items() if mode & 0o077} == {}
    assert modes[home] == modes[path] == 0o700


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.deep), 6])
def test_processes_that_start_at_once_share_one_server(
    python: Users, home: Path, count: int
) -> None:
    users = [python(PATIENT_USER, home) for _ in range(count)]

    assert len({user.line() for user in users}) == 1
    with server_of(ensure_server(home)) as client:
        assert client.get("users") == str(count).encode()
    assert [user.finish() for user in users] == [0] * count


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_data_survive_the_end_of_the_server(home: Path, end: signal.Signals) -> None:
    with server_of(ensure_server(home)) as client:
        client.set("key", "value")
    first = server_pid(home)
    os.kill(first, end)
    assert eventually(lambda: not is_alive(first))

    with server_of(ensure_server(home)) as client:
        assert client.get("key") == b"value"
    assert server_pid(home) != first


@pytest.mark.parametrize(
    "end", ["exit", pytest.param(signal.SIGTERM, marks=pytest.mark.deep), signal.SIGKILL]
)
def test_the_server_ends_after_its_last_user(
    python: Users, home: Path, end: str | signal.Signals
) -> None:
    first, second = python(PATIENT_USER, home), python(PATIENT_USER, home)
    pid = int(first.line())
    second.line()

    first.end_by(signal.SIGKILL)
    assert not eventually(lambda: not is_alive(pid), within_s=0.6)

    if isinstance(end, signal.Signals):
        second.end_by(end)
    else:
        second.finish()
    assert eventually(lambda: processes_naming(str(home)) == [])
    assert not is_alive(pid)
    assert not (home / "valkey.sock").exists()
    with server_of(ensure_server(home)) as client:
        assert client.get("users") == b"2"


def test_a_user_that_comes_in_the_last_moment_keeps_the_server(python: Users, home: Path) -> None:
    for linger_s in (0.2, 1, 5, 25):  # on a busy machine the last moment may be over by then
        first = python(PATIENT_USER, home, linger_s)
        pid = int(first.line())
        first.finish()
        if server_pid(home) == pid:
            break
        stop_server(home)
    assert not eventually(lambda: not is_alive(pid), within_s=linger_s + 0.4)
    assert server_pid(home) == pid


@pytest.mark.parametrize(
    "delays_s",
    [
        (0.18, 0.2, 0.22),
        pytest.param((0.15, 0.18, 0.19, 0.2, 0.21, 0.22, 0.25), marks=pytest.mark.deep),
    ],
    ids=["some", "many"],
)
def test_a_user_that_comes_while_the_server_ends_gets_a_new_one(
    python: Users, home: Path, delays_s: tuple[float, ...]
) -> None:
    """Several times in a row, so that newcomers meet moments of the end."""
    for delay_s in delays_s:
        user = python(PATIENT_USER, home)
        user.line()
        user.finish()
        time.sleep(delay_s)
    with server_of(ensure_server(home)) as client:
        assert client.get("users") == str(len(delays_s)).encode()


def test_the_end_of_a_forked_child_is_not_the_end_of_the_server(python: Users, home: Path) -> None:
    parent = python(
        USER
        + """
for leave in (os._exit, sys.exit):
    if os.fork() == 0:
        server_pid()
        leave(0)
    os.wait()
time.sleep(0.6)
print(server_pid(), flush=True)
""",
        home,
    )
    assert parent.line() == parent.line()
    parent.finish()


def test_a_forked_child_that_outlives_its_parent_keeps_the_server(
    python: Users, home: Path
) -> None:
    parent = python(
        USER
        + """
if os.fork():
    os._exit(0)
sys.stdin.read()
""",
        home,
    )
    pid = int(parent.line())
    assert not eventually(lambda: not is_alive(pid), within_s=0.8)
    parent.close_input()
    assert eventually(lambda: not is_alive(pid))


def test_a_daemon_that_closed_its_descriptors_attaches_again(python: Users, home: Path) -> None:
    daemon = python(
        USER
        + """
os.closerange(3, 256)
other = os.open("/dev/null", os.O_RDONLY)  # the number may be that of the lock before
print(server_pid(), flush=True)
sys.stdin.read()
""",
        home,
    )
    daemon.line()
    pid = int(daemon.line())
    assert not eventually(lambda: not is_alive(pid), within_s=0.6)
    daemon.finish()


def test_a_directory_made_anew_gets_a_new_server(home: Path) -> None:
    first = server_pid(home)
    shutil.rmtree(home)
    second = server_pid(home)
    assert second != first
    assert eventually(lambda: not is_alive(first))
    assert is_alive(second)


@pytest.mark.skipif(not ON_LINUX, reason="other systems don't tell children of a parent's end")
def test_the_server_ends_with_its_supervisor(home: Path) -> None:
    pid = server_pid(home)
    (watcher,) = set(processes_naming(f"supervisor.py share {home}")) - {pid}
    os.kill(watcher, signal.SIGKILL)
    assert eventually(lambda: not is_alive(pid))
    assert server_pid(home) != pid


def test_what_a_crash_of_everything_leaves_is_no_obstacle(home: Path) -> None:
    path = ensure_server(home)
    with server_of(path) as client:
        client.set("key", "value")
    # Held first, so that neither can tidy up after the other.
    crashing = {server_pid(home), *processes_naming(f"supervisor.py share {home}")}
    assert len(crashing) == 2
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in crashing:
            os.kill(pid, number)
    assert eventually(lambda: not any(map(is_alive, crashing)))
    assert path.is_socket()

    with server_of(ensure_server(home)) as client:
        assert client.get("key") == b"value"


def test_a_directory_that_goes_while_the_server_starts_leaves_no_server(home: Path) -> None:
    """As when the starter is killed, and whoever made the directory removes it."""
    home.mkdir()
    with pytest.raises(BackendUnavailable, match=r"the directory was removed meanwhile"):
        embedded._start(home, None, 0.1, time.monotonic() + 30)
    assert eventually(lambda: processes_naming(str(home)) == [])  # it tells before it ends


def test_stopping_by_hand_keeps_the_data_and_the_next_use_starts_it(home: Path) -> None:
    first = server_pid(home)
    with server_of(ensure_server(home)) as client:
        client.set("key", "value")

    assert stop_server(home) is True
    assert not is_alive(first)
    assert stop_server(home) is False

    with server_of(ensure_server(home)) as client:
        assert client.get("key") == b"value"


def test_a_hung_server_can_be_stopped(home: Path) -> None:
    pid = server_pid(home)
    os.kill(pid, signal.SIGSTOP)
    assert stop_server(home, timeout_s=0.3) is True
    assert not is_alive(pid)


def test_a_server_that_only_accepts_is_busy(home: Path) -> None:
    path = ensure_server(home)
    pid = server_pid(home)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert supervisor.ping(path, timeout_s=0.1) == "busy"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert supervisor.ping(path) == "ready"
    assert supervisor.ping(home / "nothing") == "nobody"


def test_a_path_too_long_for_a_socket_works(temporary: Path) -> None:
    home = temporary / ("long" * 30) / "valkey"
    try:
        path = ensure_server(home)
        assert not path.is_relative_to(home)
        assert len(bytes(path)) <= 103
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with server_of(path) as client:
            assert client.config_get("dir") == {"dir": str(home)}
        assert ensure_server(home) == path
    finally:
        assert stop_server(home)
    assert not path.parent.exists()


def test_processes_with_other_temporary_directories_find_the_socket(
    python: Users, temporary: Path
) -> None:
    home = temporary / ("long" * 30) / "valkey"
    (temporary / "a").mkdir()
    (temporary / "b").mkdir()
    users = [python(PATIENT_USER, home, temporary=temporary / name) for name in "ab"]
    try:
        assert users[0].line() == users[1].line()
    finally:
        stop_server(home)


def test_git_leaves_the_data_out(home: Path) -> None:
    ensure_server(home)
    stop_server(home)
    assert (home / ".gitignore").read_text() == "*\n"


def test_a_gitignore_that_is_there_stays(home: Path) -> None:
    home.mkdir()
    (home / ".gitignore").write_text("dump.rdb\n")
    ensure_server(home)
    stop_server(home)
    assert (home / ".gitignore").read_text() == "dump.rdb\n"


def test_a_directory_with_other_files_is_refused(temporary: Path) -> None:
    (temporary / "manage.py").touch()
    mode = temporary.stat().st_mode
    with pytest.raises(ConfigurationError, match=r"other files in it, such as 'manage\.py'"):
        ensure_server(temporary)
    assert temporary.stat().st_mode == mode


def test_an_empty_directory_is_taken_and_made_private(home: Path) -> None:
    home.mkdir(mode=0o755)
    ensure_server(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_file_is_refused(temporary: Path) -> None:
    (temporary / "file").touch()
    with pytest.raises(ConfigurationError, match="Name a directory that this user can make"):
        ensure_server(temporary / "file")
    with pytest.raises(ConfigurationError, match="can't be used"):
        ensure_server(temporary / "file" / "below")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user_is_refused(temporary: Path) -> None:
    os.chown(temporary, 65534, 65534)
    with pytest.raises(ConfigurationError, match="belongs to uid 65534"):
        ensure_server(temporary)


def test_a_server_that_cannot_read_its_data_is_quoted(home: Path) -> None:
    ensure_server(home)
    assert stop_server(home)
    (manifest,) = (home / "appendonlydir").glob("*.manifest")
    manifest.write_text("nonsense\n")

    with pytest.raises(BackendUnavailable, match=r"(?s)didn't start: .*ended at once.*AOF"):
        ensure_server(home)


def test_a_server_that_takes_too_long_is_not_waited_for(home: Path) -> None:
    with pytest.raises(BackendUnavailable, match="not ready in time and is still starting"):
        ensure_server(home, timeout_s=0.001)
    ensure_server(home)  # the same server, or another if that one gave up


def test_the_program_can_be_chosen_and_has_to_be_a_server(temporary: Path, home: Path) -> None:
    with pytest.raises(ProgramMissing, match="is not an executable file"):
        ensure_server(home, program=temporary / "missing")
    dragonfly = temporary / "dragonfly"
    dragonfly.write_text("#!/bin/sh\necho dragonfly v1.40.1\n")
    dragonfly.chmod(0o755)
    with pytest.raises(ConfigurationError, match="no append-only file"):
        ensure_server(home, program=dragonfly)
