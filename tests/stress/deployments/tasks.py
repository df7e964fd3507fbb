"""The application as Celery sees it."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from tests.stress.deployments.reading import read

__all__ = ["app", "read_in_task"]

app = Celery(
    "deployments",
    broker=os.environ["REDISDICT_SERVER"],
    backend=os.environ["REDISDICT_SERVER"],
)
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1


@app.task
def read_in_task(count: int) -> dict[str, Any]:
    return read(count)
