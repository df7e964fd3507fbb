"""A very short run, for tests of what becomes of it.

Its rounds end it, and not its seconds, of which a busy machine needs many. On such a machine each
call waits for a CPU twice, so a block has few of them.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_short_spec"]

SHORT = """
preset = "quick"
placement = "same"
block_operations = 2
lead_in_operations = 1
batch_size = 10
key_count = 10
iteration_items = 30
latency_operations = 5
concurrency = [3]
connections = [2, 3]
[precision]
min_rounds = 8
max_rounds = 8
seconds = 600
server_starts = {server_starts}
"""


def write_short_spec(directory: Path, server_starts: int = 1) -> str:
    """Write what `--spec` reads: a run that doesn't look which placement suits a server."""
    path = directory / f"short_{server_starts}.toml"
    path.write_text(SHORT.format(server_starts=server_starts))
    return str(path)
