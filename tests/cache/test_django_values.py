"""What Django itself stores in caches, with the serializer that is the default."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.messages.storage.session import SessionStorage
from django.contrib.sessions.backends.cache import SessionStore
from django.http import HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import RequestFactory
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import cache_page

from redisdict.cache import DictCache
from redisdict.cache.codecs import UnstorableError
from redisdict.codec import register_type, registry
from tests.cache.conftest import Face
from tests.codec.conftest import registrations

__all__ = ["registrations"]


def get(view: Any) -> Any:
    response = view(RequestFactory().get("/page"))
    if hasattr(response, "render"):
        response.render()
    return response


def test_a_page(cache: DictCache) -> None:
    calls: list[Any] = []

    @cache_page(60)
    def view(request: Any) -> HttpResponse:
        calls.append(request)
        response = HttpResponse("Grüße", headers={"X-A": "b"}, charset="latin-1")
        response.set_cookie("c", "d e", max_age=60, httponly=True)
        return response

    first, second = get(view), get(view)
    assert len(calls) == 1
    assert type(second) is HttpResponse
    assert second.content == "Grüße".encode("latin-1")
    assert second.cookies.output() == first.cookies.output()
    assert dict(second.headers).items() >= dict(first.headers).items()  # Django tells the age
    assert (second.status_code, second.reason_phrase, second.charset) == (200, "OK", "latin-1")


def test_a_page_of_a_template(cache: DictCache) -> None:
    calls: list[Any] = []

    @cache_page(60)
    def view(request: Any) -> HttpResponse:
        calls.append(request)
        template: Any = engines["django"].from_string("{{ a }}")
        return TemplateResponse(request, template, {"a": "<b>", "request": request})

    for _ in range(2):
        response = get(view)
        assert type(response) is TemplateResponse
        assert response.content == b"&lt;b&gt;"
    assert len(calls) == 1
    assert not hasattr(response, "context_data")


def test_a_stream_is_not_stored(cache: DictCache) -> None:
    view = cache_page(60)(lambda request: StreamingHttpResponse([b"a"]))
    get(view)
    assert cache.keys() == []


def test_safe_text(face: Face) -> None:
    face.set("k", {"html": [mark_safe("<b>")]})
    assert type(face.get("k")["html"][0]) is SafeString
    assert face.get("k") == {"html": ["<b>"]}


def test_a_session_and_its_messages(cache: DictCache) -> None:
    session = SessionStore()
    request: Any = SimpleNamespace(session=session)
    request._messages = SessionStorage(request)
    messages.info(request, gettext_lazy("run"), extra_tags="big")
    messages.error(request, mark_safe("<b>"))
    request._messages.update(HttpResponse())
    session["when"] = datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)
    session.set_expiry(datetime.timedelta(days=1))
    session.save()

    later: Any = SimpleNamespace(session=SessionStore(session.session_key))
    shown = list(SessionStorage(later))
    assert [(each.level_tag, each.message, each.tags) for each in shown] == [
        ("info", "run", "big info"),
        ("error", "<b>", "error"),
    ]
    assert type(shown[1].message) is SafeString
    assert later.session["when"] == session["when"]


class Page(HttpResponse):
    pass


def test_a_class_of_ones_own(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page("a")
    with pytest.raises(UnstorableError, match=r'register_type\(\).*"SERIALIZER": "pickle"'):
        face.set("k", page)
    register_type(Page, name="page")
    face.set("k", page)
    assert type(face.get("k")) is Page
    assert face.get("k").content == b"a"
    monkeypatch.setattr(registry, "_form_of_name", {})
    with pytest.raises(ValueError, match="'page', which isn't registered in this process"):
        face.get("k")
