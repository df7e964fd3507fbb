"""Real servers for the tests, started once per session and shared; nothing is ever flushed.

Tests share servers, so each takes its keys under a `key_prefix` of its own.
"""

import asyncio
import gc
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.utils import translation

from redisdict.servers import process, programs
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Family, Program, ProgramMissing, find_program
from redisdict.servers.topologies import ClusterTopology, SentinelTopology
from tests.depth import mark_repeated_combinations, register_profiles
from tests.missing import end_without
from tests.modelcache.postgres import has_postgres

# Before Hypothesis loads the one that its option names.
register_profiles()


def pytest_configure() -> None:
    # A shell starts what it puts in the background with SIGINT ignored, and so would be every
    # program that a test starts in order to interrupt it.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _keep_bytecode()
    _take_own_ports()


# Before pytest leaves out what its option -m doesn't name.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [] if is_installed("redis") else ["redis"]
    mark_repeated_combinations(items, missing if has_postgres() else [*missing, "postgres"])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the tests that were collected out of garbage collections, for they are there to stay.

    They are a million objects. Each collection that looks at all of them takes half a second, and
    a benchmark makes one before every cell.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, which the README's command has."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.order import LongFilesBesideOthers

    return LongFilesBesideOthers(config, log)


def _keep_bytecode() -> None:
    """Where Python is told to write none, each of the programs of tests would compile all anew."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _take_own_ports() -> None:
    """Share the ports out among workers: none takes that of a server which another restarts."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        ports, share = process._PORTS, int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        process._PORTS = ports[int(worker.removeprefix("gw")) :: share]


def program_for_tests(family: Family) -> Program:
    """The program, or the end of the test: a skip on a developer's machine, a failure in CI."""
    try:
        return find_program(family)
    except ProgramMissing as error:
        end_without(error)


def address_of(family: Family) -> str | None:
    """Where the environment says that such a server is."""
    return os.environ.get(f"REDISDICT_TEST_{family.upper()}")


def is_installed(family: Family) -> bool:
    try:
        find_program(family)
    except ProgramMissing:
        return False
    return True


#: Those of the servers that no package brings of which there is one, to parametrize tests by.
UNPACKAGED: list[Family] = [
    family for family in ("keydb", "dragonfly") if address_of(family) or is_installed(family)
]


@contextmanager
def unpackaged_server(family: Family) -> Iterator[str]:
    """The server at the address from the environment, or one started from the program on PATH."""
    address = address_of(family)
    if address is not None:
        yield address
        return
    with ServerProcess(program_for_tests(family)) as server:
        yield server.url


@pytest.fixture
def packaged_servers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without KeyDB and Dragonfly, whether or not this one has them."""
    on_path = programs._on_path

    def look(family: Family) -> Program | None:
        return None if family in ("keydb", "dragonfly") else on_path(family)

    monkeypatch.setattr(programs, "_on_path", look)


@pytest.fixture(scope="session", autouse=True)
def database_of_tests(django_db_setup: None) -> None:
    """The tests' database is there before any thread has a connection.

    One that a thread of asgiref's got earlier would lead to an empty database for good.
    """


@pytest.fixture(autouse=True)
def no_language_is_left() -> Iterator[None]:
    """A page that was asked for in a language leaves that to its thread."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def no_repair_is_left() -> Iterator[None]:
    """What a test's lost server was to be told is given up with it.

    A thread would try for ever, and later tests count its commands among their own.
    """
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("redisdict: repair of "):
            repair = getattr(thread, "_target", None)  # gone once it has ended
            if repair is not None:
                outages = repair.__self__
                with outages._lock:
                    outages._under_way.clear()
                    outages._told = outages._untold


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ServerProcess]:
    """A Valkey 9 on a unix socket; everything of RESP3 and field expiry."""
    with ServerProcess(program_for_tests("valkey"), listen="unix") as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[ServerProcess]:
    """A Redis on a TCP port; Debian's 7.0 has no field expiry."""
    with ServerProcess(program_for_tests("redis"), listen="tcp") as server:
        yield server


@pytest.fixture(scope="session")
def valkey_url(valkey_server: ServerProcess) -> str:
    return valkey_server.url


@pytest.fixture(scope="session")
def redis_url(redis_server: ServerProcess) -> str:
    return redis_server.url


@pytest.fixture(scope="session")
def keydb_url() -> Iterator[str]:
    with unpackaged_server("keydb") as url:
        yield url


@pytest.fixture(scope="session")
def dragonfly_url() -> Iterator[str]:
    with unpackaged_server("dragonfly") as url:
        yield url


@pytest.fixture(scope="session", params=["redis", "valkey", *UNPACKAGED])
def server_url(request: pytest.FixtureRequest) -> str:
    """The test runs once against each of the two servers, and those of no package that are here."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def sentinel() -> Iterator[SentinelTopology]:
    """A primary, two replicas and three sentinels, for tests that leave all of them running."""
    with SentinelTopology(program_for_tests("valkey")) as topology:
        yield topology


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterTopology]:
    """A Cluster of three primaries, for tests that leave all of them running.

    A node that hangs for a moment, by a test or on a busy machine, isn't taken for lost.
    """
    with ClusterTopology(program_for_tests("valkey"), node_timeout_ms=100_000) as topology:
        yield topology


@pytest.fixture(params=["sync", "async"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner | None]:
    """Runs the coroutines of a test in one loop; None where it is about sync."""
    if request.param == "sync":
        yield None
        return
    with asyncio.Runner() as running:
        yield running


@pytest.fixture
def key_prefix() -> str:
    """A prefix that no other test, nor another run on the same server, has."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def alias_for(key_prefix: str) -> Callable[..., dict[str, Any]]:
    """Makes the dict of one alias, with this test's key prefix: `alias_for(url, TIMEOUT=5)`."""

    def make(url: str, **settings: object) -> dict[str, Any]:
        return {"LOCATION": url, "KEY_PREFIX": key_prefix, **settings}

    return make
