"""What a test needs, and this machine doesn't have."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from typing import Any, NoReturn

import pytest

__all__ = ["end_without", "need_git", "need_package"]


def end_without(reason: object) -> NoReturn:
    """End a test, or what it needs: by a skip on a developer's machine, by a failure in CI.

    Args:
        reason: what is missing, and how to get it.
    """
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, and nothing may be missing there. {reason}", pytrace=False)
    pytest.skip(str(reason), allow_module_level=True)


def need_package(module: str) -> Any:
    """Import a module of a package in requirements.txt; end a test where that isn't installed."""
    try:
        return import_module(module)
    except ImportError as error:
        end_without(f"{error}; the package is in requirements.txt.")


def need_git() -> None:
    """End a test of checkouts where there is no git."""
    if shutil.which("git") is None:
        end_without("git isn't installed: apt install git")
