"""The process of one contender."""

from __future__ import annotations

import itertools
from typing import Any

from benchmarks.results.calls import Call, serve

CATEGORIES = 20
PRODUCTS = 2000
ROWS = 20

PAGE = """<h1>{{ category.name }}</h1>
<ul>{% for one in menu %}<li>{{ one.name }}</li>{% endfor %}</ul>
<table>{% for product in page %}<tr><td>{{ product.name }}</td><td>{{ product.price }}</td>
<td>{{ product.category.name }}</td></tr>{% endfor %}</table>
<p>{{ page.number }} of {{ page.paginator.num_pages }}, {{ page.paginator.count }} products</p>"""


def main() -> None:
    import django

    django.setup()
    serve(make_calls())


def make_calls() -> dict[str, Call]:
    from django.core.paginator import Paginator
    from django.template import engines

    from benchmarks.results import models
    from benchmarks.results.settings import KIND, NEAR, RESULTS

    is_ours = KIND in RESULTS
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
