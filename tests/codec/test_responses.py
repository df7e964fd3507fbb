"""Django's responses come back as they do from a pickle."""

from __future__ import annotations

import pickle
import subprocess
import sys
from contextlib import suppress
from http.cookies import CookieError, Morsel, SimpleCookie
from typing import Any

import pytest
from django import http
from django.template import engines
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st
from ormsgpack import Ext, packb

from redisdict.codec import get_codec, messagepack, register_type, slow_path
from redisdict.codec.envelope import seal
from redisdict.exceptions import ConfigurationError, DeserializationError, SerializationError
from tests.codec.comparing import assert_same
from tests.depth import examples

codec = get_codec("msgpack", None)


def again(value: Any) -> Any:
    return codec.decode(codec.encode(value))


def parts_of(response: Any) -> dict[str, Any]:
    """All that a response has, in values that can be compared."""
    parts = dict(vars(response))
    parts["headers"] = list(response.headers.items())
    parts["cookies"] = [
        (name, cookie.key, cookie.value, cookie.coded_value, dict(cookie))
        for name, cookie in response.cookies.items()
    ]
    parts["shown"] = [
        response.status_code,
        response.reason_phrase,
        response.charset,
        response.content,
        response.serialize(),
        response.cookies.output(),
    ]
    return parts


def assert_comes_back(response: Any) -> Any:
    by_pickle = pickle.loads(pickle.dumps(response))
    back = again(response)
    assert type(back) is type(response)
    assert_same(sorted(parts_of(back).items()), sorted(parts_of(by_pickle).items()))
    assert type(back.cookies) is SimpleCookie
    assert slow_path.dumps(response) == messagepack.dumps(response)
    return back


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True)


@st.composite
def responses(draw: st.DrawFn) -> http.HttpResponse:
    response = http.HttpResponse(
        draw(st.binary(max_size=50) | st.text(st.characters(codec="utf-8"), max_size=20)),
        status=draw(st.integers(100, 599)),
        reason=draw(st.none() | texts.filter(str.isprintable)),
        charset=draw(st.none() | st.just("utf-8")),
        headers=draw(st.dictionaries(names, texts, max_size=3)),
    )
    for chunk in draw(st.lists(st.binary(max_size=20), max_size=2)):
        response.write(chunk)
    for name, value in draw(st.dictionaries(names, texts, max_size=2)).items():
        age = draw(st.none() | st.integers(0, 1000))
        is_secure = draw(st.booleans())
        samesite = draw(st.sampled_from([None, "Lax"]))
        with suppress(CookieError):  # newer Pythons refuse control characters
            response.set_cookie(
                f"c-{name}", value, max_age=age, secure=is_secure, samesite=samesite
            )
    return response


@settings(max_examples=examples(300))
@given(responses())
def test_any_response_comes_back(response: http.HttpResponse) -> None:
    assert_comes_back(response)


@pytest.mark.parametrize(
    "response",
    [
        http.HttpResponse("Grüße", content_type="text/plain; charset=latin-1"),
        http.HttpResponseBadRequest("no"),
        http.HttpResponseForbidden(),
        http.HttpResponseGone(),
        http.HttpResponseNotAllowed(["GET"]),
        http.HttpResponseNotFound("nowhere"),
        http.HttpResponseNotModified(),
        http.HttpResponsePermanentRedirect("/a"),
        http.HttpResponseRedirect("/b"),
        http.HttpResponseServerError(),
        http.JsonResponse({"a": [1, None]}),
    ],
    ids=lambda response: type(response).__name__,
)
def test_each_class_comes_back(response: http.HttpResponse) -> None:
    assert_comes_back(response)


def test_what_has_been_put_on_a_response_comes_back() -> None:
    response: Any = http.HttpResponse("a")
    response.note = {"by": ("a", "middleware")}
    response.delete_cookie("old")
    response.set_signed_cookie("new", "1")
    assert assert_comes_back(response).note == response.note
    assert response.text == "a"  # remembered from now on, and made again of the content
    assert "text" not in vars(again(response))
    assert again(response).text == "a"


def test_what_belongs_to_the_request_is_left_out() -> None:
    response: Any = http.HttpResponse("a")
    response._handler_class = type(response)
    response._resource_closers.append(print)
    back = again(response)
    assert (back._handler_class, back._resource_closers) == (None, [])


def test_a_response_can_be_used_after_it_was_read() -> None:
    back = again(http.HttpResponse("a"))
    back["X-More"] = "1"
    back.set_cookie("a", "1")
    back.write("b")
    assert back.content == b"ab"
    assert again(back).headers["x-more"] == "1"


@pytest.mark.parametrize("is_simple", [True, False])
def test_a_rendered_template_comes_back_without_its_template(is_simple: bool) -> None:
    template = engines["django"].from_string("<b>{{ what }}</b>")
    context = {"what": "<i>"}
    response: Any = (
        SimpleTemplateResponse(template, context)
        if is_simple
        else TemplateResponse(RequestFactory().get("/"), template, context)
    )
    with pytest.raises(SerializationError, match=r"ContentNotRenderedError: .*must be rendered"):
        codec.encode(response)
    response.render()
    back = assert_comes_back(response)
    assert back.content == b"<b>&lt;i&gt;</b>"
    assert back.is_rendered
    assert not hasattr(back, "template_name")
    assert not hasattr(back, "context_data")
    assert not hasattr(back, "_request") or is_simple


@pytest.mark.parametrize("kind", [http.StreamingHttpResponse, http.FileResponse])
def test_streams_are_refused(kind: type) -> None:
    with pytest.raises(SerializationError, match=f"{kind.__name__} can't be stored"):
        codec.encode(kind())
    with pytest.raises(ConfigurationError, match="give `to`"):
        register_type(kind)


class Page(http.HttpResponse):
    """A project's own."""


def test_a_class_of_ones_own_is_registered_in_one_line() -> None:
    with pytest.raises(SerializationError, match=r"Page can't be stored: .*register_type"):
        codec.encode(Page())
    register_type(Page)
    page: Any = Page("a", status=201)
    page.title = "A"
    assert assert_comes_back(page).title == "A"
    assert register_type(http.HttpResponse) is http.HttpResponse


def test_what_is_put_on_it_must_be_storable() -> None:
    response: Any = http.HttpResponse()
    response.view = object()
    with pytest.raises(SerializationError, match=r"^value\['page'\]\.view: object can't be stored"):
        codec.encode({"page": response})


def test_headers_keep_the_form_that_django_gave_them() -> None:
    response = http.HttpResponse(headers={"X-Long": "two\x0blines of ✓"})
    assert "\n" in response.headers["X-Long"]
    assert_comes_back(response)
    back = again(response)
    back["x-long"] = "short"
    assert next(iter(back.headers.items())) == ("x-long", "short")


def test_cookies_keep_what_they_are_filed_under() -> None:
    response = http.HttpResponse()
    dict.__setitem__(response.cookies, "empty", Morsel())
    back = again(response)
    assert back.cookies["empty"].key is None


def test_the_stored_form() -> None:
    """As in test_golden_bytes.py: change the code, not these bytes."""
    response = http.HttpResponse("a", "text/plain", 201, "Made", "utf-8", {"X-A": "b"})
    response.set_cookie("c", "d e", path="/f")
    stored = (
        b"\x80\xc7\xb4\x16\x9f\xd9!django.http.response.HttpResponse\xa7headers\x94\xa3X-A\xa1b"
        b"\xacContent-Type\xaatext/plain\xa8_charset\xa5utf-8\xa7cookies\x91\x95\xa1c\xa1c\xa3d e"
        b'\xa5"d e"\x81\xa4path\xa2/f\xa6closed\xc2\xabstatus_code\xcc\xc9'
        b"\xae_reason_phrase\xa4Made\xaa_container\x91\xc4\x01aM\xe4z\xb1"
    )
    assert codec.encode(response) == stored
    assert_same(sorted(parts_of(codec.decode(stored)).items()), sorted(parts_of(response).items()))


HTTP = "django.http.response.HttpResponse"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "KeyError"),
        ({"_container": ["text"], "headers": [], "cookies": []}, "content of a response is bytes"),
        ({"_container": b"x", "headers": [], "cookies": []}, "content of a response is bytes"),
        ({"_container": [], "headers": ["a"], "cookies": []}, "zip"),
        ({"_container": [], "headers": ["a", 5], "cookies": []}, "headers of a response are text"),
        ({"_container": [], "headers": [5, "a"], "cookies": []}, "headers of a response are text"),
        ({"_container": [], "headers": [], "cookies": [[1]]}, "unpack"),
        (
            {"_container": [], "headers": [], "cookies": [["a", "a", "a", "a", {"evil": 1}]]},
            "CookieError",
        ),
    ],
)
def test_forged_responses_are_errors(state: dict[str, Any], message: str) -> None:
    parts = [HTTP, *(part for item in state.items() for part in item)]
    with pytest.raises(DeserializationError, match=message):
        codec.decode(seal(b"\x80" + packb(Ext(22, packb(parts)))))


@pytest.mark.parametrize("kind", ["SimpleTemplateResponse", "TemplateResponse"])
@pytest.mark.parametrize("is_rendered", [{}, {"_is_rendered": False}, {"_is_rendered": "yes"}])
def test_no_template_is_rendered_that_stored_bytes_name(
    kind: str, is_rendered: dict[str, Any]
) -> None:
    forged = {"template_name": "admin/login.html", "using": None, **is_rendered}
    state = {"_container": [b""], "headers": [], "cookies": [], **forged}
    parts = [f"django.template.response.{kind}", *(part for item in state.items() for part in item)]
    with pytest.raises(DeserializationError, match="isn't rendered"):
        codec.decode(seal(b"\x80" + packb(Ext(22, packb(parts)))))


def test_responses_are_imported_only_where_there_is_one() -> None:
    program = """
import sys
from redisdict.codec import get_codec
codec = get_codec()
assert codec.decode(codec.encode((1, "a"))) == (1, "a")
assert "redisdict.codec.django_forms" not in sys.modules
assert "django.template.response" not in sys.modules
from django.conf import settings
settings.configure()
print(codec.decode(bytes.fromhex(sys.argv[1])).content)
"""
    stored = codec.encode(http.HttpResponse("a", "text/plain", charset="utf-8")).hex()
    done = subprocess.run([sys.executable, "-c", program, stored], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("b'a'\n", "")
