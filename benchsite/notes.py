"""A list of notes that every process of the site shares, kept in a `PersistentDict`.

The same page twice: once with the dict's plain methods in sync views, once with their async twins.
"""

import uuid
from datetime import datetime
from typing import TypedDict

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from redisdict import PersistentDict

LONGEST_NOTE = 200


class Note(TypedDict):
    text: str
    written_at: datetime


# Making a dict connects to nothing; the first call of a method does.
notes: PersistentDict[str, Note] = PersistentDict("notes")
visits: PersistentDict[str, int] = PersistentDict("visits")


def new_note(request: HttpRequest) -> Note | None:
    """The note that the form sent, or None when it was empty."""
    text = request.POST.get("text", "").strip()[:LONGEST_NOTE]
    return Note(text=text, written_at=timezone.now()) if text else None


def render_notes(
    request: HttpRequest, mode: str, items: list[tuple[str, Note]], visit_count: int
) -> HttpResponse:
    items.sort(key=lambda item: item[1]["written_at"], reverse=True)
    context = {
        "mode": mode,
        "items": items,
        "visit_count": visit_count,
        "longest_note": LONGEST_NOTE,
        "add_url": f"{mode}-notes-add",
        "delete_url": f"{mode}-notes-delete",
    }
    return render(request, "benchsite/notes.html", context)


@require_GET
def sync_notes(request: HttpRequest) -> HttpResponse:
    visit_count = visits.incr("sync")
    return render_notes(request, "sync", list(notes.items()), visit_count)


@require_POST
def sync_add(request: HttpRequest) -> HttpResponse:
    if note := new_note(request):
        notes[str(uuid.uuid4())] = note
    return redirect("sync-notes")


@require_POST
def sync_delete(request: HttpRequest) -> HttpResponse:
    notes.pop(request.POST.get("key", ""), None)
    return redirect("sync-notes")


@require_GET
async def async_notes(request: HttpRequest) -> HttpResponse:
    visit_count = await visits.aincr("async")
    items = [item async for item in notes.aitems()]
    return render_notes(request, "async", items, visit_count)


@require_POST
async def async_add(request: HttpRequest) -> HttpResponse:
    if note := new_note(request):
        await notes.aset(str(uuid.uuid4()), note)
    return redirect("async-notes")


@require_POST
async def async_delete(request: HttpRequest) -> HttpResponse:
    await notes.apop(request.POST.get("key", ""), None)
    return redirect("async-notes")
