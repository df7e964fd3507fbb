"""Set the arguments of connections whose defaults aren't redis-py's."""

from __future__ import annotations

from functools import cache
from typing import Any

from redis.driver_info import DriverInfo
from redis.maint_notifications import MaintNotificationsConfig

from redisdict.version import __version__

__all__ = ["set_defaults"]

#: Arguments that tell redis-py how its connections introduce themselves.
INTRODUCTION = ("driver_info", "lib_name", "lib_version")


def set_defaults(arguments: dict[str, Any]) -> None:
    """Set those of the defaults that the arguments of a connection leave open.

    Maintenance notifications are off: only Redis Enterprise sends them, and every other server
    answers the request for them with an error.

    All connections share one introduction (CLIENT SETINFO). For each that gets none, redis-py looks
    up its own version in the metadata of its package, which takes longer than connecting does.
    """
    arguments.setdefault("maint_notifications_config", MaintNotificationsConfig(enabled=False))
    if not any(name in arguments for name in INTRODUCTION):
        arguments["driver_info"] = _introduction()


@cache
def _introduction() -> DriverInfo:
    return DriverInfo().add_upstream_driver("django-redisdict", __version__)
