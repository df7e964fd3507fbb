"""docs/near.md: its examples, its settings, its statistics."""

from __future__ import annotations

import dataclasses
import doctest
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.conf import DEFAULTS
from redisdict.near.space import NearStats

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "near.md").read_text()
STRICT = (DOCS / "near-strict.md").read_text()


@pytest.mark.parametrize("server", ["redis", "valkey"])
def test_the_examples_do_what_they_show(
    request: pytest.FixtureRequest, settings: Any, alias_for: Callable[..., Any], server: str
) -> None:
    settings.REDISDICT = {"default": alias_for(request.getfixturevalue(f"{server}_url"))}
    test = doctest.DocTestParser().get_doctest(PAGE, {}, "near.md", "near.md", 0)
    assert len(test.examples) > 5
    failures: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)
    for value in test.globs.values():
        if isinstance(value, PersistentDict):
            value.clear()


def test_the_settings_are_those_there_are() -> None:
    rows = re.findall(r'^\| `(NEAR_\w+)` \| `"?([\w.]+)"?` \|', PAGE + STRICT, re.MULTILINE)
    documented = dict(rows)
    own = {name: str(value) for name, value in DEFAULTS.items() if name.startswith("NEAR_")}
    assert documented == own


def test_the_statistics_are_described() -> None:
    described = NearStats.__doc__ or ""
    for field in dataclasses.fields(NearStats):
        assert field.name in described


@pytest.mark.parametrize("page", [PAGE, STRICT])
def test_links_lead_to_headings(page: str) -> None:
    for file, anchor in re.findall(r"\]\(([\w.-]+\.md)(?:#([\w-]+))?\)", page):
        titles = re.findall(r"^#+ (.*)$", (DOCS / file).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors
