"""Run `manage.py redisdict` in this process, on a server of the session."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError


class Terminal(io.StringIO):
    """What a person would see."""

    def isatty(self) -> bool:
        return True


@dataclass
class Result:
    """How a call has ended: its exit status, and what it has written."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.split("\n")[:-1]]

    @property
    def object(self) -> dict[str, Any]:
        [one] = self.objects
        return one


def run(*arguments: str, terminal: bool = False) -> Result:
    """Run the command; an error is what a shell would see of it."""
    kind = Terminal if terminal else io.StringIO
    out, err = kind(), kind()
    status = 0
    try:
        call_command("redisdict", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        status = error.returncode
        err.write(f"CommandError: {error}\n")
    except SystemExit as error:
        status = int(str(error.code))
    return Result(int(status), out.getvalue(), err.getvalue())


@pytest.fixture(params=["redis", "valkey"])
def server(
    request: pytest.FixtureRequest, settings: Any, alias_for: Callable[..., dict[str, Any]]
) -> str:
    """The alias `default` on a server with a prefix of this test's own; gives the prefix."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    settings.REDISDICT = {"default": alias_for(url)}
    prefix: str = settings.REDISDICT["default"]["KEY_PREFIX"]
    return prefix
