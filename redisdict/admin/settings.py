"""The `REDISDICT_ADMIN` setting, and the system check of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from redisdict.exceptions import ConfigurationError

__all__ = ["check_setting", "may_run_benchmarks"]


def may_run_benchmarks() -> bool:
    """Whether runs can be started from the admin: `REDISDICT_ADMIN = {"RUN_BENCHMARKS": True}`.

    Off by default, because a run takes a CPU of the web server and starts servers there.

    Raises:
        ConfigurationError: the setting is something else than such a dict.
    """
    configured = getattr(settings, "REDISDICT_ADMIN", {})
    if not isinstance(configured, Mapping) or set(configured) - {"RUN_BENCHMARKS"}:
        raise ConfigurationError(
            f"REDISDICT_ADMIN is {configured!r}; a dict with the one key 'RUN_BENCHMARKS' is"
            ' expected, such as {"RUN_BENCHMARKS": True}.'
        )
    value: Any = configured.get("RUN_BENCHMARKS", False)
    if not isinstance(value, bool):
        raise ConfigurationError(
            f'REDISDICT_ADMIN["RUN_BENCHMARKS"] is {value!r}; True or False is expected.'
        )
    return value


@register("redisdict")
def check_setting(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Read the setting as the first page would, for `manage.py check`."""
    try:
        may_run_benchmarks()
    except ConfigurationError as error:
        return [Error(str(error), id="redisdict.E003")]
    return []
