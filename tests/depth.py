"""What the quick suite leaves to the deep one: random examples, and combinations of what varies.

`pytest -m "deep or hypothesis" --hypothesis-profile=deep` is the deep one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

__all__ = ["examples", "mark_repeated_combinations", "register_profiles"]

QUICK, DEEP = "quick", "deep"

EACH_VALUE_ONCE = "each_value_once"

#: Fixtures whose values are servers, which differ from one another less than the other factors do.
SERVERS = frozenset({"own_server", "own_server_url", "server_url", "url"})

#: The fixture whose values are the databases of a model's rows.
DATABASE = "database"

#: Fixtures whose values are combined with one another: servers, layouts, colours, ways to track,
#: how many items a walk has left.
FACTORS = SERVERS | {
    DATABASE,
    "hset_enabled",
    "is_hash",
    "left",
    "pool_class",
    "runner",
    "store",
    "tracking",
}


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


def mark_repeated_combinations(items: Iterable[pytest.Item], missing: Collection[str] = ()) -> None:
    """Mark as deep the combinations that the quick suite leaves out.

    Of three factors the quick suite tries each pair of values together on the same test: of redis
    and valkey, hash and keys, sync and async, it runs redis-hash-sync, redis-keys-async,
    valkey-hash-async and valkey-keys-sync. Of a server and another factor it tries each value:
    redis-hash and valkey-keys. Of databases alone, it tries one, by the test's name. The values of
    a test's other parameters are no factors: each has all of these. A test that is asked for by the
    name of one combination isn't marked.

    One marked `each_value_once`, for taking seconds, has each value of each factor once there: with
    redis and valkey, auto and plain it runs redis-auto and valkey-plain. The mark may name further
    parameters that are factors of this test.

    Args:
        missing: values of factors that this machine doesn't have. Their combinations are skipped,
            and stand for no others: without redis, it runs valkey-hash and valkey-keys.
    """
    tests: dict[Any, list[pytest.Item]] = defaultdict(list)
    for item in items:
        call = getattr(item, "callspec", None)
        if call is None or item.get_closest_marker(DEEP):
            continue
        factors = _factors(item)
        if not set(factors.values()).isdisjoint(missing):
            continue
        # Each value is one object for all combinations; it may be of any type.
        others = tuple(id(value) for name, value in call.params.items() if name not in factors)
        tests[item.nodeid.partition("[")[0], others].append(item)
    for (name, _), combinations in tests.items():
        for item, is_chosen in zip(combinations, _chosen(name, combinations), strict=True):
            if not is_chosen:
                item.add_marker(DEEP)


def _chosen(test: str, combinations: Sequence[pytest.Item]) -> list[bool]:
    """Whether the quick suite has each of the combinations of a test."""
    values = [_factors(item) for item in combinations]
    numbers = {}
    for name in values[0]:
        different = sorted({one[name] for one in values})
        numbers[name] = {value: number for number, value in enumerate(different)}
    varying = [name for name, known in numbers.items() if len(known) > 1]
    places = [[numbers[name][one[name]] for name in varying] for one in values]
    if varying == [DATABASE]:
        place = crc32(test.encode()) % len(numbers[DATABASE])
        return [each == [place] for each in places]
    if combinations[0].get_closest_marker(EACH_VALUE_ONCE) is not None and len(varying) > 1:
        most = max(len(numbers[name]) for name in varying)
        diagonal = [[place % len(numbers[name]) for name in varying] for place in range(most)]
        return [each in diagonal for each in places]
    if len(varying) > 2 or (len(varying) > 1 and not SERVERS.isdisjoint(varying)):
        return [sum(each) % 2 == 0 for each in places]
    return [True] * len(combinations)


def _names_of_factors(item: pytest.Item) -> frozenset[str]:
    once = item.get_closest_marker(EACH_VALUE_ONCE)
    return FACTORS if once is None else FACTORS.union(once.args)


def _factors(item: Any) -> dict[str, str]:
    """The factors of a combination, and their values by what they are called."""
    factors = _names_of_factors(item)
    return {
        name: getattr(value, "__name__", str(value))
        for name, value in item.callspec.params.items()
        if name in factors
    }
