"""What an observer is told, and no observer left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redisdict.connections import observation
from redisdict.connections.observation import Exchange


@pytest.fixture
def exchanges() -> Iterator[list[Exchange]]:
    """All exchanges from here on, in their order."""
    noted: list[Exchange] = []
    observation.add_observer(noted.append)
    yield noted
    observation.remove_observer(noted.append)


@pytest.fixture(autouse=True)
def _nobody_observes_afterwards() -> Iterator[None]:
    yield
    for observer in observation._observers:
        observation.remove_observer(observer)
