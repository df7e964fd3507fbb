"""Name the function that carries out each action of `redisbench`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.core.management.base import OutputWrapper

from redisdict.bench.cli import inspect
from redisdict.bench.cli.ab import compare_sides
from redisdict.bench.cli.output import Options
from redisdict.bench.cli.run import measure

ACTIONS: Mapping[str | None, Callable[[Options, OutputWrapper, OutputWrapper], int]] = {
    None: measure,
    "services": inspect.show_services,
    "list": inspect.list_runs,
    "show": inspect.show_run,
    "compare": inspect.compare_runs,
    "ab": compare_sides,
    "export": inspect.export_run,
    "import": inspect.import_run,
    "baseline": inspect.make_baseline,
    "prune": inspect.prune_runs,
    "doctor": inspect.doctor,
    "selftest": inspect.run_selftest,
}
