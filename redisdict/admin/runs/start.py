"""Start a run from the admin, in a process of its own, and watch it from there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from datetime import timedelta
from typing import IO, Any

from django import forms
from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from redisdict.bench.choices import RunStatus
from redisdict.bench.measure.services import discover
from redisdict.bench.records import new_run, save_run
from redisdict.bench.selection import select
from redisdict.bench.spec import PRESETS
from redisdict.models import BenchmarkProgress, BenchmarkRun

#: A run writes its progress once a second, and between two parts of it stops and starts servers.
SILENT_AFTER = timedelta(seconds=60)

#: The number of characters kept of a failed process's last output.
LONGEST_ERROR = 2000


class StartForm(forms.Form):
    """The form for a run. It has no addresses: those of the settings are used."""

    label = forms.CharField(
        label=_("Label"), max_length=200, required=False, help_text=_("A name to find the run by.")
    )
    preset = forms.ChoiceField(
        label=_("Preset"),
        choices=[(name, name) for name in PRESETS],
        initial="quick",
        help_text=_("quick takes half a minute, standard some minutes, rigorous half an hour."),
    )
    services = forms.MultipleChoiceField(
        label=_("Services"), widget=forms.CheckboxSelectMultiple, required=True
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        available = [service for service in discover() if service.is_available]
        choices = [(one.key, f"{one.title} ({one.address or one.source})") for one in available]
        self.fields["services"].choices = choices  # type: ignore[attr-defined]  # of a MultipleChoiceField
        self.fields["services"].initial = [one.key for one in available]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if _running().exists():
            raise forms.ValidationError(
                _("A run is in progress, and two at a time would disturb each other.")
            )
        return cleaned


def start(label: str, preset: str, services: list[str]) -> BenchmarkRun:
    """Save the run that is to be, and have `redisbench` complete it in a process of its own."""
    run = new_run(select(PRESETS[preset], services=tuple(services)), label)
    with transaction.atomic():
        run = save_run(run)
        BenchmarkProgress.objects.create(run=run, updated_at=timezone.now())
        transaction.on_commit(lambda: _launch(run.pk))
    return run


def cancel(run: BenchmarkRun) -> None:
    """End a run as Ctrl-C would; if its process is gone, mark it as ended."""
    if is_silent(run):
        _end(run.pk, RunStatus.INTERRUPTED, "its process ended without an error message")
    else:
        BenchmarkProgress.objects.filter(run=run).update(is_cancel_requested=True)


def is_silent(run: BenchmarkRun) -> bool:
    """Return whether the process of a running run has given no sign of life for a while."""
    progress = progress_of(run)
    return progress is not None and timezone.now() - progress.updated_at > SILENT_AFTER


def progress_of(run: BenchmarkRun) -> BenchmarkProgress | None:
    """Find the progress of a run that was started from the admin and isn't over."""
    if run.status != RunStatus.RUNNING:
        return None
    return BenchmarkProgress.objects.filter(run=run).first()


def _running() -> QuerySet[BenchmarkProgress]:
    return BenchmarkProgress.objects.filter(
        run__status=RunStatus.RUNNING, updated_at__gt=timezone.now() - SILENT_AFTER
    )


def _launch(key: int) -> None:
    """Start the process, which outlives this one, and wait for it in a thread.

    What it says goes to a file and not to a pipe: a pipe would break when this process ends.
    """
    said = tempfile.TemporaryFile()  # noqa: SIM115 - the thread closes it
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if settings.SETTINGS_MODULE:
        environment["DJANGO_SETTINGS_MODULE"] = settings.SETTINGS_MODULE
    arguments = ["redisbench", "--resume", str(key), "--watched"]
    try:
        process = subprocess.Popen(  # noqa: S603 - fixed words and a number
            [sys.executable, "-m", "django", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        said.close()
        _end(key, RunStatus.FAILED, f"its process could not be started: {error}")
        return
    threading.Thread(target=_wait, args=(process, said, key), daemon=True).start()


def _wait(process: subprocess.Popen[bytes], said: IO[bytes], key: int) -> None:
    """Reap the process, and write down why it failed if it couldn't do so itself."""
    try:
        with said:
            process.wait()
            said.seek(0)
            text = said.read().decode("utf-8", "replace").strip()
        _end(key, RunStatus.FAILED, text[-LONGEST_ERROR:])
    finally:
        connection.close()


def _end(key: int, status: RunStatus, error: str) -> None:
    """For a run that still counts as running; one that has ended knows better how."""
    BenchmarkRun.objects.filter(pk=key, status=RunStatus.RUNNING).update(
        status=status, error=error, finished_at=timezone.now()
    )
