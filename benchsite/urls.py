from django.contrib import admin
from django.urls import path
from django.views.generic import TemplateView

from benchsite import notes

urlpatterns = [
    path("", TemplateView.as_view(template_name="benchsite/index.html"), name="index"),
    path("sync/", notes.sync_notes, name="sync-notes"),
    path("sync/add/", notes.sync_add, name="sync-notes-add"),
    path("sync/delete/", notes.sync_delete, name="sync-notes-delete"),
    path("async/", notes.async_notes, name="async-notes"),
    path("async/add/", notes.async_add, name="async-notes-add"),
    path("async/delete/", notes.async_delete, name="async-notes-delete"),
    path("admin/", admin.site.urls),
]
