"""Django's own tests of caches and sessions, from the sdist of the installed version.

No file of Django's is changed, and its own `runtests.py` runs them. What is put beside it are
settings and classes that have its tests run under the cache backend (`django_suite`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import pytest

from redisdict.servers.process import ServerProcess
from tests.cache.django_suite.refused import FAILING
from tests.conftest import program_for_tests
from tests.missing import end_without

pytestmark = pytest.mark.deep

HERE = Path(__file__).parent / "django_suite"
ROOT = Path(__file__).parents[2]
FETCHED = ROOT / "var" / "django"

LABELS = [
    "redisdict_suite",
    "sessions_tests.tests.CacheSessionTests",
    "sessions_tests.tests.CacheDBSessionTests",
    "sessions_tests.tests.CacheDBSessionWithTimeZoneTests",
    "template_tests.syntax_tests.test_cache",
    # Has the app installed whose tests redisdict_suite has run.
    "cache.tests.CacheHandlerTest",
]


def sdist() -> Path:
    """The sdist of the installed Django, fetched once; or the end of the test without one."""
    pattern = f"[dD]jango-{django.get_version()}.tar.gz"
    found = next(FETCHED.glob(pattern), None)
    if found is None:
        FETCHED.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FETCHED) as fetching:
            # pip builds the metadata, with the setuptools that Django asks for.
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-binary", "Django"]
            command += ["--no-deps", "-d", fetching, f"Django=={django.get_version()}"]
            done = subprocess.run(command, capture_output=True, text=True)
            for path in Path(fetching).glob(pattern):
                path.replace(FETCHED / path.name)  # whole, for another process may look for it
        found = next(FETCHED.glob(pattern), None)
        if found is None:
            end_without(f"The sdist of Django can't be fetched: {done.stderr.strip()[-400:]}")
    return found


@pytest.fixture(scope="module")
def django_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Django's tests, with ours beside them."""
    unpacked = tmp_path_factory.mktemp("django")
    with tarfile.open(sdist()) as archive:
        members = [each for each in archive if each.name.split("/")[1:2] == ["tests"]]
        archive.extractall(unpacked, members, filter="data")
    [tests] = unpacked.glob("*/tests")
    shutil.copytree(HERE / "redisdict_suite", tests / "redisdict_suite")
    return tests


@pytest.fixture(scope="module")
def location() -> Iterator[str]:
    with ServerProcess(program_for_tests("redis"), listen="tcp") as server:
        yield f"redis://{server.address}/0"


#: Serializer, NEAR, and how many tests there are at least. With NEAR it is those of caches and of
#: Django's session engine of them, so that it takes less than a minute.
RUNS: list[tuple[str, float | None, list[str], int]] = [
    *((serializer, None, LABELS, 300) for serializer in FAILING),
    ("msgpack", 1.0, [LABELS[0], LABELS[1], LABELS[-1]], 150),
]


@pytest.mark.parametrize(("serializer", "near", "labels", "at_least"), RUNS)
def test_django_itself(
    serializer: str,
    near: float | None,
    labels: list[str],
    at_least: int,
    django_tests: Path,
    location: str,
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "REDISDICT_SUITE_LOCATION": location,
        "REDISDICT_SUITE_NEAR": json.dumps(near),
        "REDISDICT_SUITE_SERIALIZER": serializer,
    }
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    command = [sys.executable, "runtests.py", "--settings=redisdict_suite.settings"]
    command += ["--parallel=1", "--verbosity=2"]
    done = subprocess.run(
        [*command, *labels], cwd=django_tests, env=environment, capture_output=True, text=True
    )
    report = done.stderr
    ran = set(re.findall(r"^\w+ \(([\w.]+)\)", report, re.MULTILINE))
    failing = set(re.findall(r"^(?:FAIL|ERROR): \w+ \(([\w.]+)\)", report, re.MULTILINE))
    assert "\nRan " in report, report[-3000:]
    assert len(ran) > at_least
    expected = FAILING[serializer] & ran  # some are only in later versions
    assert failing - expected == set(), report[-20_000:]
    assert expected - failing == set(), "should have failed, and passed"
    if not expected:
        assert done.returncode == 0
