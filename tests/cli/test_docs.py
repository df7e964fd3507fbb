"""docs/commands.md has every action, option and exit status, and its lines can be imported."""

from __future__ import annotations

import re
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path

import pytest
from django.core.management import load_command_class

from redisdict.cli.output import EXIT_STATUSES
from redisdict.codec import get_codec
from redisdict.inspection.json_lines import read_items
from redisdict.management.commands.redisdict import ACTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()


def parsers() -> dict[str, ArgumentParser]:
    parser = load_command_class("redisdict", "redisdict").create_parser("manage.py", "redisdict")
    [actions] = [one for one in parser._actions if isinstance(one, _SubParsersAction)]
    return dict(actions.choices)


def test_every_exit_status_is_there() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == EXIT_STATUSES


def test_every_action_is_there_and_does_something() -> None:
    named = re.findall(r"^manage\.py redisdict (\w+)", PAGE.split("```")[1], re.MULTILINE)
    assert named == list(parsers())
    assert set(named) == set(ACTIONS)


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_option_is_there(action: str) -> None:
    options = {
        option
        for one in parsers()[action]._actions
        for option in one.option_strings
        if option.startswith("--") and one.help != "==SUPPRESS=="
    }
    own = options - {"--help", "--version", "--verbosity", "--settings", "--pythonpath"}
    own -= {"--traceback", "--no-color", "--force-color", "--skip-checks"}
    if action != "show":  # `--items` of which is in its help
        assert {option for option in own if f"{option}" not in PAGE} == set()


def test_the_lines_of_the_example_are_items() -> None:
    [example] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    codec = get_codec()
    items = list(read_items(example.encode().splitlines(), codec.encode))
    assert [codec.decode(stored) for _, stored, _ in items[:2]] == ["red", (3, 4)]
    assert str(codec.decode(items[2][1])) == "nan"
