"""What a test registers is forgotten after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from redisdict.codec import registry


@pytest.fixture(autouse=True)
def registrations() -> Iterator[None]:
    tables: list[dict[Any, Any]] = [registry._form_of_type, registry._form_of_name]
    held = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, held, strict=True):
        # What Django has is registered once for the process.
        django = {each: form for each, form in table.items() if form.name.startswith("django.")}
        table.clear()
        table.update(before | django)
