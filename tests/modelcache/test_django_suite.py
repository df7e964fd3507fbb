"""Django's own tests of its ORM, each query's rows written and read as a hit's are.

No file of Django's is changed, and its own `runtests.py` runs them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.cache.test_django_suite import sdist

pytestmark = pytest.mark.deep

HERE = Path(__file__).parent / "django_suite"
ROOT = Path(__file__).parents[2]

LABELS = """
queries aggregation aggregation_regress annotations select_related select_related_regress
prefetch_related many_to_many many_to_one one_to_one generic_relations generic_relations_regress
expressions expressions_case expressions_window lookup ordering model_inheritance
model_inheritance_regress db_functions custom_lookups dates datetimes defer defer_regress
extra_regress filtered_relation foreign_object get_or_create known_related_objects null_queries
proxy_models composite_pk m2m_through m2m_recursive reverse_lookup custom_managers
distinct_on_fields from_db_value timezones or_lookups
"""

#: Whose tables are no model's of an installed app.
WITHOUT_MODEL = "django_migrations"

REASONS = (
    "it has SQL of its own",
    "it locks rows",
    "it asks for",
    "it calls",
    "whose effect is unknown",
    "a parameter can't be written",
)


def test_django_itself(tmp_path: Path) -> None:
    with tarfile.open(sdist()) as archive:
        members = [each for each in archive if each.name.split("/")[1:2] == ["tests"]]
        archive.extractall(tmp_path, members, filter="data")
    [tests] = tmp_path.glob("*/tests")
    shutil.copytree(HERE / "results_suite", tests / "results_suite")
    labels = [label for label in LABELS.split() if (tests / label).is_dir()]
    told = tmp_path / "told"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "REDISDICT_SUITE_TOLD": str(told)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    command = [sys.executable, "runtests.py", "--settings=results_suite.settings"]
    ran = subprocess.run(
        [*command, "--parallel=1", *labels],
        cwd=tests,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"\nRan \d{4} tests", ran.stderr), ran.stderr[-3000:]
    assert ran.returncode == 0, ran.stderr[-20_000:]
    done = json.loads(told.read_text())
    print(json.dumps(done, indent=2))
    assert done.pop("same") > 4000
    assert done.pop("planned") > done.pop("without a plan")
    assert done.pop("of one name") > 3000
    assert done.pop("made alike") > 3000
    assert done.pop("noted") > 2000
    done.pop("not noted")
    done.pop("not made of rows")
    done.pop(f"missed: {WITHOUT_MODEL}", None)
    others = [one for one in done if not any(reason in one for reason in REASONS)]
    assert others == []
