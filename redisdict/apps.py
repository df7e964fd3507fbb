import sys

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RedisDictConfig(AppConfig):
    name = "redisdict"
    verbose_name = _("Redis dict")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from redisdict import checks

        checks.register_all()
        if "redisdict.modelcache.tables" in sys.modules:  # the project has made a ModelDict
            from redisdict.modelcache import startup

            startup.begin()
