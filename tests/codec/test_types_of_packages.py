"""What well-known packages store in a site's cache has a form without being registered."""

from __future__ import annotations

import json
import os
import sys
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from django.test import RequestFactory
from ormsgpack import Ext, packb

from redisdict.codec import get_codec, register_type, registry
from redisdict.codec.envelope import seal
from redisdict.exceptions import DeserializationError, SerializationError
from tests.missing import need_package

codec = get_codec("msgpack", None)


def again(value: Any) -> Any:
    return codec.decode(codec.encode(value))


class TestRestFramework:
    """Responses of Django REST framework itself, as `cache_page` stores them."""

    @pytest.fixture(autouse=True)
    def is_installed(self) -> None:
        need_package("rest_framework")

    def response(self, data: Any, kind: Any = None) -> Any:
        from rest_framework.renderers import JSONRenderer
        from rest_framework.response import Response
        from rest_framework.views import APIView

        class View(APIView):
            authentication_classes = permission_classes = ()
            renderer_classes = (JSONRenderer,)

            def get(self, request: Any) -> Any:
                return (kind or Response)(data, headers={"X-A": "b"})

        return View.as_view()(RequestFactory().get("/")).render()

    def data(self) -> dict[str, Any]:
        from rest_framework import serializers
        from rest_framework.relations import Hyperlink

        class Serializer(serializers.Serializer):  # type: ignore[misc, type-arg, unused-ignore]
            name = serializers.CharField()
            price = serializers.DecimalField(5, 2)

        rows = [{"name": "a", "price": "1.50"}, {"name": "b", "price": "2.50"}]
        return {
            "count": 2,
            "next": None,
            "results": Serializer(rows, many=True).data,
            "first": Serializer(rows[0]).data,
            "url": Hyperlink("/a/", object()),
        }

    def test_it_comes_back(self) -> None:
        response = self.response(self.data())
        back = again(response)
        assert type(back) is type(response)
        assert back.serialize() == response.serialize()
        assert back.is_rendered
        assert (back.status_code, back.status_text, back["X-A"]) == (200, "OK", "b")
        assert json.loads(back.content) == back.data == response.data

    def test_its_data_comes_back_plain(self) -> None:
        data = again(self.response(self.data())).data
        kinds = [data, data["results"], data["results"][0], data["first"], data["url"]]
        assert list(map(type, kinds)) == [dict, list, dict, dict, str]

    def test_what_a_view_gives_beside_data_of_serializers(self) -> None:
        assert again(self.response(None)).data is None
        response = self.response({"a": 1})
        response.data = {"a": 1j}
        with pytest.raises(SerializationError, match=r"value\.data\['a'\]: complex can't be"):
            codec.encode(response)

    def test_a_subclass_is_registered_by_itself(self) -> None:
        from rest_framework.response import Response

        class Page(Response):
            pass

        response = self.response(self.data(), Page)
        with pytest.raises(SerializationError, match="register_type"):
            codec.encode(response)
        register_type(Page, name="rest page")
        assert type(again(response)) is Page
        assert again(response).data == response.data

    def test_it_is_read_by_a_process_that_has_not_imported_it(self) -> None:
        import subprocess

        stored = codec.encode(self.response({"a": 1}))
        program = (
            "import django, sys; django.setup();"
            "from redisdict.codec import get_codec;"
            "assert 'rest_framework' not in sys.modules;"
            f"print(get_codec().decode({stored!r}).data)"
        )
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment
        )
        assert done.stdout == "{'a': 1}\n", done.stderr


class SiteRootPath(NamedTuple):
    """As Wagtail's, which its sites store in the default cache for every page."""

    site_id: int
    root_path: str
    root_url: str
    language_code: str


SITE_ROOT_PATH = "wagtail.models.sites.SiteRootPath"


@pytest.fixture
def wagtail(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module by the name of Wagtail's, with such a class of its own."""
    for name in ("wagtail", "wagtail.models", "wagtail.models.sites"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    module: Any = sys.modules["wagtail.models.sites"]
    module.SiteRootPath = type("SiteRootPath", (SiteRootPath,), {"__slots__": ()})
    module.SiteRootPath.__module__ = module.__name__
    return module


def test_wagtails_paths_come_back(wagtail: Any) -> None:
    paths = [wagtail.SiteRootPath(1, "/home/", "http://a", "en")]
    stored = codec.encode(paths)
    assert codec.decode(stored) == paths
    assert type(codec.decode(stored)[0]) is wagtail.SiteRootPath
    registry._form_of_type.clear()
    registry._form_of_name.clear()
    assert type(codec.decode(stored)[0]) is wagtail.SiteRootPath  # read first


def test_the_form_of_a_project_stays(wagtail: Any) -> None:
    register_type(wagtail.SiteRootPath, name="root")
    path = wagtail.SiteRootPath(1, "/home/", "http://a", "en")
    assert again(path) == path
    assert b"root" in codec.encode(path)
    with pytest.raises(DeserializationError, match="isn't registered"):
        codec.decode(forged(SITE_ROOT_PATH))


def test_another_version_of_the_package(wagtail: Any) -> None:
    path = wagtail.SiteRootPath(1, "/home/", "http://a", "en")
    del wagtail.SiteRootPath
    with pytest.raises(SerializationError, match="register_type"):
        codec.encode(path)


def test_without_the_package(wagtail: Any) -> None:
    for name in ("wagtail", "wagtail.models", "wagtail.models.sites"):
        sys.modules[name] = None  # type: ignore[assignment]  # how to have an import fail
    with pytest.raises(DeserializationError, match="isn't registered in this process"):
        codec.decode(forged(SITE_ROOT_PATH))


def forged(name: str) -> bytes:
    return seal(b"\x80" + packb(Ext(22, packb([name]))))
