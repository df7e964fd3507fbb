"""`{% cached_on %}`: rendered again when a table has changed, and not before."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.template import Context, Template, TemplateSyntaxError
from django.utils import translation

from redisdict import ComputedDict, NotCacheable, cache_results_of
from tests.modelcache.counting import queries
from tests.shop.models import Product, Tag

TEXT = (
    "{% load redisdict_cache %}"
    '{% cached_on "shop.Product" "names" page timeout=300 %}'
    "{% for row in rows %}{{ row.name }} {% endfor %}{{ page }}"
    "{% endcached_on %}"
)


def _render(page: Any = 1, text: str = TEXT) -> str:
    rows = Product.objects.order_by("name")
    return Template(text).render(Context({"rows": rows, "page": page}))


@pytest.fixture
def shop(server: str, database: str) -> str:
    cache_results_of(Product)
    Product.objects.create(name="<Tea>")
    return database


def test_a_fragment(shop: str) -> None:
    assert _render() == "&lt;Tea&gt; 1"
    with queries(shop) as asked:
        assert _render() == "&lt;Tea&gt; 1"
    assert len(asked) == 0
    assert _render(page=2) == "&lt;Tea&gt; 2"
    Product.objects.create(name="Water")
    assert _render() == "&lt;Tea&gt; Water 1"


def test_it_is_another_in_another_language(shop: str) -> None:
    text = TEXT.replace("{{ page }}", "{{ page|floatformat:1 }}")
    for _ in range(2):
        with translation.override("de"):
            assert _render(1.5, text) == "&lt;Tea&gt; 1,5"
        with translation.override("en"):
            assert _render(1.5, text) == "&lt;Tea&gt; 1.5"


def test_it_is_another_when_the_template_is(shop: str) -> None:
    assert _render() == "&lt;Tea&gt; 1"
    assert _render(text=TEXT.replace("{{ page }}", "page {{ page }}")) == "&lt;Tea&gt; page 1"


def test_what_reads_another_table_is_not_kept(shop: str, caplog: Any) -> None:
    text = TEXT.replace("{{ page }}", "{{ page.count }}")
    for _ in range(2):
        with pytest.raises(NotCacheable, match="what it varies on can't be written"):
            _render(Tag.objects, text)
    text = text.replace('"names" page', '"names"')
    assert _render(Tag.objects, text) == "&lt;Tea&gt; 0"
    Tag.objects.create(name="hot")
    assert _render(Tag.objects, text) == "&lt;Tea&gt; 1"
    assert "A result of the fragment 'names' is not kept: it reads shop.Tag too" in caplog.text


def test_within_a_computed_dict_its_tables_count(shop: str, caplog: Any) -> None:
    page = ComputedDict("page", depends_on=[Tag], compute=lambda: str(_render()))
    assert _render() == "&lt;Tea&gt; 1"
    assert page.get() == "&lt;Tea&gt; 1"  # of a hit no statement tells
    assert "it reads shop.Product, shop.Product_tags too" in caplog.text


def test_what_it_refuses(shop: str) -> None:
    for tag in ('"shop.Product"', '"shop.Product" "names" other=3', ""):
        with pytest.raises(TemplateSyntaxError, match="cached_on got"):
            Template("{% load redisdict_cache %}{% cached_on " + tag + " %}{% endcached_on %}")
    reason = r"'names' can't be kept, for it reads shop\.Tag, whose changes aren't announced"
    with pytest.raises(NotCacheable, match=reason):
        _render(text=TEXT.replace("shop.Product", "shop.Tag"))

    async def render() -> None:
        _render()

    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(render)()
