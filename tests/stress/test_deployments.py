"""A short run of `tests.stress.deployments` under uWSGI, whose master forks in C."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.missing import end_without
from tests.stress.deployments.running import program_of, run

pytestmark = pytest.mark.deep


@pytest.mark.parametrize("name", ["uwsgi", "uwsgi with threads"])
def test_processes_of_uwsgi_read_their_own_replies(
    name: str, redis_url: str, tmp_path: Path
) -> None:
    if program_of(name) is None:
        end_without("uwsgi isn't installed; it is in requirements-dev.txt.")
    outcome = run(name, redis_url, tmp_path, processes=4, requests=40, count=50)
    assert outcome.wrong == 0
    assert outcome.shared == 0
    assert outcome.repeated == 0
    assert outcome.reads > 5_000
    assert len(outcome.pids) > 1
