"""Store Django's responses: status, reason, headers, cookies, content and charset.

They come back as from a pickle: a template's response, which must be rendered, without its template
and context. Responses of Django REST framework, which are of this kind, keep their data, as plain
values. Imported only when the first one is written or read.
"""

from __future__ import annotations

from collections.abc import Iterable
from http.cookies import Morsel, SimpleCookie
from typing import Any, Final

from django.http import response as responses
from django.http.response import HttpResponse, ResponseHeaders
from django.template.response import SimpleTemplateResponse, TemplateResponse

from redisdict.codec.extensions import alternate, pair_up
from redisdict.codec.normalize import Step
from redisdict.codec.registry import TypeForm, add_form, attribute_steps

#: Attributes that belong to the current request, or that are computed again when they are used.
_LEFT_OUT: Final = frozenset({"_handler_class", "_resource_closers", "text"})


def functions_of(kind: type) -> Any:
    """Return the functions that store responses of a class; None unless they have a content."""
    if not issubclass(kind, HttpResponse):
        return None

    is_template = issubclass(kind, SimpleTemplateResponse)

    def put_together(parts: list[Any]) -> HttpResponse:
        state = pair_up(parts)
        content = state["_container"]
        if type(content) is not list or any(type(part) is not bytes for part in content):
            raise ValueError("the content of a response is bytes")
        if is_template and state.get("_is_rendered") is not True:
            # Django would render whichever template these bytes name.
            raise ValueError("the response of a template isn't rendered")
        state["headers"] = _make_headers(state["headers"])
        state["cookies"] = _make_cookies(state["cookies"])
        response = object.__new__(kind)
        vars(response).update(state, _handler_class=None, _resource_closers=[])
        return response

    return _take_apart, put_together, _steps


def _state_of(response: HttpResponse) -> dict[str, Any]:
    stored: dict[str, Any] = response.__getstate__()  # type: ignore[assignment]  # object's has another
    state = {name: value for name, value in stored.items() if name not in _LEFT_OUT}
    if _is_rest_framework_s(type(response)):
        state["data"] = _plain_data(state["data"])
    return state


def _is_rest_framework_s(kind: type) -> bool:
    return any(base.__module__ == "rest_framework.response" for base in kind.__mro__)


def _plain_data(data: Any) -> Any:
    """Return equal data without the classes that Django REST framework's serializers have.

    Its lists and dicts hold the serializer, and its links the object that they lead to.
    """
    if isinstance(data, dict):
        return {_plain_data(key): _plain_data(item) for key, item in data.items()}
    if isinstance(data, list):
        return list(map(_plain_data, data))
    return str(data) if isinstance(data, str) else data


def _take_apart(response: HttpResponse) -> list[Any]:
    state = _state_of(response)
    state["headers"] = alternate(dict(response.headers.items()))
    state["cookies"] = [_take_cookie_apart(*item) for item in response.cookies.items()]
    return alternate(state)


def _steps(response: HttpResponse) -> Iterable[Step]:
    return attribute_steps(_state_of(response))


def _make_headers(stored: list[Any]) -> ResponseHeaders:
    headers = ResponseHeaders({})
    for name, value in pair_up(stored).items():
        if type(name) is not str or type(value) is not str:
            raise ValueError("the headers of a response are text")
        # Not headers[name]: that refuses the folded form which it gives to long text itself.
        headers._store[name.lower()] = (name, value)
    return headers


def _take_cookie_apart(name: str, cookie: Morsel[str]) -> list[Any]:
    attributes = {each: value for each, value in cookie.items() if value != ""}
    return [name, cookie.key, cookie.value, cookie.coded_value, attributes]


def _make_cookies(stored: list[list[Any]]) -> SimpleCookie:
    cookies = SimpleCookie()
    for name, key, value, coded_value, attributes in stored:
        cookie: Morsel[str] = Morsel()
        cookie.__setstate__({"key": key, "value": value, "coded_value": coded_value})  # type: ignore[attr-defined]  # no stub
        cookie.update(attributes)
        cookies[name] = cookie
    return cookies


for _kind in (
    HttpResponse,
    responses.HttpResponseBadRequest,
    responses.HttpResponseForbidden,
    responses.HttpResponseGone,
    responses.HttpResponseNotAllowed,
    responses.HttpResponseNotFound,
    responses.HttpResponseNotModified,
    responses.HttpResponsePermanentRedirect,
    responses.HttpResponseRedirect,
    responses.HttpResponseServerError,
    responses.JsonResponse,
    SimpleTemplateResponse,
    TemplateResponse,
):
    add_form(TypeForm(_kind, f"{_kind.__module__}.{_kind.__qualname__}", *functions_of(_kind)))
