"""The record of a run that is about to begin."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from redisdict.bench import environment
from redisdict.bench.results import RunRecord
from redisdict.bench.spec import BenchmarkSpec
from redisdict.bench.specfile import spec_to_dict

__all__ = ["new_record"]


def new_record(spec: BenchmarkSpec, label: str) -> RunRecord:
    """What is known before anything is measured: when, where, and of which commit."""
    return RunRecord(
        preset=spec.preset,
        label=label,
        started_at=datetime.now(UTC),
        commit=environment.commit(Path(getattr(settings, "BASE_DIR", "."))),
        machine=environment.machine(),
        spec=spec_to_dict(spec),
        environment=environment.collect(),
    )
