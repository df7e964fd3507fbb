"""Make the environment, and measure inside it."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.peers.arguments import ROOT, parse
from benchmarks.peers.environment import ensure_environment


def main() -> int:
    """The exit status of the measurement."""
    options = parse()
    python = ensure_environment(options.environment, ROOT)
    command = [str(python), "-m", "benchmarks.peers.measure", *sys.argv[1:]]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environ, check=False).returncode  # noqa: S603 - our module


if __name__ == "__main__":
    sys.exit(main())
