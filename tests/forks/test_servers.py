"""Servers of a process whose children Python doesn't know of."""

import os
from pathlib import Path

import pytest

from redisdict.servers import ledger
from redisdict.servers.embedded import ensure_server, stop_server
from redisdict.servers.process import ServerProcess, _stop_all
from redisdict.servers.sockets import accepts
from tests.conftest import program_for_tests
from tests.forks.forking import Child, Fork


def test_the_end_of_a_child_is_not_the_end_of_a_server(fork: Fork) -> None:
    with ServerProcess(program_for_tests("valkey"), listen="unix") as server:

        def live() -> None:
            server.stop()
            server.kill()
            _stop_all()  # what runs at its exit
            ledger.discard_directory(server.directory)

        Child(live, fork).result()
        assert server.is_running
        assert server.directory.exists()
        with server.client() as client:
            assert client.ping()


def test_a_server_of_the_childs_is_not_the_parents(fork: Fork) -> None:
    with ServerProcess(program_for_tests("valkey"), listen="unix") as server:

        def live() -> Path:
            with ServerProcess(program_for_tests("valkey"), listen="unix") as own:
                with own.client() as client:
                    client.ping()
                return own.directory.parent

        assert Child(live, fork).result() != server.directory.parent
        with server.client() as client:
            assert client.ping()


def test_a_child_that_has_closed_its_descriptors_closes_nobody_elses(fork: Fork) -> None:
    with ServerProcess(program_for_tests("valkey"), listen="unix"):
        session = ledger._session
        assert session is not None
        number = session.lock

        def live() -> bool:
            other = os.open(os.devnull, os.O_RDONLY)
            os.dup2(other, number)
            ledger.discard_directory(Path("none"))
            os.fstat(number)
            return ledger._session is None

        assert Child(live, fork).result()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_an_embedded_server_is_shared(home: Path, fork: Fork) -> None:
    address = ensure_server(home, linger_s=0.1)
    assert Child(lambda: ensure_server(home), fork).result() == address
    assert accepts(address)
    assert ensure_server(home) == address
    assert stop_server(home)
