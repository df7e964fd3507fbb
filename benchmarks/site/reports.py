"""Where each contender writes what it has found before anything was measured."""

from __future__ import annotations

import re
from pathlib import Path


def report_of(place: str | Path, kind: str) -> Path:
    """The file of the contender of this name."""
    return Path(place) / f"{re.sub('[^a-z0-9]+', '-', kind.lower())}.json"
