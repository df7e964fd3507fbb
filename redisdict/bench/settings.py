"""Read the settings of the benchmarks, `REDISDICT_BENCH` and `REDISDICT_ADMIN`.

`manage.py check` reads them in every project that has them, so no more is imported than that takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from redisdict import conf
from redisdict.conf import plain_text, read_setting, refuse_unknown
from redisdict.connections.locations import parse_location
from redisdict.described import described, quoted
from redisdict.exceptions import ConfigurationError
from redisdict.suggestions import nearest

#: The services that runs measure, by key, with the titles of the report and in its order.
SERVICES: Mapping[str, str] = {
    "redis": "Standard Redis",
    "keydb": "KeyDB",
    "dragonfly": "Dragonfly",
    "valkey": "Valkey",
    "sentinel": "Redis Sentinel",
    "cluster": "Redis Cluster",
}

#: An example of the whole setting, for errors.
EXAMPLE = '{"SERVICES": {"redis": "redis://127.0.0.1:6379/0"}}'


def configured_services() -> Mapping[str, str]:
    """Read `REDISDICT_BENCH["SERVICES"]`: for each service a URL, or the name of an alias.

    Raises:
        ConfigurationError: it is something else, or has unknown names. Whether an address can be
            used is left to `service_problems()`.
    """
    with read_setting("REDISDICT_BENCH", {}) as configured:
        refuse_unknown("REDISDICT_BENCH", configured, ["SERVICES"], f"such as {EXAMPLE}")
        services = configured.get("SERVICES", {})
        where = 'REDISDICT_BENCH["SERVICES"]'
        refuse_unknown(where, services, SERVICES, f"such as {EXAMPLE} in REDISDICT_BENCH")
        for key, value in services.items():
            if not isinstance(value, str):
                raise ConfigurationError(
                    f'{where}["{key}"] is {type(value).__name__}; a URL, or the name of an alias of'
                    ' REDISDICT, is expected, such as "redis://127.0.0.1:6379/0".'
                )
        return {plain_text(key): plain_text(value) for key, value in services.items()}


def service_problems() -> Iterator[str]:
    """Find the configured services whose address can't be used, and say why. Connects nothing.

    A wrong address of an alias is left out: the check of REDISDICT reports it.

    Raises:
        ConfigurationError: as `configured_services()`.
    """
    for key, value in configured_services().items():
        try:
            address_of(key, value)
        except ConfigurationError as error:
            if "://" in value or value not in _aliases():
                yield str(error)


def address_of(key: str, value: str) -> str:
    """Find the address of a configured service: its own, or that of the alias it names.

    Raises:
        ConfigurationError: it isn't an address, there is no such alias, or that has no address.
    """
    where = f'REDISDICT_BENCH["SERVICES"]["{key}"]'
    if "://" in value:
        parse_location(value, where)
        return value
    aliases = _aliases()
    if value not in aliases:
        close = nearest(value, aliases)
        hint = f"did you mean {close!r}?" if close else "give one of the two."
        raise ConfigurationError(
            f"{where} is {described(value)}, neither a URL such as redis://127.0.0.1:6379/0 nor an"
            f" alias of REDISDICT; {hint}"
        )
    location = conf.get_alias(value).location
    if location is None:
        raise ConfigurationError(
            f"{where} is {described(value)}, an alias that borrows its pool from CACHES; give the"
            " URL of that server."
        )
    parse_location(location, f'REDISDICT[{quoted(value)}]["LOCATION"]')
    return location


def may_run_benchmarks() -> bool:
    """Return whether the admin may start runs: `REDISDICT_ADMIN = {"RUN_BENCHMARKS": True}`.

    Off by default, because a run takes a CPU of the web server and starts servers there.

    Raises:
        ConfigurationError: the setting is something else than such a dict.
    """
    with read_setting("REDISDICT_ADMIN", {}) as configured:
        example = 'such as {"RUN_BENCHMARKS": True}'
        refuse_unknown("REDISDICT_ADMIN", configured, ["RUN_BENCHMARKS"], example)
        value: Any = configured.get("RUN_BENCHMARKS", False)
        if not isinstance(value, bool):
            raise ConfigurationError(
                f'REDISDICT_ADMIN["RUN_BENCHMARKS"] is {described(value)}; True or False is'
                " expected."
            )
        return value


def _aliases() -> tuple[str, ...]:
    try:
        return conf.aliases()
    except ConfigurationError:
        return ()
