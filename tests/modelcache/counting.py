"""What the database is asked."""

from __future__ import annotations

from django.db import connections
from django.test.utils import CaptureQueriesContext

__all__ = ["queries"]


def queries(database: str) -> CaptureQueriesContext:
    """In its `with` block, the queries to the database of this alias."""
    return CaptureQueriesContext(connections[database])
