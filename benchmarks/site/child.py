"""The process of one contender: whole responses of the shop, by Django's own handler."""

from __future__ import annotations

import json

import django

from benchmarks.results.calls import Call, serve


def main() -> None:
    django.setup()

    from benchmarks.site.reports import report_of
    from benchmarks.site.settings import GIVEN, KIND
    from benchmarks.site.visits import Shop

    shop = Shop()
    for _ in range(2):  # so that all is kept that can be
        shop.bodies()
    found = {"bodies": shop.bodies(), "old": list(shop.old_pages())}
    report_of(GIVEN["reports"], KIND).write_text(json.dumps(found))
    serve(
        {
            "nothing": Call(shop.get, ["/nothing/"], lambda page: page == "nothing", 10),
            "a category": Call(shop.get, shop.categories, is_category, 2),
            "a product": Call(shop.get, shop.products, is_product, 2),
        }
    )


def is_category(page: str) -> bool:
    return page.count('<article class="product_pod">') == 20


def is_product(page: str) -> bool:
    return 'class="product_page"' in page and "add_to_basket_form" in page


if __name__ == "__main__":
    main()
