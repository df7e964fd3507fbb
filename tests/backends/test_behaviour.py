"""The behaviour that `tests/mapping` describes, on every server that the package is for."""

from __future__ import annotations

import pytest

from tests.mapping import test_iterating
from tests.mapping.conftest import Face
from tests.mapping.test_mapping_protocol import *  # noqa: F403
from tests.mapping.test_timeouts import *  # noqa: F403

# Thousands of changes during one walk; `tests/mapping` has them on the two servers.


@pytest.mark.deep
def test_an_iteration_that_empties_the_dict(face: Face) -> None:
    test_iterating.test_an_iteration_that_empties_the_dict(face)


@pytest.mark.deep
@pytest.mark.parametrize("count", [1, 2])
def test_an_iteration_that_is_always_added_to_ends(face: Face, count: int) -> None:
    test_iterating.test_an_iteration_that_is_always_added_to_ends(face, count)
