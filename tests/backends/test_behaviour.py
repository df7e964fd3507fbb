"""The behaviour that `tests/mapping` describes, on every server that the package is for."""

from tests.mapping.test_iterating import (
    test_an_iteration_that_empties_the_dict,
    test_an_iteration_that_is_always_added_to_ends,
)
from tests.mapping.test_mapping_protocol import *  # noqa: F403
from tests.mapping.test_timeouts import *  # noqa: F403

__all__ = [
    "test_an_iteration_that_empties_the_dict",
    "test_an_iteration_that_is_always_added_to_ends",
]
