"""How much is left to chance: few random examples in the quick suite, many in the deep one.

`pytest -m "deep or hypothesis" --hypothesis-profile=deep` is the deep one.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

__all__ = ["examples", "register_profiles"]

QUICK, DEEP = "quick", "deep"


def register_profiles() -> None:
    """Make both known to Hypothesis, and load the quick one.

    Examples aren't judged by the clock, however busy the machine. The quick suite's are the same
    each time: it finds what a change breaks, and the deep one looks for what nobody has thought of.
    """
    settings.register_profile(
        QUICK,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        max_examples=_few(100),
        derandomize=True,
    )
    settings.register_profile(
        DEEP, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100
    )
    settings.load_profile(QUICK)


def examples(in_the_deep_suite: int) -> int:
    """How many examples a random test has: so many, or a tenth of them in the quick suite."""
    is_deep = settings.get_current_profile_name() == DEEP
    return in_the_deep_suite if is_deep else _few(in_the_deep_suite)


def _few(in_the_deep_suite: int) -> int:
    return max(in_the_deep_suite // 10, 5)
