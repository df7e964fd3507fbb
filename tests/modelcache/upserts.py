"""Upserts as every database can do them: MySQL doesn't say by which field rows conflict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import Manager

__all__ = ["upsert"]


def upsert(manager: Manager[Any], row: Any, unique: str, fields: Sequence[str]) -> None:
    """Insert a row, or give these fields of the row that has its value of `unique` other values."""
    can_say = connections[manager.db].features.supports_update_conflicts_with_target
    manager.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=[unique] if can_say else None,
        update_fields=fields,
    )
