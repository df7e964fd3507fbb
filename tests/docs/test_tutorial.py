"""The tutorial, followed to the letter in a fresh directory, with processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Fence, fences

pytestmark = pytest.mark.deep

PAGE = "docs/tutorial.md"

#: What a reader types into a shell of the project, as a test of doctest's.
SHELL = """
import doctest, json, sys
import django
django.setup()
page, text = json.load(sys.stdin)
test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
failed = doctest.DocTestRunner().run(test).failed
sys.exit(bool(failed))
"""

#: What a reader does with a browser.
BROWSER = """
import django
django.setup()
from django.test import Client
client = Client(headers={"host": "localhost"})
for number, path in enumerate(["/", "/async/", "/"], 1):
    assert client.get(path).content == b"Visit number %d" % number
"""

#: Lines that make the environment, which is there.
ENVIRONMENT = ("python3 -m venv", ". .venv", "pip install", "mkdir ")


class Project:
    """The reader's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        #: Blocks for the shell that is open.
        self.typed: list[Fence] = []
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}",
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
        }

    def run(self, *command: str, given: str = "") -> None:
        done = subprocess.run(
            command,
            input=given,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    def leave_shell(self) -> None:
        """Type what was to be typed, in one process."""
        if self.typed:
            text = "".join(fence.text for fence in self.typed)
            self.run(sys.executable, "-c", SHELL, given=json.dumps([str(self.typed[0]), text]))
        self.typed.clear()

    def follow(self, fence: Fence) -> None:
        """Do what a reader does with a block."""
        if fence.language != "pycon":
            self.leave_shell()
        if fence.language == "sh":
            lines = [one for one in fence.text.splitlines() if not one.startswith(ENVIRONMENT)]
            self.run("bash", "-euc", "\n".join(lines))
        elif fence.language == "pycon":
            if fence.text.startswith(">>> from "):  # what a reader does in a new shell
                self.leave_shell()
            self.typed.append(fence)
        else:
            assert fence.title, f"{fence} doesn't say which file it belongs to"
            with (self.directory / fence.title).open("a", encoding="utf-8") as file:
                file.write("\n" + fence.text)


def test_the_tutorial(tmp_path: Path) -> None:
    project = Project(tmp_path)
    has_views = False
    for fence in fences(PAGE, "sh", "pycon", "python"):
        project.follow(fence)
        if fence.title == "mysite/urls.py":
            has_views = True
            project.run(sys.executable, "-c", BROWSER)
    project.leave_shell()
    assert has_views
