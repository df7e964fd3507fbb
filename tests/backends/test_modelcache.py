"""What `tests/modelcache` says of cells and of changes, on every server that the package is for.

The whole of it runs on Valkey, and on KeyDB and Dragonfly where they are. What servers do otherwise
has nothing to do with the database, so it is SQLite here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker

from tests.modelcache.conftest import add_sqlite, products, server, shop_in, tea
from tests.modelcache.test_kinds import *  # noqa: F403
from tests.modelcache.test_row_store import *  # noqa: F403
from tests.modelcache.test_row_store import _many
from tests.modelcache.test_writing import *  # noqa: F403

__all__ = ["_many", "cache_url", "database", "products", "server", "tea"]

# It is about two databases, and there is one here.
del test_the_same_key_in_two_databases  # noqa: F821


@pytest.fixture
def cache_url(server_url: str) -> str:
    return server_url


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> str:
    return add_sqlite("backends_sqlite", tmp_path_factory.mktemp("shop"), django_db_blocker)


@pytest.fixture
def database(shop: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    with shop_in(shop, django_db_blocker):
        yield shop
