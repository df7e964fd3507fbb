"""Parse the command line of `redisbench`."""

from __future__ import annotations

from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    RawDescriptionHelpFormatter,
    _ActionsContainer,
)
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from textwrap import fill
from typing import Any, TypeVar

from django.core.management.base import DjangoHelpFormatter

from redisdict.bench.calibration import LEAST_RUNS
from redisdict.bench.choices import Table
from redisdict.bench.errors import EXIT_STATUSES
from redisdict.bench.measure.placement import CHOICES
from redisdict.bench.operations import OPERATION_NAMES
from redisdict.bench.report import FORMATS
from redisdict.bench.selection import POOL_NAMES
from redisdict.bench.spec import EVENT_LOOPS, PRESETS


class _Help(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Django's, which puts its general options last, with the lines of the examples kept."""


RUN_HELP = "number, label, 'latest' or 'baseline'"

EXAMPLES = """\
examples:
  manage.py redisbench --quick
  manage.py redisbench --service valkey --mode async --operation get --operation set
  manage.py redisbench --table concurrency --concurrency 50 --connections 5
  manage.py redisbench --operation "MIX 80/20" --operation "GET zipf"
  manage.py redisbench --label before; …; manage.py redisbench --baseline before
  manage.py redisbench ab HEAD~1 .

exit status:
"""


Number = TypeVar("Number", int, float)


def _number(
    kind: Callable[[str], Number], is_fit: Callable[[Number], bool], expected: str
) -> Callable[[str], Number]:
    """Make a parser of numbers that refuses what doesn't fit."""

    def parse(text: str) -> Number:
        with suppress(ValueError):
            if is_fit(number := kind(text)):
                return number
        raise ArgumentTypeError(f"{text!r} isn't {expected}")

    return parse


_count = _number(int, lambda number: number >= 1, "a whole number of at least 1")
_runs = _number(
    int, lambda number: number >= LEAST_RUNS, f"a whole number of at least {LEAST_RUNS}"
)
_positive = _number(float, lambda number: 0 < number < float("inf"), "a number above 0")
_percent = _number(float, lambda number: 0 <= number < 100, "a percentage from 0 to below 100")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of a run, and the subcommands."""
    parser.usage = "%(prog)s [OPTION ...]\n       %(prog)s ACTION [OPTION ...]"
    parser.formatter_class = _Help
    parser.epilog = EXAMPLES + "".join(
        fill(
            f"{status}: {meaning.replace('`', '')}",
            width=100,
            initial_indent="  ",
            subsequent_indent="     ",
        )
        + "\n"
        for status, meaning in EXIT_STATUSES.items()
    )
    _add_choice(parser)
    _add_method(parser)
    _add_report(parser)
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", title="actions, instead of measuring", prog=parser.prog
    )
    services = actions.add_parser("services", help="what could be measured here, and from where")
    _add_addresses(services)
    listing = actions.add_parser("list", help="the saved runs")
    listing.add_argument(
        "--limit", type=_count, default=20, metavar="N", help="the latest N (default: 20)"
    )
    show = actions.add_parser("show", help="one saved run, in any format")
    show.add_argument("run", metavar="RUN", help=RUN_HELP)
    _add_format(show, "table")
    compare = actions.add_parser("compare", help="what became faster or slower between two runs")
    compare.add_argument("before", metavar="BEFORE", help=RUN_HELP)
    compare.add_argument("after", metavar="AFTER", help="the later run")
    _add_threshold(compare)
    _add_verbose(compare)
    _add_ab(actions.add_parser("ab", help="two things in turn in one run: did it become faster?"))
    export = actions.add_parser("export", help="a saved run as a file, for another project")
    export.add_argument("run", metavar="RUN", help=RUN_HELP)
    _add_format(export, "json")
    importing = actions.add_parser("import", help="save a run from a file that `export` wrote")
    importing.add_argument("file", metavar="FILE", type=Path, help="JSON")
    baseline = actions.add_parser("baseline", help="make a saved run the one that 'baseline' names")
    baseline.add_argument("run", metavar="RUN", help=RUN_HELP)
    prune = actions.add_parser("prune", help="delete old runs; baselines and calibrations are kept")
    prune.add_argument(
        "--keep", type=_count, required=True, metavar="N", help="keep the latest N runs"
    )
    doctor = actions.add_parser(
        "doctor", help="what disturbs measurements on this machine, and how fast it is at best"
    )
    doctor.add_argument(
        "--calibrate",
        type=_runs,
        metavar="RUNS",
        help="measure by so many equal runs, 20 seconds each, how much equal runs differ on this"
        " machine; later comparisons take that into account",
    )
    _add_selftest(
        actions.add_parser("selftest", help="does it find a known difference, and no others?")
    )


def _add_ab(parser: ArgumentParser) -> None:
    text = (
        "a commit, the directory of a checkout or a virtual environment, settings such as"
        ' "SERIALIZER=json", a service, or an address'
    )
    parser.add_argument("a", metavar="A", help=text)
    parser.add_argument(
        "b", metavar="B", help="the side that is compared with it, given in the same ways"
    )
    _repeatable(parser, "--call", "NAME", "only this call, repeatable; a wrong name lists all")
    parser.add_argument(
        "--seconds", type=_positive, metavar="S", help="time for the whole run (default: 55)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the order of turns")
    parser.add_argument(
        "--allow-remote", action="store_true", help="allow servers on other machines"
    )
    _add_format(parser, "table")
    parser.add_argument("--label", default="", metavar="TEXT", help="a name to find the run by")
    parser.add_argument("--no-save", action="store_true", help="don't use the database")
    _add_threshold(parser)


def _add_selftest(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", type=_count, default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=60.0,
        metavar="S",
        help="the longest that a run may take (default: 60)",
    )
    parser.add_argument(
        "--busy-neighbour", action="store_true", help="while another process works without pause"
    )


def _add_choice(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "what to measure",
        "Everything that is available here is measured, unless something is chosen.",
    )
    preset = group.add_mutually_exclusive_group()
    preset.add_argument(
        "--preset",
        choices=list(PRESETS),
        help="how long and how precisely; with three services quick takes half a minute, standard"
        " (the default) some minutes, rigorous half an hour",
    )
    preset.add_argument(
        "--quick", action="store_const", const="quick", dest="preset", help="--preset quick"
    )
    preset.add_argument("--spec", type=Path, metavar="FILE", help="a TOML file with all of this")
    for name, metavar, known in (
        (
            "--service",
            "NAME",
            "redis, keydb, dragonfly, valkey, sentinel, cluster, or the title of a --url",
        ),
        ("--mode", "MODE", "sync or async"),
        ("--pool", "CLASS", ", ".join(POOL_NAMES)),
        ("--operation", "NAME", ", ".join(OPERATION_NAMES)),
        ("--table", "NAME", ", ".join(Table)),
    ):
        _repeatable(group, name, metavar, f"only this, repeatable: {known}")
    for name, text in (
        ("--concurrency", "threads or tasks that call at once"),
        ("--connections", "size of the pool that they share"),
        ("--value-bytes", "size of values; of several sizes each value has one"),
    ):
        _repeatable(group, name, "N", f"{text}; repeatable", type=_count)
    group.add_argument("--items", type=_count, metavar="N", help="items that an iteration reads")
    group.add_argument("--batch-size", type=_count, metavar="N", help="SETs in one PIPE")
    group.add_argument(
        "--transaction", action="store_true", default=None, help="PIPE with MULTI and EXEC"
    )
    group.add_argument(
        "--rate",
        type=_positive,
        metavar="N",
        help="SET and GET N times a second in the latency pass, timed from their intended start",
    )
    _add_addresses(group)


def _repeatable(group: _ActionsContainer, name: str, metavar: str, text: str, **kind: Any) -> None:
    group.add_argument(name, action="append", default=[], metavar=metavar, help=text, **kind)


def _add_addresses(group: _ActionsContainer) -> None:
    text = 'a server by its address, such as "Mine=redis://127.0.0.1:6379/0"; repeatable'
    _repeatable(group, "--url", "NAME=URL", text)
    group.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow servers on other machines; a benchmark loads them heavily",
    )


def _add_method(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("how to measure")
    group.add_argument(
        "--seconds",
        type=_positive,
        metavar="S",
        help="time for the rounds of all cells; with less of it, servers are started less often"
        " and fewer single calls are timed",
    )
    group.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="seed of the random order of cells, and of keys and values",
    )
    group.add_argument(
        "--placement",
        choices=CHOICES,
        help="client and server on one CPU (same), on two (split), where the system puts them"
        " (free), or on one CPU except for servers that are much slower there (auto, the"
        " default)",
    )
    group.add_argument(
        "--event-loop",
        choices=EVENT_LOOPS,
        help="event loop of the asynchronous cells (default: asyncio)",
    )


def _add_report(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("what becomes of it")
    _add_format(group, "table")
    group.add_argument("--label", default="", metavar="TEXT", help="a name to find the run by")
    group.add_argument("--no-save", action="store_true", help="don't use the database")
    group.add_argument("--resume", metavar="RUN", help="complete a run that was interrupted")
    group.add_argument(
        "--watched", action="store_true", help="keep the progress in the database, for the admin"
    )
    group.add_argument(
        "--mark-baseline", action="store_true", help="make this run the one that 'baseline' names"
    )
    group.add_argument("--baseline", metavar="RUN", help="compare with this run")
    _add_threshold(group)
    group.add_argument(
        "--strict", action="store_true", help="exit with status 4 if it is too noisy to decide"
    )


def _add_format(parser: _ActionsContainer, default: str) -> None:
    parser.add_argument(
        "--format", choices=list(FORMATS), default=default, help=f"default: {default}"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="a file instead of standard output"
    )
    _add_verbose(parser)


def _add_verbose(parser: _ActionsContainer) -> None:
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="all tables, verdicts, warnings and notes on the method",
    )


def _add_threshold(parser: _ActionsContainer) -> None:
    parser.add_argument(
        "--fail-threshold",
        type=_percent,
        default=10.0,
        metavar="PERCENT",
        help="exit with status 1 if a cell is slower by more than this (default: 10)",
    )
