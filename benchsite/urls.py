from django.contrib import admin
from django.templatetags.static import static
from django.urls import path
from django.utils.functional import lazy
from django.views.generic import RedirectView, TemplateView

from benchsite import notes

urlpatterns = [
    path("", TemplateView.as_view(template_name="benchsite/index.html"), name="index"),
    path("sync/", notes.sync_notes, name="sync-notes"),
    path("sync/add/", notes.sync_add, name="sync-notes-add"),
    path("sync/delete/", notes.sync_delete, name="sync-notes-delete"),
    path("async/", notes.async_notes, name="async-notes"),
    path("async/add/", notes.async_add, name="async-notes-add"),
    path("async/delete/", notes.async_delete, name="async-notes-delete"),
    path("favicon.ico", RedirectView.as_view(url=lazy(static, str)("benchsite/icon.svg"))),
    path("admin/", admin.site.urls),
]
