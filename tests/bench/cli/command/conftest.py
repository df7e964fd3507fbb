"""A very short run, and a server that is not its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program

#: Its rounds end it, and not its seconds, of which a busy machine needs many.
SHORT = """
preset = "quick"
key_count = 10
iteration_items = 30
latency_operations = 20
concurrency = [3]
connections = [2, 3]
[precision]
min_rounds = 8
max_rounds = 8
seconds = 600
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "short.toml"
    path.write_text(SHORT)
    return str(path)


@pytest.fixture
def other_server() -> Iterator[ServerProcess]:
    """A server that belongs to somebody else, with a key of theirs."""
    with ServerProcess(find_program("valkey")) as server:
        with server.client() as client:
            client.set("theirs", "1")
        yield server
