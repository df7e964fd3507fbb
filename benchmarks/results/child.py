"""The process of one contender: makes and times blocks of calls, each when it is told to.

A process each, because other caches change the ORM for all models of their process. Each line of
its input names a call; each line of its output begins with "fine" or "failed".
"""

from __future__ import annotations

import gc
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

CATEGORIES = 20
PRODUCTS = 2000
ROWS = 20

PAGE = """<h1>{{ category.name }}</h1>
<ul>{% for one in menu %}<li>{{ one.name }}</li>{% endfor %}</ul>
<table>{% for product in page %}<tr><td>{{ product.name }}</td><td>{{ product.price }}</td>
<td>{{ product.category.name }}</td></tr>{% endfor %}</table>
<p>{{ page.number }} of {{ page.paginator.num_pages }}, {{ page.paginator.count }} products</p>"""


class Call:
    """One kind of call, which takes its arguments in turn."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        arguments: Sequence[Any],
        is_right: Callable[[Any], bool],
        count: int,
    ) -> None:
        self._function = function
        self._arguments = itertools.cycle(arguments)
        self._is_right = is_right
        self._count = count
        for argument in arguments:  # so that all of them are hits
            function(argument)
            function(argument)

    def block(self) -> str:
        """Nanoseconds of the timed calls, and how many these were."""
        function = self._function
        for _ in range(max(1, self._count // 2)):
            function(next(self._arguments))
        timed = [next(self._arguments) for _ in range(self._count)]
        started_ns = time.perf_counter_ns()
        replies = [function(argument) for argument in timed]
        duration_ns = time.perf_counter_ns() - started_ns
        if not all(map(self._is_right, replies)):
            raise ValueError(f"got {replies!r:.200}")
        return f"{duration_ns} {self._count}"


def main() -> None:
    import django

    django.setup()
    calls = make_calls()
    gc.collect()
    gc.freeze()
    gc.disable()
    print("fine:", ",".join(calls), flush=True)
    for line in sys.stdin:
        name = line.strip()
        try:
            print("fine:", calls[name].block(), flush=True)
        except Exception as error:  # noqa: BLE001  # the parent shows it
            print(f"failed: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
        gc.collect(0)


def make_calls() -> dict[str, Call]:
    from django.core.paginator import Paginator
    from django.template import engines

    from benchmarks.results import models
    from benchmarks.results.settings import KIND, NEAR, OURS

    is_ours = KIND in OURS and KIND != "unwatched"
    near = 60 if KIND == NEAR else None

    def rows(model: Any) -> Any:
        return model.objects.cached(near=near) if is_ours else model.objects.all()

    def listed(category: int) -> Any:
        chosen = rows(models.Product).filter(category_id=category, is_active=True)
        return list(chosen.select_related("category").order_by("name")[:ROWS])

    def counted(category: int) -> Any:
        return rows(models.Product).filter(category_id=category, stock__gt=5).count()

    template = engines["django"].from_string(PAGE)

    def page(category: int) -> str:
        chosen = rows(models.Product).filter(category_id=category).select_related("category")
        context = {
            "category": rows(models.Category).get(pk=category),
            "menu": rows(models.Category).order_by("name"),
            "page": Paginator(chosen.order_by("name"), ROWS).page(1 + category % 3),
        }
        return template.render(context)

    pks = list(models.Category.objects.values_list("pk", flat=True))
    product = models.Product.objects.order_by("pk").first()
    assert product is not None
    stock = itertools.count()

    def write(_: Any) -> None:
        product.stock = next(stock)
        product.save(update_fields=["stock"])

    def write_all(_: Any) -> None:
        product.stock = next(stock)
        product.save()

    return {
        "a list": Call(listed, pks, are_rows, 10),
        "a count": Call(counted, pks, lambda found: bool(found > 0), 10),
        "a page": Call(page, pks, lambda found: found.count("<td>") == 3 * ROWS, 4),
        "a write": Call(write, [None], lambda found: found is None, 10),
        "a whole row": Call(write_all, [None], lambda found: found is None, 10),
    }


def are_rows(found: Any) -> bool:
    return len(found) == ROWS and all(row.category.name and row.sku for row in found)


if __name__ == "__main__":
    main()
