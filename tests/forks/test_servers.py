"""Servers of a process whose children Python doesn't know of."""

import os
from pathlib import Path

import pytest

from redisdict.servers.embedded import accepts, ensure_server, stop_server
from redisdict.servers.process import ServerProcess, _stop_all
from tests.conftest import program_for_tests
from tests.forks.forking import Child, Fork


def test_the_end_of_a_child_is_not_the_end_of_a_server(fork: Fork) -> None:
    with ServerProcess(program_for_tests("valkey"), listen="unix") as server:

        def live() -> None:
            server.stop()
            server.kill()
            _stop_all()  # what runs at its exit
            assert not server.is_running

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
                return own.directory

        assert Child(live, fork).result() != server.directory
        with server.client() as client:
            assert client.ping()


def test_a_child_that_has_closed_its_descriptors_closes_nobody_elses(fork: Fork) -> None:
    with ServerProcess(program_for_tests("valkey"), listen="unix") as server:
        number = server._supervisor._connection

        def live() -> bool:
            other = os.open(os.devnull, os.O_RDONLY)
            os.dup2(other, number)
            is_running = server.is_running
            os.fstat(number)
            return is_running

        assert not Child(live, fork).result()
        assert server.is_running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_an_embedded_server_is_shared(home: Path, fork: Fork) -> None:
    address = ensure_server(home, linger_s=0.1)
    assert Child(lambda: ensure_server(home), fork).result() == address
    assert accepts(address)
    assert ensure_server(home) == address
    assert stop_server(home)
