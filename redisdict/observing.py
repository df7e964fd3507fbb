"""Start the metrics that the settings name, and spans if redis-py's instrumentation is active.

It is imported at every start of a project, so it imports what it needs when a server is first used.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from redisdict.connections.starters import on_new_server
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
    chosen = getattr(settings, "REDISDICT_METRICS", ())
    is_list = isinstance(chosen, list | tuple | set | frozenset)
    if not is_list or not all(name in PACKAGES for name in chosen):
        raise ConfigurationError(
            f"REDISDICT_METRICS is {chosen!r}; a list of names is expected, each of which is"
            f" {' or '.join(map(repr, PACKAGES))}, such as ['prometheus']."
        )
    return tuple(chosen)
