"""Serve read-only pages of a model, for dicts and for runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse


class PagesAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """A read-only admin: no page edits an object; other actions have views of their own."""

    #: What is told when there is no such object.
    missing: Any = ""

    class Media:
        css = {"all": ("redisdict/admin.css", "redisdict/forest.css", "redisdict/narrow.css")}

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """List the objects, by name and number, for the confirmation of a deletion."""
        names = [str(one) for one in objs]
        return names, {str(self.opts.verbose_name_plural): len(names)}, set(), []

    def own_path(
        self, name: str, view: Callable[..., HttpResponseBase], place: str = ""
    ) -> URLPattern:
        """Route a page beside Django's own, of one object where `place` says so."""
        url = f"{place}{name.replace('_', '-')}/"
        return path(url, self.admin_site.admin_view(view), name=self._url_name(name))

    def url(self, name: str, *arguments: str) -> str:
        return reverse(f"{self.admin_site.name}:{self._url_name(name)}", args=arguments)

    def to_page_of(self, one: Model) -> HttpResponse:
        return HttpResponseRedirect(self.url("change", quote(one.pk)))

    def _url_name(self, name: str) -> str:
        return f"redisdict_{self.opts.model_name}_{name}"

    def page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            f"admin/redisdict/{self.opts.model_name}/{name}.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "has_view_permission": True,
                "media": self.media,
                **context,
            },
        )

    def check_view_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def found_or_404(self, request: HttpRequest, object_id: str) -> Any:
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404(self.missing)
        return found
