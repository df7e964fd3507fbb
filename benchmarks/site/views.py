"""The site's own views of oscar's two pages that are asked for most.

Oscar lists a category's products by a search engine, which no cache of a database knows of: here
they come from the database. A product's view is oscar's.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.functional import SimpleLazyObject
from django.views.generic import ListView
from oscar.apps.catalogue.views import ProductDetailView
from oscar.defaults import OSCAR_PRODUCTS_PER_PAGE

from benchmarks.site.settings import CACHE, HAS_FRAGMENTS
from benchmarks.site.sources import categories, products


def nothing(request: HttpRequest) -> HttpResponse:
    """What every response costs, with oscar's middleware."""
    return HttpResponse("nothing")


class Category(ListView):  # type: ignore[type-arg]
    """A category's products, the newest first."""

    template_name = "oscar/catalogue/category.html"
    context_object_name = "products"
    paginate_by = OSCAR_PRODUCTS_PER_PAGE

    def get_queryset(self) -> Any:
        self.category = get_object_or_404(categories(), pk=self.kwargs["pk"], is_public=True)
        chosen = products().browsable().filter(categories__path__startswith=self.category.path)
        return chosen.distinct().order_by("-date_created", "-pk")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(category=self.category, **kwargs)
        # The page's rows, with what a list shows of them: asked for where they are shown.
        context["products"] = SimpleLazyObject(context["page_obj"].object_list.base_queryset)
        return context


class Product(ProductDetailView):  # type: ignore[misc]
    """Oscar's view of a product."""

    def get_queryset(self) -> Any:
        if CACHE != "redisdict":
            return super().get_queryset()
        chosen = products().select_related("product_class")
        return chosen if HAS_FRAGMENTS else chosen.prefetch_related("stockrecords", "images")
