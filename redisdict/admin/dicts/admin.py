"""Show the servers of all aliases, their dicts, and the items of one."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from redisdict import conf
from redisdict.admin.dicts.editing import ItemForm, codec_for, form_for, version_of
from redisdict.admin.dicts.pages import (
    BEGINNING,
    found_of,
    glob_of,
    layout_of,
    list_dicts,
    list_items,
    shown_name,
)
from redisdict.admin.pages import PagesAdmin
from redisdict.connections.backend import Backend
from redisdict.connections.registry import get_backend
from redisdict.exceptions import ConfigurationError, RedisDictError
from redisdict.inspection.finding import open_dict
from redisdict.inspection.json_lines import exported
from redisdict.inspection.servers import SERVER_ERRORS, all_servers, model_caches, warnings
from redisdict.inspection.values import LONGEST_WHOLE, lifetime_text, show_key, show_value
from redisdict.models import StoredDict

#: Cursors as servers give them, and as dicts in shards join several.
_CURSOR = re.compile(r"[0-9]+(:[0-9=,]*)?")


@admin.register(StoredDict)
class StoredDictAdmin(PagesAdmin):
    """No page of it asks the database for a dict, and none uses a command that blocks a server."""

    missing = gettext_lazy("There is no such dict, or no such alias in REDISDICT.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def may_edit(self, request: HttpRequest) -> bool:
        """Return whether values may be edited, on the pages of items.

        Django's own forms edit no dict, so `has_change_permission()` denies it to everybody.
        """
        return request.user.has_perm("redisdict.change_storeddict")

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "item": self.item_view,
            "delete_item": self.delete_item_view,
            "export": self.export_view,
        }
        own = [self.own_path(name, view, "<path:object_id>/") for name, view in pages.items()]
        return [*own, *super().get_urls()]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> StoredDict | None:
        """Make the dict of this identity, whether or not the server has it at the moment."""
        stored = StoredDict(identity=object_id)
        try:
            stored.clean()
        except ValidationError:
            return None
        try:
            return stored if stored.alias in conf.aliases() else None
        except ConfigurationError:
            return None  # the list says so

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the servers of all aliases, the cached models, and the dicts of the chosen alias."""
        self.check_view_permission(request)
        try:
            servers = all_servers()
        except ConfigurationError as error:
            servers = []
            self.message_user(request, str(error), messages.ERROR)
        chosen = request.GET.get("alias", "")
        usable = [server.alias for server in servers if not server.problem]
        if chosen not in usable:
            chosen = usable[0] if usable else ""
        context: dict[str, Any] = {
            "servers": servers,
            "caches": model_caches(),
            "warnings": warnings(),
            "alias": chosen,
        }
        if chosen:
            try:
                context["page"] = list_dicts(get_backend(chosen), _cursor(request))
            except SERVER_ERRORS as error:
                self.message_user(request, str(error), messages.ERROR)
        # The attributes of a list that Django's template for lists needs.
        context |= {"cl": {"opts": self.opts}, "actions_on_top": True}
        return self.page(request, "change_list", {"title": _("Persistent dicts"), **context})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one page of the items of a dict."""
        self.check_view_permission(request)
        stored = self.found_or_404(request, object_id)
        pattern = request.GET.get("q", "")
        context: dict[str, Any] = {"title": shown_name(stored), "original": stored}
        try:
            backend = get_backend(stored.alias)
            context["page"] = list_items(backend, stored, pattern, _cursor(request))
        except (*SERVER_ERRORS, ValueError) as error:
            context["problem"] = str(error)
        context |= {
            "may_edit": self.may_edit(request),
            "pattern": pattern,
            "has_delete_permission": self.has_delete_permission(request, stored),
        }
        return self.page(request, "change_form", context)

    def item_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the whole value of one item, and store another where that is allowed."""
        self.check_view_permission(request)
        stored = self.found_or_404(request, object_id)
        field = _field(request)
        if request.method == "POST" and not self.may_edit(request):
            raise PermissionDenied
        form = ItemForm(request.POST) if request.method == "POST" else None
        context: dict[str, Any] = {
            "original": stored,
            "name": shown_name(stored),
            "key": show_key(field),
            "title": _("Item %(key)s") % {"key": show_key(field).text},
            "has_delete_permission": self.has_delete_permission(request, stored),
        }
        try:
            backend = get_backend(stored.alias)
            if form is not None and self._is_saved(backend, stored, field, form):
                text = _("The item %(key)s is changed.") % {"key": show_key(field).text}
                self.log_change(
                    request, stored, _("Changed the item %(key)s.") % {"key": show_key(field).text}
                )
                self.message_user(request, text, messages.SUCCESS)
                return self.to_page_of(stored)
            layout = layout_of(backend, stored)
            value, left_ms = backend.driver.run(layout.get_with_ttl(field))
        except SERVER_ERRORS as error:
            if form is None:
                return self._failed(request, stored, error)
            form.add_error(None, str(error))  # what was typed mustn't be lost
            return self.page(request, "item", context | {"form": form})
        if value is not None:
            context |= {
                "value": show_value(value, LONGEST_WHOLE),
                "lifetime": lifetime_text(left_ms),
            }
            if form is None and self.may_edit(request):
                try:
                    form = form_for(value)
                except ValueError as error:
                    context["why_not_edited"] = str(error)
        return self.page(request, "item", context | {"form": form})

    def _is_saved(self, backend: Backend, stored: StoredDict, field: bytes, form: ItemForm) -> bool:
        """Store the form's value if the item hasn't changed since the form was made.

        Otherwise the form shows the error and is filled with the item's current value. GET, and a
        script that keeps the time to live.
        """
        if not form.is_valid():
            return False
        layout = layout_of(backend, stored)
        before = backend.driver.do(layout.get(field))
        if before is None:
            form.add_error(None, _("The item was deleted meanwhile, so nothing was stored."))
            return False
        if version_of(before) == form.cleaned_data["version"]:
            try:
                new = codec_for(before, backend.config).encode(form.cleaned_data["new"])
            except RedisDictError as error:
                form.add_error("value", str(error))
                return False
            if backend.driver.run(layout.compare_and_set(field, before, new)):
                return True
            before = backend.driver.do(layout.get(field)) or b""
        form.is_outdated(version_of(before))
        return False

    def export_view(self, request: HttpRequest, object_id: str) -> FileResponse | HttpResponse:
        """Send the items whose keys match as a file of JSON Lines."""
        self.check_view_permission(request)
        stored = self.found_or_404(request, object_id)
        try:
            backend = get_backend(stored.alias)
            glob = glob_of(request.GET.get("q", ""))
            file = exported(open_dict(backend, found_of(stored)), glob)
        except (*SERVER_ERRORS, ValueError) as error:
            return self._failed(request, stored, error)
        name = slugify("-".join(stored.path))[:60] or "dict"
        return FileResponse(
            file,
            as_attachment=True,
            filename=f"{name}.jsonl",
            content_type="application/jsonl; charset=utf-8",
        )

    def delete_item_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, and delete one item when the answer is yes."""
        stored = self.found_or_404(request, object_id)
        if not self.has_delete_permission(request, stored):
            raise PermissionDenied
        field = _field(request)
        backend = get_backend(stored.alias)
        layout = layout_of(backend, stored)
        try:
            if request.method == "POST":
                was_there = bool(backend.driver.do(layout.delete(field)))
                return self._item_deleted(request, stored, show_key(field).text, was_there)
            value = backend.driver.do(layout.get(field))
        except SERVER_ERRORS as error:
            return self._failed(request, stored, error)
        context = {
            "title": _("Delete an item"),
            "original": stored,
            "name": shown_name(stored),
            "key": show_key(field),
            "value": show_value(value) if value is not None else None,
        }
        return self.page(request, "delete_item", context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except SERVER_ERRORS as error:
            return self._failed(request, self.found_or_404(request, object_id), error)

    def delete_model(self, request: HttpRequest, obj: StoredDict) -> None:
        """Delete a whole dict: UNLINK, which frees the memory in the background."""
        backend = get_backend(obj.alias)
        backend.driver.run(layout_of(backend, obj).clear())

    def _item_deleted(
        self, request: HttpRequest, stored: StoredDict, key: str, was_there: bool
    ) -> HttpResponse:
        if was_there:
            self.log_change(request, stored, _("Deleted the item %(key)s.") % {"key": key})
            text, level = _("The item %(key)s is deleted."), messages.SUCCESS
        else:
            text, level = _("The item %(key)s had been deleted already."), messages.WARNING
        self.message_user(request, text % {"key": key}, level)
        return self.to_page_of(stored)

    def _failed(self, request: HttpRequest, stored: StoredDict, error: Exception) -> HttpResponse:
        self.message_user(request, str(error), messages.ERROR)
        return self.to_page_of(stored)


def _field(request: HttpRequest) -> bytes:
    """Read which item is meant: its key as hex, which any key has."""
    try:
        return bytes.fromhex(request.GET.get("field", ""))
    except ValueError as error:
        raise Http404(_("This isn't the key of an item.")) from error


def _cursor(request: HttpRequest) -> str:
    """Read where the page begins: a number that the server gave, or those of several shards."""
    cursor = request.GET.get("cursor", BEGINNING)
    return cursor if _CURSOR.fullmatch(cursor) else BEGINNING
