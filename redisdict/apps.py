import sys
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, register
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class RedisDictConfig(AppConfig):
    name = "redisdict"
    verbose_name = _("Redis dict")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from redisdict import checks, observing
        from redisdict.modelcache import database_connections

        checks.register_all()
        register(check_benchmarks, "redisdict")
        observing.begin()
        database_connections.keep_track()
        # As admin.py is: in every process, so that each announces its changes.
        autodiscover_modules("dicts")
        if "redisdict.modelcache.invalidation.hooks" in sys.modules:  # the project caches a model
            from redisdict.modelcache.invalidation import hooks

            hooks.begin()


def check_benchmarks(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Check the settings of the benchmarks, in a project that has them; others don't pay for it.

    It is here and not with the other checks, since the users of those never import benchmarks.
    """
    if not (hasattr(settings, "REDISDICT_ADMIN") or hasattr(settings, "REDISDICT_BENCH")):
        return []
    from redisdict.bench.checks import check_all

    return list(check_all())
