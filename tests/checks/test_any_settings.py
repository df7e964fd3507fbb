"""Whatever stands in a setting: one line says what is wrong, the same from everywhere.

By random examples; `test_bad_settings.py` has those that are known.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError, SystemCheckError
from django.db import connections
from django.test import Client, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redisdict.bench.measure.services import discover
from redisdict.bench.settings import SERVICES, configured_services, may_run_benchmarks
from redisdict.exceptions import ConfigurationError
from redisdict.observing import PACKAGES, chosen_exporters
from tests.admin.pages import Page
from tests.checks.strange import ADDRESSES, SECRET, Odd, Unreadable, anything, made, nearly
from tests.checks.test_bad_settings import errors, use
from tests.cli.conftest import run
from tests.depth import examples

#: One of these is in each line.
WHAT_TO_DO = re.compile(
    r"expected|did you mean|known|can't be|\b(add|give|remove|leave)\b|belongs|configured:",
    re.IGNORECASE,
)

#: A line that nobody reads to its end.
LONGEST = 600

benches = nearly(
    SERVICES=nearly(**dict.fromkeys(SERVICES, st.one_of(st.sampled_from(ADDRESSES), anything)))
)
admins = nearly(RUN_BENCHMARKS=anything)
exporters = st.one_of(anything, st.lists(st.one_of(st.sampled_from([*PACKAGES]), anything)))
aliases = nearly(
    shop=nearly(
        LOCATION=st.one_of(st.sampled_from(ADDRESSES), anything),
        **dict.fromkeys(
            (
                "CACHE", "POOL_CLASS", "ASYNC_POOL_CLASS", "KEY_PREFIX", "TIMEOUT", "SERIALIZER",
                "COMPRESSOR", "RETRY_FOR", "DURABLE", "TRACER", "SCOPE", "NEAR_MAX_BYTES",
                "NEAR_MAX_ITEMS", "NEAR_LEASE", "NEAR_TRACKING",
            ),
            anything,
        ),
        OPTIONS=nearly(
            **dict.fromkeys(
                ("max_connections", "timeout", "socket_timeout", "password", "protocol", "retry"),
                anything,
            )
        ),
    )
)  # fmt: skip
caches = nearly(
    LOCATION=st.one_of(st.sampled_from([*ADDRESSES, "alias:shop"]), anything),
    TIMEOUT=anything,
    KEY_PREFIX=anything,
    VERSION=anything,
    KEY_FUNCTION=anything,
    OPTIONS=nearly(
        **dict.fromkeys(
            (
                "SERIALIZER", "COMPRESSOR", "READ_FROM", "WRITE_FOR", "CLEAR", "IGNORE_EXCEPTIONS",
                "DURABLE", "NEAR", "NEAR_MAX_BYTES", "max_connections", "socket_timeout",
            ),
            anything,
        )
    ),
)  # fmt: skip

#: Fixtures are made once, and leave nothing behind in these tests.
fuzz = settings(
    max_examples=examples(300),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def only_the_settings_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of the model cache add others, which Django 6.1 checks too."""
    monkeypatch.setattr(connections, "settings", {"default": connections.settings["default"]})


def check_line(line: str, *names: str) -> None:
    """What is said names the setting, says what to do, and can be read."""
    assert any(name in line for name in names), line
    assert "\n" not in line
    assert SECRET not in line
    assert len(line) < LONGEST, line
    assert WHAT_TO_DO.search(line), line


def checked_errors(*names: str) -> list[str]:
    """Give the lines that `check` says, after `check_line()` has looked at each."""
    found = errors()
    for line in found:
        check_line(line, *names)
    return found


def said_by(read: Callable[[], object]) -> str | None:
    try:
        read()
    except ConfigurationError as error:
        return str(error)
    return None


@pytest.mark.hypothesis
@given(bench=benches)
@fuzz
def test_any_services(bench: Any) -> None:
    """What `check` has nothing to say of can be read; else both say it."""
    with override_settings(REDISDICT_BENCH=made(bench), REDISDICT={}):
        found = checked_errors("REDISDICT_BENCH")
        said = said_by(configured_services)
        if said is not None:
            assert found == [f"redisdict.E007 {said}"]
            assert said_by(discover) == said
        else:
            reasons = [one.reason for one in discover() if "REDISDICT" in one.reason]
            assert sorted(found) == sorted(f"redisdict.E007 {reason}" for reason in reasons)


@pytest.mark.hypothesis
@given(admin=admins)
@fuzz
def test_any_settings_of_the_admin(admin: Any) -> None:
    with override_settings(REDISDICT_ADMIN=made(admin)):
        found = checked_errors("REDISDICT_ADMIN")
        said = said_by(may_run_benchmarks)
        assert found == ([] if said is None else [f"redisdict.E003 {said}"])


@pytest.mark.hypothesis
@given(metrics=exporters)
@fuzz
def test_any_metrics(metrics: Any) -> None:
    with override_settings(REDISDICT_METRICS=made(metrics)):
        found = checked_errors("REDISDICT_METRICS")
        said = said_by(chosen_exporters)
        if said is None:
            assert set(chosen_exporters()) <= set(PACKAGES)
            assert all("isn't installed" in line for line in found)
        else:
            assert found == [f"redisdict.E006 {said}"]


@pytest.mark.hypothesis
@given(redisdict=aliases)
@fuzz
def test_any_aliases(redisdict: Any) -> None:
    """Nothing but what is expected comes of it, and at most one line for each alias."""
    with override_settings(REDISDICT=made(redisdict)):
        checked_errors("REDISDICT")
        said = use_or_none()
        if said is not None:
            check_line(said, "REDISDICT")


def use_or_none() -> str | None:
    """The error of the first use; None where it is one of a server that isn't there."""
    try:
        return use()
    except AssertionError:  # a server was there, such as the one of this machine
        return None


@pytest.mark.hypothesis
@given(entry=caches)
@fuzz
def test_any_cache(entry: Any) -> None:
    entry = made(entry)
    if type(entry) is dict:
        entry = {**entry, "BACKEND": "redisdict.cache.DictCache"}
    with override_settings(CACHES={"default": entry}, REDISDICT={}):
        checked_errors("CACHES", "REDISDICT")


@pytest.mark.parametrize("name", ["\n", "a\x1b[31m", "two\u2028lines"])
def test_a_name_that_nobody_could_read(name: str) -> None:
    cache = {"BACKEND": "redisdict.cache.DictCache", "OPTIONS": 5}
    with override_settings(REDISDICT={name: []}, CACHES={"default": cache, name: cache}):
        found = checked_errors("REDISDICT", "CACHES")
        assert len(found) == 3
        said = use_or_none()
    for line in [*found, said or ""]:
        assert line.isprintable()
    assert sum(repr(name) in line for line in found) == 2
    assert repr(name) in (said or "")


def test_an_entry_that_fails_when_it_is_looked_at() -> None:
    with override_settings(CACHES={"default": made(Odd("a lazy failure"))}, REDISDICT={}):
        [line] = errors()
    assert line.startswith("redisdict.E004 CACHES can't be read; ")


# What people see

WRONG = {
    "bench": ({"REDISDICT_BENCH": {"SERVICES": {"valky": "redis://h"}}}, "did you mean 'valkey'?"),
    "bench-address": (
        {"REDISDICT_BENCH": {"SERVICES": {"redis": f"http://:{SECRET}@h"}}},
        'REDISDICT_BENCH["SERVICES"]["redis"] has the scheme \'http\'',
    ),
    "bench-none": ({"REDISDICT_BENCH": None}, "REDISDICT_BENCH is NoneType; a dict is expected"),
    "bench-alias": ({"REDISDICT_BENCH": {"SERVICES": {"redis": "shp"}}}, "is 'shp', neither a URL"),
    "admin": ({"REDISDICT_ADMIN": {"RUN_BENCHMARKS": 1}}, "is 1; True or False is expected."),
    "admin-list": ({"REDISDICT_ADMIN": ["RUN_BENCHMARKS"]}, "REDISDICT_ADMIN is list; a dict"),
    "metrics": ({"REDISDICT_METRICS": [["prometheus"]]}, "has the item list; a list of names is"),
}


@pytest.fixture(params=WRONG)
def wrong(request: pytest.FixtureRequest) -> Iterator[str]:
    """A mistake of each kind, and what is said of it."""
    values, text = WRONG[request.param]
    with override_settings(**values):
        yield text


def refusal(*command: str) -> str:
    # `check` is what others do first.
    first: dict[str, Any] = {} if command[0] == "check" else {"skip_checks": False}
    with pytest.raises(SystemCheckError) as caught:
        call_command(*command, **first, stdout=io.StringIO(), stderr=io.StringIO())
    return str(caught.value)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "command",
    [
        ["check"], ["check", "--deploy"], ["redisbench"], ["redisbench", "services"],
        ["redisbench", "list"], ["redisbench", "show", "latest"], ["redisbench", "doctor"],
        ["redisbench", "ab", "redis", "valkey"], ["redisbench", "export", "latest"],
        ["redisbench", "compare", "1", "2"], ["redisbench", "import", "file"],
        ["redisbench", "baseline", "1"], ["redisbench", "prune", "--keep", "5"],
        ["redisbench", "selftest"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_each_command_tells_it_in_one_line(wrong: str, command: list[str]) -> None:
    text = refusal(*command)
    [line] = [line for line in text.splitlines() if "redisdict.E" in line]
    assert wrong in line
    assert SECRET not in text


@pytest.mark.parametrize("command", [["doctor"], ["list"]], ids=" ".join)
def test_the_command_of_dicts_tells_of_metrics(command: list[str]) -> None:
    """Which begin with the first use of a server."""
    alias = {"LOCATION": "redis://127.0.0.1:1/0"}
    with override_settings(REDISDICT={"default": alias}, REDISDICT_METRICS=["prometeus"]):
        result = run(*command)
    line = next(one for one in (result.out + result.err).splitlines() if "METRICS" in one)
    assert "has the item 'prometeus'; a list of names is expected" in line
    assert result.status != 0


@pytest.mark.django_db
@pytest.mark.parametrize("given", [5, ["shop"], {"shop": 5}, {5: {}}])
def test_the_admins_page_of_dicts_tells_it(given: Any, admin_client: Client) -> None:
    pages = "/admin/redisdict/storeddict/"
    with override_settings(REDISDICT=given):
        page = admin_client.get(pages)
        assert page.status_code == 200
        [line] = errors()
        assert line.removeprefix("redisdict.E001 ") in Page(page.content).text
        for place in ("nothing/change/", "1:shop:x/item/", "1:shop:x/delete/"):
            assert admin_client.get(f"/admin/redisdict/storeddict/{place}").status_code in (
                302,
                404,
            )


#: Each action of `manage.py redisdict`, with what it needs.
ACTIONS = [
    ["list"], ["show", "shop"], ["get", "shop", "k"], ["set", "shop", "k", "1"],
    ["delete", "shop", "k"], ["clear", "shop", "--no-input"], ["export", "shop"],
    ["import", "shop", "FILE"], ["move", "shop", "--to-name", "other"], ["doctor"],
]  # fmt: skip


@pytest.mark.parametrize("given", ["odd", "list", "alias", "address"])
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action[0])
def test_each_action_on_dicts_tells_it_in_one_line(
    action: list[str], given: str, tmp_path: Path
) -> None:
    values: Any = {
        "odd": {"default": {"LOCATION": "redis://127.0.0.1:1/0", "TIMEOUT": Unreadable()}},
        "list": ["default"],
        "alias": {"default": f"redis://:{SECRET}@h"},
        "address": {"default": {"LOCATION": f"redis://:{SECRET}@h:port/0"}},
    }
    (tmp_path / "FILE").touch()
    words = [str(tmp_path / word) if word == "FILE" else word for word in action]
    with override_settings(REDISDICT=values[given]):
        result = run(*words)
    assert result.status != 0
    [line] = (result.err + result.out).splitlines()
    check_line(line, "REDISDICT")


@pytest.mark.django_db
@pytest.mark.parametrize("command", [[], ["services"], ["ab", "redis", "valkey"]], ids=" ".join)
@pytest.mark.parametrize("given", [None, ["redis"], {"SERVICES": {"valky": "redis://h"}}])
def test_benchmarks_tell_it_without_the_checks_as_well(command: list[str], given: Any) -> None:
    with override_settings(REDISDICT_BENCH=given), pytest.raises(CommandError) as caught:
        call_command("redisbench", *command, stdout=io.StringIO(), stderr=io.StringIO())
    check_line(str(caught.value), "REDISDICT_BENCH")
