"""System checks: of the settings always, of the servers when asked.

`manage.py check` looks at the settings alone. `manage.py check --tag redisdict_server`, or
`--deploy`, also asks every configured server whether it could lose the dicts' data.

This module is imported at every start of a project, so what it needs for its work is imported then.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from redisdict import conf
from redisdict.exceptions import ConfigurationError

__all__ = ["SERVER_TAG", "register_all"]

SERVER_TAG = "redisdict_server"


def register_all() -> None:
    register(check_settings, "redisdict")
    register(check_caches, "redisdict")
    register(check_model_dicts, "redisdict")
    register(check_servers_for_the_tag, SERVER_TAG)
    register(check_servers_at_deployment, SERVER_TAG, deploy=True)


def check_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Read REDISDICT as the first use would, without connecting."""
    try:
        aliases = conf.aliases()
    except ConfigurationError as error:
        return [Error(str(error), id="redisdict.E001")]
    from redisdict.check_rules import check_alias

    return [message for alias in aliases for message in check_alias(alias)]


def check_caches(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Read the entries of CACHES that are this package's, if there are any."""
    caches = getattr(settings, "CACHES", None) or {}
    # Django's own are the common case, which costs no import.
    backends = [str(entry.get("BACKEND")) for entry in caches.values() if isinstance(entry, dict)]
    if all(backend.startswith(("django.", "django_redis.")) for backend in backends):
        return []
    from redisdict.cache.checks import check_caches as check_all

    return list(check_all())


def check_model_dicts(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Look at the models that have a `ModelDict`, if there are any."""
    if "redisdict.modelcache.model_dict" not in sys.modules:
        return []
    from redisdict.modelcache.checks import check_cached_models

    return check_cached_models(app_configs, **options)


def check_servers_for_the_tag(app_configs: Any, **_: Any) -> list[CheckMessage]:
    return check_servers() if _is_tag_asked_for(sys._getframe(1)) else []


def check_servers_at_deployment(app_configs: Any, **_: Any) -> list[CheckMessage]:
    # With the tag as well, the other one has done it.
    return [] if _is_tag_asked_for(sys._getframe(1)) else check_servers()


def check_servers() -> list[CheckMessage]:
    """Ask every configured server whether it keeps what it is given."""
    try:
        aliases = conf.aliases()
    except ConfigurationError:
        return []  # check_settings reports it
    from redisdict.check_rules import check_server

    return [message for alias in aliases for message in check_server(alias)]


def _is_tag_asked_for(caller: FrameType) -> bool:
    """Whether Django's `run_checks(tags=...)` was told this tag.

    It tells a check nothing of that, and has no kind of check that only a tag brings about.
    """
    return SERVER_TAG in (caller.f_locals.get("tags") or ())
