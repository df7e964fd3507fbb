"""What the migrations of this app do; a test may have them do something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def weigh(apps: Any, schema_editor: Any) -> None:
    parcels = apps.get_model("moving", "Parcel").objects.using(schema_editor.connection.alias)
    parcels.filter(weight=0).update(weight=5)


def load(apps: Any, schema_editor: Any) -> None:
    on_load(schema_editor.connection.alias)


def _nothing(alias: str) -> None:
    pass


on_load: Callable[[str], None] = _nothing
