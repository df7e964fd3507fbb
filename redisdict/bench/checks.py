"""System check of the settings of the benchmarks. Nothing is connected.

This module is imported at every start of a project, so what it needs for its work is imported then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from redisdict.exceptions import ConfigurationError


def register_all() -> None:
    register(check_benchmarks, "redisdict")


def check_benchmarks(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Read REDISDICT_ADMIN as the admin would, and REDISDICT_BENCH as `redisbench` would."""
    checks = {"REDISDICT_ADMIN": _check_admin, "REDISDICT_BENCH": _check_services}
    return [
        message for name, check in checks.items() if hasattr(settings, name) for message in check()
    ]


def _check_admin() -> Iterator[CheckMessage]:
    from redisdict.bench.settings import may_run_benchmarks
    from redisdict.extras import install_command, is_installed

    try:
        is_on = may_run_benchmarks()
    except ConfigurationError as error:
        yield Error(str(error), id="redisdict.E003")
        return
    if is_on and not is_installed("bench"):
        yield Error(
            'REDISDICT_ADMIN["RUN_BENCHMARKS"] is True, but what runs benchmarks is not installed.',
            hint=f"Run {install_command('bench')}, or take the setting out.",
            id="redisdict.E003",
        )


def _check_services() -> Iterator[CheckMessage]:
    from redisdict.bench.settings import service_problems

    try:
        yield from (Error(problem, id="redisdict.E007") for problem in service_problems())
    except ConfigurationError as error:
        yield Error(str(error), id="redisdict.E007")
