"""A very short run, and a server that is not its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program
from tests.bench.short import write_short_spec


@pytest.fixture
def spec(tmp_path: Path) -> str:
    return write_short_spec(tmp_path)


@pytest.fixture
def spec_of_two_starts(tmp_path: Path) -> str:
    return write_short_spec(tmp_path, server_starts=2)


@pytest.fixture
def other_server() -> Iterator[ServerProcess]:
    """A server that belongs to somebody else, with a key of theirs."""
    with ServerProcess(find_program("valkey")) as server:
        with server.client() as client:
            client.set("theirs", "1")
        yield server
