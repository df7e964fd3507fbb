from collections.abc import Callable

import pytest

from tests.forks.forking import FORKS


@pytest.fixture(params=FORKS)
def fork(request: pytest.FixtureRequest) -> Callable[[], int]:
    """The test forks once in C and once in Python."""
    return FORKS[request.param]
