"""Provide a check for django-health-check 4: `"redisdict.health_check.RedisDictHealthCheck"`."""

from __future__ import annotations

import dataclasses

from redisdict.exceptions import ConfigurationError
from redisdict.health import TIMEOUT_S, acheck

try:
    from health_check.base import HealthCheck
    from health_check.exceptions import ServiceUnavailable, ServiceWarning
except ImportError as error:
    raise ConfigurationError(
        "redisdict.health_check is for django-health-check 4 or later, which isn't installed:"
        ' pip install "django-health-check>=4". redisdict.health.view needs no other package.'
    ) from error


@dataclasses.dataclass
class RedisDictHealthCheck(HealthCheck):  # type: ignore[misc]  # the package may be missing
    """Does what `redisdict.health.check()` does, as one check.

    Args:
        aliases: of REDISDICT; None for all.
        seconds: that all of them may take.
    """

    aliases: tuple[str, ...] | None = None
    seconds: float = TIMEOUT_S

    async def run(self) -> None:
        """Check the servers.

        Raises:
            ServiceUnavailable: one of them is unavailable.
            ServiceWarning: one of them is degraded.
        """
        found = await acheck(self.aliases, self.seconds)
        for status, kind in (("unavailable", ServiceUnavailable), ("degraded", ServiceWarning)):
            concerned = [one for one in found if one.status == status]
            told = [f"{one.alias}: {', '.join(one.problems)}" for one in concerned]
            if told:
                raise kind("; ".join(told))
