"""What the shop sells: made once, and copied for each contender."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from decimal import Decimal

PRODUCTS = 100
WORDS = """Atlas of a the deep sea coast winter garden letters from island harbour night field guide
birds stone river history small machines light paper mountains"""


def make_shop(environ: Mapping[str, str]) -> None:
    """Make oscar's tables, 16 categories, and the products of four of them."""
    os.environ.update(environ)
    import django
    from django.core.management import call_command
    from django.db import connection, connections

    django.setup()
    call_command("migrate", verbosity=0)

    from oscar.apps.catalogue import models
    from oscar.apps.catalogue.categories import create_from_breadcrumbs
    from oscar.apps.partner.models import Partner, StockRecord

    chance = random.Random(7)  # noqa: S311  # texts
    categories = [
        create_from_breadcrumbs(f"Department {number} > Shelf {shelf}")
        for number in range(4)
        for shelf in range(3)
    ]
    book = models.ProductClass.objects.create(name="Book")
    for name in ("Author", "Pages"):
        models.ProductAttribute.objects.create(
            product_class=book, name=name, code=name.lower(), type="text"
        )
    partner = Partner.objects.create(name="Publisher")

    def words(count: int) -> str:
        return " ".join(chance.choices(WORDS.split(), k=count))

    for number in range(PRODUCTS):
        product = models.Product(
            title=words(4).title() + f" {number}",
            description=f"<p>{words(60)}</p>",
            product_class=book,
            upc=f"97800{number:05}",
            rating=chance.choice([None, 3.0, 4.5]),
        )
        product.attr.author = words(2).title()
        product.attr.pages = str(chance.randrange(80, 900))
        product.save()
        models.ProductCategory.objects.create(product=product, category=categories[number % 4])
        StockRecord.objects.create(
            product=product,
            partner=partner,
            partner_sku=f"sku-{number}",
            price=Decimal(chance.randrange(500, 9000)) / 100,
            num_in_stock=chance.randrange(1, 50),
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    connections.close_all()
