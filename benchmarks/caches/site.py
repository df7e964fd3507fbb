"""A site with a cached page and a page that reads the session, once for each cache."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.cache import SessionStore as DjangosStore
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.cache import cache_page

PAGE = "<p>A page of twenty kilobytes, as sites have them.</p>\n" * 364

CART = {"items": [[number, 2, "12.50"] for number in range(10)], "user": 42}


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


def cart(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(request.session["cart"]["items"])))


def session_engine(name: str) -> str:
    """The path of Django's session engine of caches, on the cache of that name."""

    class SessionStore(DjangosStore):
        def __init__(self, session_key: str | None = None) -> None:
            super().__init__(session_key)
            self._cache = caches[name]

    module: Any = ModuleType(f"session_of_{slug(name)}")
    module.SessionStore = SessionStore
    sys.modules[module.__name__] = module
    return str(module.__name__)


def slug(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name)


urlpatterns = [
    path("cart", cart),
    *(path(f"page/{slug(name)}", cache_page(600, cache=name)(page)) for name in settings.CACHES),
]
