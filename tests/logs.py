"""What modules of redisdict have logged, without what threads of earlier tests log meanwhile."""

from __future__ import annotations

from logging import LogRecord

import pytest

__all__ = ["logged_by"]


def logged_by(caplog: pytest.LogCaptureFixture, *modules: str) -> list[LogRecord]:
    """Return the records of some modules, by their names without packages.

    pytest collects those of the whole process: a listener or a repairer that an earlier test began
    may say that its server has gone.
    """
    return [record for record in caplog.records if record.module in modules]
