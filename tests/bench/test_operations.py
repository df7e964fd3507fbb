"""What may be left of a server process's variance is never called a difference."""

from __future__ import annotations

import pytest

from redisdict.bench.operations import least_difference, process_variance


def test_iterations_depend_on_it_much_more_than_calls() -> None:
    assert process_variance("GET") == process_variance("Get") == 0.01
    assert process_variance("Iter") == process_variance("Items") == 0.15


@pytest.mark.parametrize(
    ("operation", "floor", "starts", "expected"),
    [
        ("GET", 0.002, 1, 0.01),
        ("GET", 0.02, 1, 0.02),
        ("GET", 0.002, 4, 0.005),
        ("GET", 0.006, 4, 0.006),
        ("Iter", 0.002, 1, 0.15),
        ("Iter", 0.002, 25, 0.03),
    ],
)
def test_more_starts_average_it_and_the_twin_has_the_last_word(
    operation: str, floor: float, starts: int, expected: float
) -> None:
    assert least_difference(operation, floor, starts) == pytest.approx(expected)
