"""CPython's own tests of mappings, for both layouts, on servers that hold nothing else.

`test_mutatingiteration` fails where an iteration delivers what is added meanwhile. That can't
happen while a single page holds all keys, which takes a small dict in a small database.

What can't hold for items on a server is named in `EXCLUDED` with the reason, as in the
documentation; each of those is run too, and must fail.
"""

from __future__ import annotations

import json
import secrets
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.conf import parse_alias
from redisdict.connections.backend import Backend
from tests.missing import end_without

try:
    from test import mapping_tests
except ImportError:  # Debian has it in libpython3.11-testsuite
    end_without("This Python comes without its test package.")

SUITES = ["BasicTestMappingProtocol", "TestMappingProtocol", "TestHashMappingProtocol"]

KEYS_ARE_BYTES = "keys become bytes, so no method of a key decides about equality"
EXCLUDED = {
    "TestMappingProtocol": {
        "test_copy": "`copy()` gives a plain `dict`",
        "test_fromkeys": "there is no `fromkeys()`: the new dict would have no name",
        "test_popitem": "`popitem()` takes any item, not the same one of two equal dicts",
        "test_setdefault": "a fetched value is a copy, so changing it changes nothing stored",
    },
    "TestHashMappingProtocol": {
        "test_eq": KEYS_ARE_BYTES,
        "test_fromkeys": "there is no `fromkeys()`: the new dict would have no name",
        "test_getitem": KEYS_ARE_BYTES,
        "test_pop": KEYS_ARE_BYTES,
        "test_setdefault": KEYS_ARE_BYTES,
        "test_repr": "`repr()` names the dict and loads no items",
        "test_repr_deep": "a dict is no value of another",
    },
}


#: How a test fails that has no reason to pass.
FAILURES = (AssertionError, AttributeError, IndexError, TypeError)


class OnServer:
    """What each suite needs to make its mappings."""

    server: str
    is_hash: bool

    @pytest.fixture(autouse=True)
    def _backend(self, request: pytest.FixtureRequest, key_prefix: str) -> Iterator[None]:
        url = request.getfixturevalue(f"own_{self.server}_url")
        self.made: list[PersistentDict[Any, Any]] = []
        self.backend = Backend(
            parse_alias("test", {"LOCATION": url, "KEY_PREFIX": key_prefix}),
        )
        yield
        for mapping in self.made:
            mapping.clear()
        self.backend.close()

    def type2test(self, **items: Any) -> PersistentDict[Any, Any]:
        mapping: PersistentDict[Any, Any] = PersistentDict(
            secrets.token_hex(8),
            self.backend,
            hset_enabled=self.is_hash,
            key_type=(lambda key: json.dumps(key).encode(), json.loads),
        )
        self.made.append(mapping)
        mapping.update(items)
        return mapping


def excluded(suite: str, name: str) -> str | None:
    """Why a test of a suite isn't expected to pass; a suite has its base's tests too."""
    for owner in SUITES[: SUITES.index(suite) + 1][::-1]:
        if name in vars(getattr(mapping_tests, owner)):
            return EXCLUDED.get(owner, {}).get(name)
    return None


def must_fail(name: str) -> Any:
    def test(self: Any) -> None:
        with pytest.raises(FAILURES):
            getattr(super(type(self), self), name)()

    return test


def make_case(suite: str, server: str, layout: str) -> type[unittest.TestCase]:
    base = getattr(mapping_tests, suite)
    tests: dict[str, Any] = {"server": server, "is_hash": layout == "hash"}
    for name in dir(base):
        if name.startswith("test_") and excluded(suite, name):
            tests[name] = must_fail(name)
    return type(f"{suite}_{server}_{layout}", (OnServer, base), tests)


for _suite in SUITES:
    for _server in ("redis", "valkey"):
        for _layout in ("hash", "keys"):
            _case = make_case(_suite, _server, _layout)
            globals()[_case.__name__] = _case
del _case


def test_every_exclusion_is_documented() -> None:
    document = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text()
    for suite, reasons in EXCLUDED.items():
        for name, reason in reasons.items():
            assert f"`{suite}.{name}`: {reason}" in document
