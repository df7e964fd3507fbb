"""Name the table of a model as statements and catalogs do."""

from __future__ import annotations

from django.db.models import Model

__all__ = ["table_of"]


def table_of(model: type[Model]) -> str:
    """The name of a model's own table, without its schema, in small letters."""
    return model._meta.db_table.replace("`", '"').rsplit('"."', 1)[-1].strip('"').lower()
