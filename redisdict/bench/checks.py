"""System checks of the settings of the benchmarks. Nothing is connected."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error

from redisdict.bench.settings import may_run_benchmarks, service_problems
from redisdict.exceptions import ConfigurationError
from redisdict.extras import install_command, is_installed


def check_all() -> Iterator[CheckMessage]:
    """Read REDISDICT_ADMIN as the admin would, and REDISDICT_BENCH as `redisbench` would."""
    yield from _check_admin()
    try:
        yield from (Error(problem, id="redisdict.E007") for problem in service_problems())
    except ConfigurationError as error:
        yield Error(str(error), id="redisdict.E007")


def _check_admin() -> Iterator[CheckMessage]:
    try:
        is_on = may_run_benchmarks()
    except ConfigurationError as error:
        yield Error(str(error), id="redisdict.E003")
        return
    if is_on and not is_installed("bench"):
        yield Error(
            'REDISDICT_ADMIN["RUN_BENCHMARKS"] is True, but the packages that benchmarks need'
            " aren't installed.",
            hint=f"Run {install_command('bench')}, or take the setting out.",
            id="redisdict.E003",
        )
