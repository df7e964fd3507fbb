"""docs/results.md: its examples run, and its signature is the code's."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from redisdict import ComputedDict
from tests.shop import models

PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text()


def test_the_examples(server: str, database: str) -> None:
    declared, used = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    names = dict(vars(models))
    exec(declared, names)  # our own page
    drinks = models.Category.objects.create(name="Drinks")
    models.Product.objects.create(name="Tea", price=2, category=drinks)
    values = []
    for line in used.splitlines():
        code = line.split("#")[0].strip()
        if code.startswith("menu"):
            values.append(eval(code, names))  # our own page
        elif not code.startswith("await"):
            exec(code, names)  # our own page
    assert [[row["price"] for row in rows] for rows in values] == [[2], [3]]


def test_the_signature() -> None:
    written = re.search(r"^`ComputedDict(\(.*\))`$", PAGE, re.MULTILINE)
    assert written
    signature = inspect.signature(ComputedDict)
    plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    found = str(inspect.Signature(plain)).replace("<class 'str'>", "str").replace("'", '"')
    assert found == written.group(1)
