"""Oscar's own addresses, with the site's own views of a category and a product before them."""

from __future__ import annotations

from django.apps import apps
from django.urls import include, path, re_path

from benchmarks.site import views

urlpatterns = [
    path("nothing/", views.nothing),
    re_path(r"^catalogue/category/[\w-]+(?:/[\w-]+)*_(?P<pk>\d+)/$", views.Category.as_view()),
    re_path(r"^catalogue/(?P<product_slug>[\w-]*)_(?P<pk>\d+)/$", views.Product.as_view()),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include(apps.get_app_config("oscar").urls[0])),  # type: ignore[attr-defined]
]
