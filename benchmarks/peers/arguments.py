"""The command line. Only the standard library, for the environment doesn't exist yet."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ROOT", "TABLES", "parse"]

ROOT = Path(__file__).resolve().parents[2]

#: What `--table` accepts: name -> what is measured.
TABLES = {
    "hash": "one call after the other, items in one HASH",
    "keys": "one call after the other, items in string keys",
    "bulk": "set and get 10,000 items at once, iterate over 100,000",
    "asyncio": "1 and 50 tasks on asyncio",
    "uvloop": "1 and 50 tasks on uvloop",
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; unknown ones end the program with a message."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Measure this package beside other clients and dicts, on a server that is"
        " started for it. Prints a Markdown report and draws a plot.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds: a first impression in some five minutes"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="rounds of the single calls (500; quick: 100)"
    )
    parser.add_argument(
        "--table",
        action="append",
        choices=TABLES,
        help="measure this table only; may be repeated. "
        + "; ".join(f"{name}: {what}" for name, what in TABLES.items()),
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "var" / "benchmarks",
        metavar="DIRECTORY",
        help="where peers.md and peers.svg go (default: var/benchmarks)",
    )
    parser.add_argument(
        "--environment",
        type=Path,
        default=ROOT / "var" / "benchmarks" / "environment",
        metavar="DIRECTORY",
        help="where the peers are installed, once (default: var/benchmarks/environment)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the data and of the order")
    return parser.parse_args(arguments)
