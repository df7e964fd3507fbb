"""Measures this checkout beside another one, such as the commit before, in one interleaved run.

    git worktree add ../before main
    python -m benchmarks.against ../before

Each checkout is a process of its own, and the other one runs twice: what its two copies differ by
(A/A) is the noise. Processes of one program differ for as long as they live, so new ones are
started again and again, and the ratio is shown with the least and the greatest of a generation.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.against.contender import Contender, Turn
from benchmarks.peers.target import Server, started_server
from redisdict.bench.measure.placement import SAME, choose_cpus, pinned_client
from redisdict.bench.measure.rounds import Rounds, Series, ratio_between
from redisdict.bench.spec import Precision

ROOT = Path(__file__).resolve().parents[2]

THIS, OTHER, TWIN = "this", "other", "other (A/A)"

#: By generation, by call, by contender.
Measured = list[dict[str, dict[str, Series]]]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.against",
        description="Measure this checkout beside another one, and print ratios as Markdown.",
    )
    parser.add_argument("other", type=Path, metavar="CHECKOUT", help="the root of the other one")
    parser.add_argument("--rounds", type=int, default=60, help="of each generation (60)")
    parser.add_argument("--generations", type=int, default=6, help="of processes (6)")
    parser.add_argument(
        "--call", action="append", help="measure this one only; may be repeated (all of them)"
    )
    options = parser.parse_args()
    other = options.other.resolve()
    if not (other / "redisdict" / "__init__.py").exists():
        parser.error(f"{options.other} is no checkout: it has no redisdict/__init__.py.")
    cpus = choose_cpus(SAME)
    with pinned_client(cpus.client if cpus else None), started_server(cpus) as server:
        measured = [
            _generation(server, other, number, options.rounds, options.call or ())
            for number in range(options.generations)
        ]
    for line in table(measured):
        print(line)
    return 0


def _generation(
    server: Server, other: Path, number: int, rounds: int, wanted: Sequence[str]
) -> dict[str, dict[str, Series]]:
    """The series of each call, over processes that are started for them."""
    rng = random.Random(number)  # noqa: S311  # an order
    places = [(THIS, ROOT), (OTHER, other), (TWIN, other)]
    rng.shuffle(places)
    server.empty()
    with ExitStack() as stack:
        contenders = {
            name: stack.enter_context(
                Contender.of_checkout(name, checkout, server.new_target().url)
            )
            for name, checkout in places
        }
        everywhere = [
            call
            for call in contenders[THIS].calls
            if all(call in each.calls for each in contenders.values())
        ]
        if unknown := set(wanted) - set(everywhere):
            raise SystemExit(f"No such call: {', '.join(unknown)}. There are {everywhere}.")
        found: dict[str, dict[str, Series]] = {}
        for call in wanted or everywhere:
            turns = [Turn(contender, call, server.pid) for contender in contenders.values()]
            series = Rounds(
                turns,
                {},
                Precision(min_rounds=rounds, max_rounds=rounds, seconds=3600),
                rng=rng,
                clock=time.perf_counter_ns,
            ).run()
            found[call] = {cell.service: each for cell, each in series.items()}
        print(f"generation {number + 1}", file=sys.stderr)
        return found


def table(measured: Measured) -> Iterator[str]:
    """The speed of this checkout, and of the other one's copy, where the other one's is 1."""
    yield f"| call | speed of {THIS}, {OTHER} = 1 | of {TWIN} |"
    yield "|---|---:|---:|"
    for call in measured[0]:
        yield f"| {call} | {_ratio(measured, call, THIS)} | {_ratio(measured, call, TWIN)} |"


def _ratio(measured: Measured, call: str, name: str) -> str:
    own, other = Series(), Series()
    ratios = []
    for generation in measured:
        pair = generation[call][name], generation[call][OTHER]
        for series in pair:
            if series.failure is not None:
                return f"failed: {series.failure.reason}"
        ratio = ratio_between(*pair)
        ratios += [ratio.value] if ratio is not None else []
        own.extend(pair[0])
        other.extend(pair[1])
    whole = ratio_between(own, other)
    if whole is None:
        return "never placed alike"
    return f"{whole.value:.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


if __name__ == "__main__":
    sys.exit(main())
