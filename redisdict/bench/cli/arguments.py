"""The command line of `redisbench`."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, _ActionsContainer
from pathlib import Path

from redisdict.bench.placement import CHOICES
from redisdict.bench.report import FORMATS
from redisdict.bench.spec import EVENT_LOOPS, PRESETS, Table

__all__ = ["add_arguments"]


def add_arguments(parser: ArgumentParser) -> None:
    """The options of a run, and the subcommands."""
    _add_choice(parser)
    _add_method(parser)
    _add_report(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="other than measuring")
    services = actions.add_parser("services", help="what could be measured here, and from where")
    _add_addresses(services)
    listing = actions.add_parser("list", help="the saved runs")
    listing.add_argument("--limit", type=_count, default=20, help="so many (default: 20)")
    show = actions.add_parser("show", help="one saved run")
    show.add_argument("run", metavar="RUN", help="number, label, 'latest' or 'baseline'")
    _add_format(show, "table")
    compare = actions.add_parser("compare", help="what became faster or slower between two runs")
    compare.add_argument("before", metavar="RUN")
    compare.add_argument("after", metavar="RUN")
    _add_threshold(compare)
    export = actions.add_parser("export", help="a saved run as a file")
    export.add_argument("run", metavar="RUN")
    _add_format(export, "json")
    importing = actions.add_parser("import", help="a run from an exported JSON file")
    importing.add_argument("file", metavar="FILE", type=Path)
    prune = actions.add_parser("prune", help="delete old runs; baselines are kept")
    prune.add_argument("--keep", type=_count, required=True, help="keep so many of the latest")
    actions.add_parser("doctor", help="what disturbs measurements on this machine")
    selftest = actions.add_parser(
        "selftest", help="does it find a difference that is there, and none where there is none?"
    )
    selftest.add_argument("--runs", type=_count, default=1, help="default: 1")
    selftest.add_argument(
        "--seconds", type=_positive, default=60.0, help="at most, of a run (default: 60)"
    )
    selftest.add_argument(
        "--busy-neighbour", action="store_true", help="while another process works without pause"
    )


def _add_choice(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("what to measure")
    preset = group.add_mutually_exclusive_group()
    preset.add_argument(
        "--preset", choices=list(PRESETS), help="how long and how precisely (default: standard)"
    )
    preset.add_argument(
        "--quick", action="store_const", const="quick", dest="preset", help="under 30 seconds"
    )
    preset.add_argument("--spec", type=Path, metavar="FILE", help="a TOML file that says it all")
    group.add_argument("--service", action="append", default=[], metavar="NAME")
    group.add_argument("--mode", action="append", default=[], metavar="sync|async")
    group.add_argument("--pool", action="append", default=[], metavar="CLASS")
    group.add_argument("--operation", action="append", default=[], metavar="NAME")
    group.add_argument(
        "--table", action="append", default=[], metavar="NAME", help=", ".join(Table)
    )
    _add_addresses(parser)


def _add_addresses(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--url", action="append", default=[], metavar="NAME=URL", help="a server, by its address"
    )
    parser.add_argument(
        "--allow-remote", action="store_true", help="measure servers on other machines, too"
    )


def _add_method(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("how to measure")
    group.add_argument("--seconds", type=_positive, help="time for the rounds of all cells")
    group.add_argument("--seed", type=int, help="of orders, keys and values")
    group.add_argument("--placement", choices=CHOICES, help="client and server on CPUs")
    group.add_argument("--event-loop", choices=EVENT_LOOPS, help="of the asynchronous cells")
    group.add_argument("--value-bytes", type=_count, help="size of a value")
    group.add_argument("--batch-size", type=_count, help="SETs in one PIPE")
    group.add_argument(
        "--transaction", action="store_true", default=None, help="PIPE with MULTI and EXEC"
    )
    group.add_argument(
        "--rate",
        type=_positive,
        help="calls a second in the latency pass of SET and GET, timed from their intended start",
    )


def _add_report(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("what becomes of it")
    _add_format(group, "table")
    group.add_argument("--label", default="", help="a name to find the run by")
    group.add_argument("--no-save", action="store_true", help="don't use the database")
    group.add_argument("--resume", metavar="RUN", help="complete a run that was interrupted")
    group.add_argument(
        "--watched", action="store_true", help="keep the progress in the database, for the admin"
    )
    group.add_argument(
        "--mark-baseline", action="store_true", help="later runs are compared with this one"
    )
    group.add_argument("--baseline", metavar="RUN", help="compare with this run")
    _add_threshold(group)
    group.add_argument(
        "--strict", action="store_true", help="exit status 4 when it is too noisy to decide"
    )


def _add_format(parser: _ActionsContainer, default: str) -> None:
    parser.add_argument("--format", choices=list(FORMATS), default=default)
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")


def _add_threshold(parser: _ActionsContainer) -> None:
    parser.add_argument(
        "--fail-threshold",
        type=_percent,
        default=10.0,
        metavar="PERCENT",
        help="exit status 1 when a cell is slower by more (default: 10)",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} isn't a whole number of at least 1")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text!r} isn't a number above 0")
    return number


def _percent(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 100:
        raise ArgumentTypeError(f"{text!r} isn't a percentage from 0 to below 100")
    return number
