"""Save the counts of audits, hour by hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import router, transaction

from redisdict.modelcache.audit.passes import TableCount
from redisdict.models import AuditCount


def save(counts: Sequence[TableCount], now: datetime) -> None:
    """Add the counts of a pass to those of its hour. Three queries for each table.

    Raises:
        django.db.Error: the database can't be asked, or has no such table yet.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    using = router.db_for_write(AuditCount)
    for count in counts:
        with transaction.atomic(using=using):
            stored, _ = AuditCount.objects.using(using).get_or_create(
                hour=hour,
                model=count.model[:255],
                database=count.database[:100],
                alias=count.alias[:100],
            )
            stored = AuditCount.objects.using(using).select_for_update().get(pk=stored.pk)
            stored.passes += 1
            stored.judged += count.judged
            stored.disagreed += count.disagreed
            stored.repaired += count.repaired
            stored.by_age = dict(Counter(stored.by_age) + count.by_age)
            stored.unjudged = dict(Counter(stored.unjudged) + count.unjudged)
            stored.save(using=using)


def prune(now: datetime, keep_days: int) -> int:
    """Delete counts that are older than this many days; return the number of hours."""
    old = AuditCount.objects.filter(hour__lt=now - timedelta(days=keep_days))
    return old.delete()[0]
