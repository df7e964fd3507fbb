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
        # Only a project that has made a ModelDict has imported this.
        signals = sys.modules.get("redisdict.modelcache.signals")
        if signals is not None:
            signals.connect_all()
