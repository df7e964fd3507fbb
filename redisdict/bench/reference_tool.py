"""What `redis-benchmark` says of the same server, where it is installed, to be put beside ours.

It is written in C and sends from one thread over many connections, so it shows what the server can
do and a Python client can't ask for.
"""

from __future__ import annotations

import csv
import shutil
import subprocess

__all__ = ["redis_benchmark"]

REQUESTS = 20_000

TIMEOUT_S = 60


def redis_benchmark(port: int, connections: int, value_bytes: int) -> dict[str, float] | None:
    """Operations a second for SET and GET on a server of this machine, over so many connections.

    None where the program isn't installed or doesn't work with this server.
    """
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if program is None:
        return None
    command = [program, "-h", "127.0.0.1", "-p", str(port), "-c", str(connections)]
    command += ["-n", str(REQUESTS), "-d", str(value_bytes), "-r", "100", "-t", "set,get", "--csv"]
    try:
        output = subprocess.run(  # noqa: S603 - a known program and numbers
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    rows = csv.DictReader(output.splitlines())
    return {row["test"]: float(row["rps"]) for row in rows if row.get("rps")} or None
