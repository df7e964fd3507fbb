"""The servers that the pools are tried on."""

from __future__ import annotations

import pytest

from tests.conftest import UNPACKAGED


@pytest.fixture(scope="session", params=["redis", *UNPACKAGED])
def plain_url(request: pytest.FixtureRequest) -> str:
    """A server for what needs no two of those that every developer has."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
