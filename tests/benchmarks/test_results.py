"""The comparisons of kept results and of a site's pages run, as far as what they need is here."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.missing import end_without
from tests.modelcache.postgres import PostgresCluster, PostgresMissing

pytestmark = pytest.mark.deep

ROOT = Path(__file__).parents[2]


def _run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", name, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def postgres() -> None:
    try:
        PostgresCluster()
    except PostgresMissing as error:
        end_without(error)


def test_it_measures_kept_results(postgres: None) -> None:
    done = _run("benchmarks.results", "--rounds", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "failed" not in done.stdout
    for call in ("a list", "a count", "a page", "a write", "a whole row"):
        assert f"### {call}\n" in done.stdout
    for contender in ("ORM", "ORM, A/A", "cached()", "cached(near=60)", "unwatched", "ModelDict"):
        assert done.stdout.count(f"\n| {contender} |") == 5


@pytest.mark.skipif(find_spec("oscar") is not None, reason="django-oscar is installed")
def test_without_the_site_it_says_what_is_missing() -> None:
    done = _run("benchmarks.site")
    assert done.returncode == 2
    assert "django-oscar isn't installed" in done.stderr


@pytest.mark.skipif(find_spec("oscar") is None, reason="django-oscar isn't installed")
def test_the_pages_of_a_site_are_the_orms(postgres: None) -> None:
    done = _run("benchmarks.site", "--rounds", "2", "--kind", "redisdict, fragments")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "failed" not in done.stdout
    for contender in ("ORM", "redisdict, fragments"):
        assert f"{contender}: 12 of 12 pages are the ORM's; old after a change: none" in done.stdout
