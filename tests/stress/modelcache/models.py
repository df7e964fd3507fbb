"""What the processes fight over."""

from __future__ import annotations

from django.db import models

from redisdict import CachedManager


class Row(models.Model):
    """Every change of a row has a higher version than the one before it."""

    id = models.BigAutoField(primary_key=True)
    code = models.CharField(max_length=20, unique=True)
    version = models.IntegerField()
    name = models.CharField(max_length=100, default="a row like any other")
    changed_at = models.DateTimeField(auto_now=True)

    objects = CachedManager()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"{self.pk} in version {self.version}"


def code_of(pk: int) -> str:
    """What a row can be looked up by, beside its primary key."""
    return f"row {pk}"


class Deletion(models.Model):
    """Deleted rows leave their version here; who makes the row again goes on from it.

    Only one may: two who went on from the same version would give the row one that it had before.
    """

    id = models.BigAutoField(primary_key=True)
    row = models.BigIntegerField()
    version = models.IntegerField()
    is_undone = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.row} deleted in version {self.version}"
