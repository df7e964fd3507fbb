import os
import re
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from types import SimpleNamespace
from typing import Literal

import pytest
import redis

from redisdict.servers import process
from redisdict.servers.process import (
    ServerProcess,
    ServerStartError,
    free_port,
    is_free,
    listens_on,
)
from redisdict.servers.programs import Family, Program
from tests.conftest import program_for_tests
from tests.servers.conftest import (
    ON_LINUX,
    PythonProcess,
    eventually,
    is_alive,
    processes_naming,
)

OWNER = """
import sys
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program

server = ServerProcess(find_program("valkey")).start()
print(server.pid, flush=True)
print(server.directory, flush=True)
"""

#: The thread that started it has ended.
THREADED_OWNER = """
import sys
from threading import Thread
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program

server = ServerProcess(find_program("valkey"))
starter = Thread(target=server.start)
starter.start()
starter.join()
print(server.pid, flush=True)
print(server.directory, flush=True)
sys.stdin.read()
"""

#: Is killed as soon as it has started its supervisor, or has asked for a server.
KILLED_OWNER = """
import os, subprocess, sys
from redisdict.servers import process, programs

def killed_after(function):
    def call(*arguments, **options):
        supervisor = function(*arguments, **options) or arguments[0]._process
        print(supervisor.pid, flush=True)
        os.kill(os.getpid(), 9)
    return call

valkey = programs.find_program("valkey")
if sys.argv[1] == "the supervisor":
    process.subprocess.Popen = killed_after(subprocess.Popen)
else:
    process._Supervisor._tell = killed_after(process._Supervisor._tell)
process.ServerProcess(valkey).start()
"""

#: Ends by itself, running what is registered with `atexit`, when its input ends.
PATIENT_OWNER = OWNER + "sys.stdin.read()"


@pytest.fixture(scope="module")
def valkey() -> Program:
    return program_for_tests("valkey")


@pytest.mark.parametrize("family", ["valkey", "redis"])
@pytest.mark.parametrize("listen", ["tcp", "unix"])
def test_a_server_answers_in_its_block_and_leaves_nothing_behind(
    family: Family, listen: Literal["tcp", "unix"]
) -> None:
    with ServerProcess(program_for_tests(family), listen=listen) as server:
        pid, directory = server.pid, server.directory
        with redis.Redis.from_url(server.url) as client:
            assert client.info("server")["process_id"] == pid
            assert client.config_get("save") == {"save": ""}
            assert client.config_get("appendonly") == {"appendonly": "no"}
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    assert not is_alive(pid)
    assert not directory.exists()


def test_a_socket_is_private_and_there_is_no_port(valkey: Program) -> None:
    with ServerProcess(valkey, listen="unix") as server, server.client() as client:
        assert server.socket_path is not None
        assert stat.S_IMODE(server.socket_path.stat().st_mode) == 0o700
        assert client.info("server")["tcp_port"] == 0


@pytest.mark.skipif(not ON_LINUX, reason="other systems have 127.0.0.1 alone on that interface")
def test_a_port_is_on_the_loopback_interface_only(valkey: Program) -> None:
    with ServerProcess(valkey) as server:
        # 127.0.0.2 stands for the other interfaces of this machine: a server on all would answer.
        with pytest.raises(ConnectionRefusedError), socket.socket() as other:
            other.connect(("127.0.0.2", server.port))


def test_a_port_is_not_given_twice_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is told one for TLS chooses its other one afterwards."""
    first, second = free_port(), free_port()
    process._given.clear()
    monkeypatch.setattr(process, "_random", SimpleNamespace(sample=lambda *_: [first, second]))
    assert [free_port(), free_port()] == [first, second]
    with pytest.raises(OSError, match="is free"):
        free_port()


def test_a_neighbour_on_the_port_is_noticed(
    valkey: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ServerProcess(valkey) as neighbour:
        ports = iter([neighbour.port, free_port()])
        monkeypatch.setattr(process, "free_port", lambda: next(ports))
        with ServerProcess(valkey) as server:
            assert server.port != neighbour.port
            with server.client() as client:
                assert client.info("server")["process_id"] == server.pid
        assert neighbour.is_running


def test_a_neighbour_that_does_not_speak_redis_is_noticed(
    valkey: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as neighbour:
        taken = neighbour.getsockname()[1]
        ports = iter([taken, free_port()])
        monkeypatch.setattr(process, "free_port", lambda: next(ports))
        with ServerProcess(valkey) as server:
            assert server.port != taken


@pytest.mark.skipif(not ON_LINUX, reason="read from /proc")
def test_the_system_tells_who_listens(valkey: Program) -> None:
    with ServerProcess(valkey) as server, ServerProcess(valkey) as other:
        assert listens_on(server.pid, server.port)
        assert not listens_on(server.pid, other.port)
        assert not is_free(server.port)
    assert is_free(server.port)


def test_a_server_that_does_not_start_is_quoted(valkey: Program) -> None:
    server = ServerProcess(valkey, arguments=["--maxmemory", "much"])
    with pytest.raises(ServerStartError, match=r"(?s)ended at once. It said:.*maxmemory"):
        server.start()
    assert not server.directory.exists()


def test_a_server_that_is_not_ready_in_time_is_ended(valkey: Program) -> None:
    # It takes connections, but refuses to say who it is.
    server = ServerProcess(valkey, arguments=["--requirepass", "unknown to the starter"])
    with pytest.raises(ServerStartError, match=r"was not ready within 0\.3 s"):
        server.start(timeout_s=0.3)
    assert not server.is_running
    assert not server.directory.exists()


def test_a_password_is_in_the_url_and_nowhere_else(valkey: Program) -> None:
    with ServerProcess(valkey, password="s3cr:t@/") as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        assert "s3cr" not in repr(server) + server.address + server.log


def test_after_a_crash_it_starts_again_on_the_same_port_with_its_data(valkey: Program) -> None:
    with ServerProcess(valkey, arguments=["--appendonly", "yes"]) as server:
        url = server.url
        with server.client() as client:
            client.set("key", "value")
        server.kill()
        assert not server.is_running
        server.start()
        assert server.url == url
        with server.client() as client:
            assert client.get("key") == b"value"


def test_a_hung_server_is_stopped_as_well(valkey: Program) -> None:
    with ServerProcess(valkey) as server:
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
    assert not is_alive(pid)


def test_a_server_never_started_leaves_nothing(valkey: Program) -> None:
    server = ServerProcess(valkey)
    assert server.directory.exists()
    assert "not running" in repr(server)
    with pytest.raises(ServerStartError, match="was not started"):
        _ = server.pid
    server.stop()
    assert not server.directory.exists()


def test_it_can_be_stopped_twice(valkey: Program) -> None:
    server = ServerProcess(valkey)
    server.start()
    for end in (server.stop, server.stop, server.terminate, server.kill):
        end()
    assert "not running" in repr(server)


@pytest.mark.parametrize("end", ["exit", signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_end_of_the_owner_is_the_end_of_the_server(
    python: Callable[..., PythonProcess], temporary: Path, end: str | signal.Signals
) -> None:
    owner = python(PATIENT_OWNER, temporary=temporary)
    server_pid, directory = int(owner.line()), Path(owner.line())
    assert is_alive(server_pid)
    assert directory.is_relative_to(temporary)

    if isinstance(end, signal.Signals):
        owner.end_by(end)
    else:
        assert owner.finish() == 0

    assert eventually(lambda: not is_alive(server_pid))
    assert eventually(lambda: list(temporary.iterdir()) == [])
    assert eventually(lambda: processes_naming(str(temporary)) == [])


@pytest.mark.parametrize(
    "end",
    [
        "os.execv('/bin/cat', ['cat'])",
        "os.closerange(3, 4096); sys.stdin.read()",  # as a daemon does
        "subprocess.Popen(['cat']); os._exit(0)",
        "os.fork() or (os.close(1), sys.stdin.read()); os._exit(0)",
        "os.abort()",
    ],
    ids=["another program", "closed descriptors", "a child program", "a fork", "abort"],
)
def test_another_program_a_daemon_and_children_are_no_owners(
    python: Callable[..., PythonProcess], temporary: Path, end: str
) -> None:
    owner = python(f"import os, subprocess\n{OWNER}{end}", temporary=temporary)
    server_pid = int(owner.line())
    assert eventually(lambda: not is_alive(server_pid))
    assert eventually(lambda: list(temporary.iterdir()) == [])


@pytest.mark.parametrize("what", ["the supervisor", "the server"])
def test_an_owner_killed_as_soon_as_it_has_started(
    python: Callable[..., PythonProcess], temporary: Path, what: str
) -> None:
    owner = python(KILLED_OWNER, what, temporary=temporary)
    pid = int(owner.line())
    assert owner.finish() == -signal.SIGKILL

    assert eventually(lambda: not is_alive(pid))
    assert eventually(lambda: processes_naming(str(temporary)) == [])
    assert eventually(lambda: list(temporary.iterdir()) == [])


@pytest.mark.skipif(not ON_LINUX, reason="other systems don't tell children of a parent's end")
@pytest.mark.parametrize("code", [PATIENT_OWNER, THREADED_OWNER], ids=["main thread", "thread"])
def test_the_kernel_ends_a_server_with_its_supervisor(
    python: Callable[..., PythonProcess], temporary: Path, code: str
) -> None:
    owner = python(code, temporary=temporary)
    server_pid, directory = int(owner.line()), Path(owner.line())
    kill_supervisor_of(directory)
    assert eventually(lambda: not is_alive(server_pid))
    assert owner.finish() == 0
    assert list(temporary.iterdir()) == []


def test_a_server_whose_supervisor_was_killed_does_not_run(valkey: Program) -> None:
    with ServerProcess(valkey) as server, ServerProcess(valkey) as other:
        kill_supervisor_of(server.directory)
        assert eventually(lambda: not server.is_running)
        with pytest.raises(ServerStartError, match="supervisor was killed"):
            server.launch()
        assert other.is_running
    assert not server.directory.exists()


def kill_supervisor_of(directory: Path) -> None:
    (pid,) = processes_naming(f"supervisor.py own {directory}")
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not is_alive(pid))


def test_a_forked_child_cannot_start_a_server_of_its_parent(
    valkey: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ServerProcess(valkey)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(server, "_owner_pid", os.getppid())
            with pytest.raises(ServerStartError, match=r"belongs to process \d+, .*a forked child"):
                server.start()
    finally:
        server.stop()


def test_what_survives_everything_is_cleared_by_the_next_run(
    python: Callable[..., PythonProcess], temporary: Path
) -> None:
    owner = python(THREADED_OWNER, temporary=temporary)
    server_pid, directory = int(owner.line()), Path(owner.line())
    (supervisor,) = processes_naming(f"supervisor.py own {directory}")
    # Held first, so that neither can tidy up after the other.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in (supervisor, owner.pid):
            os.kill(pid, number)
    owner.end_by(signal.SIGKILL)
    assert eventually(lambda: not is_alive(supervisor))
    assert directory.exists()

    next_owner = python(PATIENT_OWNER, temporary=temporary)
    next_pid = int(next_owner.line())

    assert not is_alive(server_pid)
    assert not directory.exists()
    assert is_alive(next_pid)
    assert next_owner.finish() == 0
    assert eventually(lambda: list(temporary.iterdir()) == [])


def test_another_run_leaves_the_servers_of_a_living_owner_alone(
    python: Callable[..., PythonProcess], temporary: Path
) -> None:
    first = python(PATIENT_OWNER, temporary=temporary)
    first_pid, first_directory = int(first.line()), Path(first.line())

    second = python(PATIENT_OWNER, temporary=temporary)
    second.line()
    assert second.finish() == 0

    assert is_alive(first_pid)
    assert first_directory.exists()
    assert first.finish() == 0  # before its directory goes, which says what is to be stopped


def test_a_forked_child_neither_stops_nor_keeps_the_server(
    python: Callable[..., PythonProcess], temporary: Path
) -> None:
    owner = python(
        OWNER
        + """
import os, time

if os.fork() == 0:
    server.stop()
    sys.exit()  # with all that is registered with atexit
os.wait()
print(server.is_running, flush=True)

survivor = os.fork()
if survivor == 0:
    os.close(0)
    os.close(1)
    time.sleep(60)
    os._exit(0)
print(survivor, flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
""",
        temporary=temporary,
    )
    server_pid, directory = int(owner.line()), Path(owner.line())
    assert owner.line() == "True"
    assert directory.exists()

    survivor = int(owner.line())
    try:
        owner.finish()
        assert is_alive(survivor)
        assert eventually(lambda: not is_alive(server_pid))
        assert eventually(lambda: list(temporary.iterdir()) == [])
    finally:
        os.kill(survivor, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["open to all", "a link"])
def test_a_directory_of_somebody_else_is_refused(
    python: Callable[..., PythonProcess], temporary: Path, kind: str
) -> None:
    root, elsewhere = temporary / f"redisdict-{os.getuid()}", temporary / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if kind == "a link":
        root.symlink_to(elsewhere)
    else:
        root.mkdir()
        root.chmod(0o777)

    owner = python(
        f"try:{indent(OWNER, ' ')}\nexcept Exception as e: print(e)", temporary=temporary
    )

    assert re.search(r"with mode 777. Remove it, or set TMPDIR", owner.line())
    assert list(elsewhere.iterdir()) == []
