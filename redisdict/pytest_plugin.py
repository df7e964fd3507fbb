"""Provide the pytest fixture `isolated_dicts`; pytest finds it if the package is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def isolated_dicts() -> Iterator[str]:
    """Dicts begin empty in this test, and what it stores is deleted; the value is the KEY_PREFIX.

    For all tests of a project: `pytestmark = pytest.mark.usefixtures("isolated_dicts")`, or a
    fixture with `autouse=True` that asks for this one.
    """
    from redisdict import testing  # with Django, whose settings aren't there when plugins load

    with testing.isolated_dicts() as prefix:
        yield prefix
