"""docs/results.md: its examples run, and its signature is the code's."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from redisdict import CachedManager, ComputedDict, cache_results_of
from tests.modelcache.counting import queries
from tests.shop import models

PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text()


BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
DECLARED, USED, DECLARED_QUERYSETS, USED_QUERYSETS, DECLARED_COLUMNS, USED_COLUMNS = BLOCKS


def _run(code: str, names: dict[str, Any]) -> list[Any]:
    """The values of the lines that are expressions, of one that awaits what it waits for."""
    values = []
    for line in code.splitlines():
        text = line.split("#")[0].strip()
        try:
            compiled = compile(text, "results.md", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError:
            exec(text, names)  # our own page
            continue
        value = eval(compiled, names)  # our own page
        values.append(async_to_sync(_wait)(value) if inspect.isawaitable(value) else value)
    return values


async def _wait(value: Any) -> Any:
    return await value


def test_the_examples(server: str, database: str) -> None:
    names = dict(vars(models))
    exec(DECLARED, names)  # our own page
    drinks = models.Category.objects.create(name="Drinks")
    models.Product.objects.create(name="Tea", price=2, category=drinks)
    first, awaited, updated, last = _run(USED, names)
    assert updated == 1
    assert [[row["price"] for row in rows] for rows in (first, awaited, last)] == [[2], [2], [3]]


def test_the_examples_of_querysets(server: str, database: str) -> None:
    names = dict(vars(models))
    imported, *_, called = DECLARED_QUERYSETS.strip().splitlines()[1:]
    _run(f"{imported}\n{called}", names)
    drinks = models.Category.objects.create(name="Drinks")
    models.Product.objects.create(name="Tea", category=drinks)
    for _ in range(2):
        listed, count, first = _run(USED_QUERYSETS, names)
        assert (listed, count, first.name) == (["Tea"], 1, "Tea")


def test_the_examples_of_declared_columns(
    server: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = dict(vars(models))
    *_, declared, _, called = DECLARED_COLUMNS.strip().splitlines()
    manager = eval(declared.split("=", 1)[1], {"CachedManager": CachedManager})  # our own page
    objects = models.Product._meta.managers_map["objects"]
    monkeypatch.setattr(objects, "versions", manager.versions)
    _run(called, {**names, "cache_results_of": cache_results_of})
    models.Category.objects.create(pk=5, name="Drinks")
    models.Product.objects.create(name="Tea", category_id=5)
    assert _run(USED_COLUMNS, names) == [1]
    models.Product.objects.create(name="Bread")
    with queries(models.Product.objects.db) as asked:
        assert _run(USED_COLUMNS, names) == [1]
    assert not asked
    models.Product.objects.create(name="Coffee", category_id=5)
    assert _run(USED_COLUMNS, names) == [2]


def test_the_signature() -> None:
    written = re.search(r"^`ComputedDict(\(.*\))`$", PAGE, re.MULTILINE)
    assert written
    signature = inspect.signature(ComputedDict)
    plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    found = str(inspect.Signature(plain)).replace("<class 'str'>", "str").replace("'", '"')
    assert found == written.group(1)
