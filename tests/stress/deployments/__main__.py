"""Run the application servers that are installed: `python -m tests.stress.deployments`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program
from tests.stress.deployments.running import DEPLOYMENTS, program_of, run


def main() -> int:
    """Print a line for each; 1 if any value was wrong, or if processes shared something."""
    parser = argparse.ArgumentParser(prog="tests.stress.deployments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(DEPLOYMENTS))
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--count", type=int, default=100, help="values in each way and request")
    given = parser.parse_args()
    is_bad = False
    for name in given.names or DEPLOYMENTS:
        if program_of(name) is None:
            sys.stdout.write(f"{name}: not installed\n")
            continue
        with (
            ServerProcess(find_program("redis")) as server,
            tempfile.TemporaryDirectory() as directory,
        ):
            outcome = run(
                name,
                server.url,
                Path(directory),
                processes=given.processes,
                requests=given.requests,
                count=given.count,
            )
        is_bad |= bool(outcome.wrong or outcome.shared or outcome.repeated)
        sys.stdout.write(f"{name}: {outcome}\n")
        sys.stdout.flush()
    return is_bad


if __name__ == "__main__":
    sys.exit(main())
