"""A server for the stored dicts of a test, and users who may see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client, override_settings


@pytest.fixture(autouse=True)
def server(server_url: str, alias_for: Callable[..., dict[str, Any]]) -> Iterator[None]:
    with override_settings(REDISDICT={"default": alias_for(server_url)}):
        yield


@pytest.fixture
def viewer(client_with: Callable[..., Client]) -> Client:
    return client_with("view_storeddict")


@pytest.fixture
def keeper(client_with: Callable[..., Client]) -> Client:
    """May delete, too."""
    return client_with("view_storeddict", "delete_storeddict")
