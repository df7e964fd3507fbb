"""`{% cached_on %}`: rendered again when a table has changed, and not before."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.middleware.csrf import _unmask_cipher_token  # type: ignore[attr-defined]
from django.template import Context, Template, TemplateSyntaxError, engines
from django.utils import translation

from redisdict import ComputedDict, NotCacheable, cache_results_of
from redisdict.templatetags.redisdict_cache import token_place
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
        with pytest.raises(NotCacheable, match="a value that it varies on can't be written"):
            _render(Tag.objects, text)
    text = text.replace('"names" page', '"names"')
    assert _render(Tag.objects, text) == "&lt;Tea&gt; 0"
    Tag.objects.create(name="hot")
    assert _render(Tag.objects, text) == "&lt;Tea&gt; 1"
    assert "A result of the fragment 'names' is not cached: it reads shop.Tag too" in caplog.text


def test_within_a_computed_dict_its_tables_count(shop: str, caplog: Any) -> None:
    page = ComputedDict("page", depends_on=[Tag], compute=lambda: str(_render()))
    assert _render() == "&lt;Tea&gt; 1"
    assert page.get() == "&lt;Tea&gt; 1"  # of a hit no statement tells
    assert "it reads shop.Product, shop.Product_tags too" in caplog.text


FORM = TEXT.replace("{{ page }}", "{% csrf_token %}{{ page }}")


def _form(rf: Any, secret: str, text: str = FORM) -> str:
    """What a visitor with this CSRF cookie gets."""
    request = rf.get("/")
    request.META["CSRF_COOKIE"] = secret
    context = {"rows": Product.objects.order_by("name"), "page": 1}
    shown: str = engines["django"].from_string(text).render(context, request)
    return shown


def _secret_of(page: str) -> str:
    """The secret in the token of a page's form, which each page masks in its own way."""
    return _unmask_cipher_token(page.partition('value="')[2].partition('"')[0])


def test_each_visitor_gets_a_token_of_his_own(shop: str, rf: Any) -> None:
    one, other = "a" * 32, "b" * 32
    assert _secret_of(_form(rf, one)) == one
    with queries(shop) as asked:
        pages = [_form(rf, other), _form(rf, other)]
    assert len(asked) == 0
    assert [_secret_of(page) for page in pages] == [other, other]
    assert pages[0] != pages[1]
    assert "csrfmiddlewaretoken" not in _render(text=FORM)  # where there is no request


def test_each_visitor_gets_a_token_of_his_own_from_a_fragment_in_another(
    shop: str, rf: Any
) -> None:
    outer = (
        '{% load redisdict_cache %}{% cached_on "shop.Product" "outer" %}'
        + FORM
        + "{% endcached_on %}"
    )
    for text in (outer, FORM):
        for secret in ("a" * 32, "b" * 32):
            page = _form(rf, secret, text)
            assert _secret_of(page) == secret
            assert token_place() not in page


def test_what_it_sets_is_not_there_after_it(shop: str) -> None:
    text = TEXT.replace("{{ page }}", "{% firstof page as seen %}") + "{{ seen }}"
    assert [_render(text=text) for _ in range(2)] == ["&lt;Tea&gt; ", "&lt;Tea&gt; "]


def test_what_it_refuses(shop: str) -> None:
    for tag in ('"shop.Product"', '"shop.Product" "names" other=3', ""):
        with pytest.raises(TemplateSyntaxError, match="cached_on got"):
            Template("{% load redisdict_cache %}{% cached_on " + tag + " %}{% endcached_on %}")
    reason = r"'names' can't be cached, because it reads shop\.Tag, whose changes aren't announced"
    with pytest.raises(NotCacheable, match=reason):
        _render(text=TEXT.replace("shop.Product", "shop.Tag"))

    async def render() -> None:
        _render()

    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(render)()
