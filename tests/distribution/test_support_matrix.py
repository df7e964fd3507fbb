"""What is said to be supported is the same everywhere: metadata, nox, workflows, documents."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import Any

import pytest

from tests.distribution.test_extras import ROOT


@pytest.fixture(scope="module")
def pythons_of_django() -> dict[str, tuple[str, ...]]:
    """`PYTHONS` of noxfile.py, which can't be imported without nox."""
    for node in ast.parse((ROOT / "noxfile.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PYTHONS":
            found: dict[str, tuple[str, ...]] = ast.literal_eval(node.value)
            return found
    pytest.fail("noxfile.py has no PYTHONS")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)["project"]
        return found


def versions(classifiers: list[str], what: str) -> set[str]:
    return {one.removeprefix(what) for one in classifiers if re.fullmatch(rf"{what}\d\.\d+", one)}


def test_classifiers_are_what_is_run(
    pythons_of_django: dict[str, tuple[str, ...]], project: dict[str, Any]
) -> None:
    classifiers = project["classifiers"]
    assert versions(classifiers, "Framework :: Django :: ") == set(pythons_of_django)
    pythons = {python for each in pythons_of_django.values() for python in each}
    assert versions(classifiers, "Programming Language :: Python :: ") == pythons
    assert project["requires-python"] == f">={min(pythons, key=lambda one: int(one[2:]))}"


def test_the_workflow_runs_every_pair(pythons_of_django: dict[str, tuple[str, ...]]) -> None:
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    pairs = re.findall(r'\{python: "(.+)", django: "(.+)"\}', text)
    assert set(pairs) == {(one, dj) for dj, each in pythons_of_django.items() for one in each}


def test_the_documents_name_every_pair(pythons_of_django: dict[str, tuple[str, ...]]) -> None:
    text = (ROOT / "docs" / "policies.md").read_text()
    rows = re.findall(r"^\| (3\.\d+) \| ([\d., ]+) \|", text, re.MULTILINE)
    told = {(python, django) for python, each in rows for django in each.split(", ")}
    assert told == {(one, dj) for dj, each in pythons_of_django.items() for one in each}


def test_every_release_of_django_redis_that_is_tried_is_allowed(project: dict[str, Any]) -> None:
    (allowed,) = (one for one in project["dependencies"] if one.startswith("django-redis"))
    text = (ROOT / "noxfile.py").read_text()
    tried = re.findall(r'"(\d+\.\d+\.\d+)"', re.findall(r'"release", \[(.+)\]', text)[0])
    lowest, first_too_new = re.findall(r">=([\d.]+),<(\d+)", allowed)[0]
    assert tried[0].startswith(f"{lowest}.")
    assert {int(one.partition(".")[0]) for one in tried} == set(
        range(int(lowest.partition(".")[0]), int(first_too_new))
    )
