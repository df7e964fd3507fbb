"""Visits of the shop: what a visitor gets, and whether it is what the database holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from io import BytesIO
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from oscar.apps.catalogue.models import Category, Product
from oscar.apps.partner.models import StockRecord

CATEGORIES = 4
PRODUCTS = 8

#: What differs between any two responses: the token of their forms, and the minute.
OWN = re.compile(r'(name="csrfmiddlewaretoken" value=|name="created" content=)"[^"]*"')


class Shop:
    """Answers a visitor who hasn't logged in, has an empty basket, and was here before."""

    def __init__(self) -> None:
        self._handler = WSGIHandler()
        chosen = Category.objects.filter(depth=2).order_by("path")[:CATEGORIES]
        self.categories = [one.get_absolute_url() for one in chosen]
        # Those that are first in their category's list.
        products = Product.objects.order_by("-date_created", "-pk")[:PRODUCTS]
        self.products = [one.get_absolute_url() for one in products]

    def get(self, path: str) -> str:
        """The page, as text."""
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "shop.example",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "shop.example",
            "HTTP_COOKIE": "csrftoken=" + "a" * 32,
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
        }
        told: list[str] = []

        def start(status: str, _headers: Any, _error: Any = None, /) -> Callable[[bytes], object]:
            told.append(status)
            return BytesIO().write

        response = self._handler(environ, start)
        try:
            page = b"".join(response).decode()
        finally:
            response.close()
        if told != ["200 OK"]:
            raise ValueError(f"{path} answers {told}: {page:.200}")
        return page

    def bodies(self, *paths: str) -> dict[str, str]:
        """These pages, or all, without what differs between two responses, and white space."""
        return {
            path: re.sub(r"\s+", "", OWN.sub(r"\1", self.get(path)))
            for path in paths or (*self.categories, *self.products)
        }

    def old_pages(self) -> Iterator[str]:
        """Change a product in many ways; tell after which ones the next response shows the old."""
        path = self.products[0]
        product = Product.objects.order_by("-date_created", "-pk")[0]
        category = next(one for one in self.categories if product.title in self.get(one))
        before = self.bodies(path, category)
        record = StockRecord.objects.get(product=product)
        for name, change, restore, is_new in _changes(product, record):
            self.bodies(path, category)
            change()
            yield from (f"{name}: {page}" for page in before if not is_new(self.get(page)))
            restore()
            after = self.bodies(*before)
            yield from (f"{name}, put back: {one}" for one in before if before[one] != after[one])


Change = tuple[str, Callable[[], Any], Callable[[], Any], Callable[[str], bool]]


def _changes(product: Product, record: StockRecord) -> Iterator[Change]:
    """The name of each, what makes it and what takes it back, and whether a page shows it."""
    for field, instance, value, shown in (
        ("title", product, "Quite another book", "Quite another book"),
        ("price", record, Decimal("98.76"), "98.76"),
        ("num_in_stock", record, 0, "outofstock availability"),
    ):
        old = getattr(instance, field)
        rows = type(instance).objects.filter(pk=instance.pk)

        def save(to: Any, instance: Any = instance, field: str = field) -> None:
            fresh = type(instance).objects.get(pk=instance.pk)
            setattr(fresh, field, to)
            fresh.save()

        def update(to: Any, rows: Any = rows, field: str = field) -> None:
            rows.update(**{field: to})

        for how, write in (("save()", save), ("update()", update)):
            yield (
                f"{field} by {how}",
                partial(write, value),
                partial(write, old),
                partial(_has, shown),
            )


def _has(shown: str, page: str) -> bool:
    return shown in page
