import sys

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class RedisDictConfig(AppConfig):
    name = "redisdict"
    verbose_name = _("Redis dict")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from redisdict import checks, observing
        from redisdict.bench import checks as checks_of_benchmarks
        from redisdict.modelcache import database_connections

        checks.register_all()
        checks_of_benchmarks.register_all()
        observing.begin()
        database_connections.keep_track()
        # As admin.py is: in every process, so that each tells of what it changes.
        autodiscover_modules("dicts")
        if "redisdict.modelcache.invalidation.hooks" in sys.modules:  # the project caches a model
            from redisdict.modelcache.invalidation import hooks

            hooks.begin()
