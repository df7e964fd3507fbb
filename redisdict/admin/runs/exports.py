"""Export runs as files: what `redisbench` itself prints, for one run or several."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpResponse
from django.utils.functional import Promise
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from redisdict.bench.report import render
from redisdict.models import BenchmarkRun

__all__ = ["FORMATS", "ExportFormat", "export"]


@dataclass(frozen=True)
class ExportFormat:
    """A format of `redisbench --format` as a file."""

    name: str
    label: Promise
    suffix: str
    content_type: str


FORMATS = {
    one.name: one
    for one in (
        ExportFormat("csv", _("CSV"), "csv", "text/csv"),
        ExportFormat("json", _("JSON"), "json", "application/json"),
        ExportFormat("markdown", _("Markdown"), "md", "text/markdown"),
    )
}


def export(runs: Sequence[BenchmarkRun], format_name: str) -> HttpResponse:
    """Write one run as a file, several as a ZIP archive with a file each.

    The results of the runs should be prefetched.

    Raises:
        KeyError: there is no such format.
    """
    chosen = FORMATS[format_name]
    files = {_file_name(run, chosen): render(run, chosen.name) for run in runs}
    if len(files) == 1:
        [(name, text)] = files.items()
        return _download(name, text.encode(), f"{chosen.content_type}; charset=utf-8")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, text in files.items():
            out.writestr(name, text)
    return _download(f"benchmark-runs-{chosen.name}.zip", archive.getvalue(), "application/zip")


def _file_name(run: BenchmarkRun, chosen: ExportFormat) -> str:
    """Of letters, digits and dashes only, whatever the label has in it."""
    label = slugify(run.label)[:60]
    return f"benchmark-run-{run.pk}{f'-{label}' if label else ''}.{chosen.suffix}"


def _download(name: str, content: bytes, content_type: str) -> HttpResponse:
    return HttpResponse(
        content,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
