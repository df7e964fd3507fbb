"""Start the metrics that the settings name, and spans if redis-py's instrumentation is active.

It is imported at every start of a project, so it imports what it needs when a server is first used.
"""

from __future__ import annotations

from collections.abc import Sequence

from redisdict.conf import plain_text, read_setting
from redisdict.connections.starters import on_new_server
from redisdict.described import described
from redisdict.exceptions import ConfigurationError

#: The package that each exporter in REDISDICT_METRICS needs.
PACKAGES = {"prometheus": "prometheus_client", "opentelemetry": "opentelemetry"}


def begin() -> None:
    """Call `start()` before a server is first used."""
    on_new_server(start)


def start() -> None:
    """Start the metrics that the setting names, and follow the instrumentation of redis-py.

    Raises:
        ConfigurationError: the setting names something else, or a package is missing.
    """
    from redisdict import metrics
    from redisdict.instrumentation import follow_redis

    for name in chosen_exporters():
        if name == "prometheus":
            metrics.start_prometheus()
        else:
            metrics.start_opentelemetry()
    follow_redis()


def chosen_exporters() -> Sequence[str]:
    """Read REDISDICT_METRICS: which exporters it names.

    Raises:
        ConfigurationError: it is no list of them.
    """
    with read_setting("REDISDICT_METRICS", ()) as chosen:
        expected = (
            "a list of names is expected, each of which is"
            f" {' or '.join(map(repr, PACKAGES))}, such as ['prometheus']."
        )
        if not isinstance(chosen, list | tuple | set | frozenset):
            raise ConfigurationError(f"REDISDICT_METRICS is {described(chosen)}; {expected}")
        for name in chosen:
            if not (isinstance(name, str) and name in PACKAGES):
                raise ConfigurationError(
                    f"REDISDICT_METRICS has the item {described(name)}; {expected}"
                )
        return tuple(map(plain_text, chosen))
