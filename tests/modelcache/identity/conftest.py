"""What is known of databases is forgotten after each test; and two tenants of one database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redisdict import ModelDict
from tests.modelcache.places import forget_places, tenant_schemas
from tests.shop.models import Stamp


@pytest.fixture(autouse=True)
def _known_anew() -> Iterator[None]:
    """As a process that has just been started."""
    yield
    forget_places()


@pytest.fixture
def tenants(postgres_alias: str, server: str) -> Iterator[ModelDict[Stamp]]:
    """Two schemas with the same table, and the cached rows of it."""
    with tenant_schemas(postgres_alias):
        yield ModelDict(Stamp, database=postgres_alias)
