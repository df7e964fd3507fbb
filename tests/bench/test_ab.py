"""Two sides in turn in one run: what they may be, what comes out, and how it ends."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import CommandError

from redisdict.bench.ab.session import SPEC
from redisdict.bench.ab.sides import ROOT, find_side
from redisdict.bench.choices import RunStatus
from redisdict.bench.errors import UsageError
from redisdict.bench.records import find_run
from redisdict.bench.report.terminal import TIMES
from redisdict.bench.spec import Precision
from redisdict.servers.process import ServerProcess
from tests.bench.cli.command.calling import Outcome
from tests.missing import need_git

pytestmark = pytest.mark.django_db

CALLS = ["--call", "hash get", "--call", "hash aget"]
FAST = [*CALLS, "--verbose"]


def shorten(monkeypatch: pytest.MonkeyPatch, rounds: int, generations: int) -> None:
    precision = Precision(
        min_rounds=rounds, max_rounds=rounds, seconds=60, server_starts=generations
    )
    monkeypatch.setattr("redisdict.bench.cli.ab.SPEC", replace(SPEC, precision=precision))
    monkeypatch.setattr("redisdict.bench.ab.session.MOST_GENERATIONS", generations)


@pytest.fixture(autouse=True)
def _one_short_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a server or two, and three processes that import Django."""
    shorten(monkeypatch, rounds=6, generations=1)


@pytest.fixture
def two_generations(monkeypatch: pytest.MonkeyPatch, _one_short_generation: None) -> None:
    shorten(monkeypatch, rounds=12, generations=2)


@pytest.fixture
def twice_the_rounds(monkeypatch: pytest.MonkeyPatch, _one_short_generation: None) -> None:
    """Enough for a verdict, by the same processes."""
    shorten(monkeypatch, rounds=12, generations=1)


#: A commit, where there is one, and git.
BEFORE = "HEAD" if (ROOT / ".git").exists() and shutil.which("git") else str(ROOT)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (CALLS, {"hash get", "hash aget"}),
        pytest.param(
            [],
            {"hash get", "keys aget in 50 tasks", "cache set", "ModelDict hit"},
            marks=pytest.mark.deep,
        ),
    ],
    ids=["chosen calls", "every call"],
)
@pytest.mark.usefixtures("two_generations")
def test_calls_of_both_are_measured_and_saved_as_any_run(
    tmp_path: Path, chosen: list[str], expected: set[str]
) -> None:
    outcome = Outcome("ab", BEFORE, ".", "--label", "mine", "--fail-threshold", "99.9", *chosen)
    assert outcome.status == 0, outcome.err
    run = find_run("mine")
    assert (run.status, run.preset) == (RunStatus.FINISHED, "ab")
    calls = list(dict.fromkeys(one.operation for one in run.cells))
    assert expected <= set(calls)
    assert [one.service for one in run.cells[:2]] == [f"A: {BEFORE}", "B: ."]
    assert len(run.cells) == len(run.measured) == 2 * len(calls)
    assert {one["kind"] for one in run.comparisons} == {"A/A", "service"}
    assert {one.rounds for one in run.cells} == {12}
    assert all(len(one.details["starts"]) == 2 for one in run.cells if one.service == "B: .")
    shown = Outcome("show", "mine").out
    assert shown == outcome.out
    assert re.search(rf"hash get +[\d,]+ {TIMES}1\.00 +[\d,]+ {TIMES}\d\.\d\d", shown)
    assert f"relative to A: {BEFORE})" in shown
    assert f"B: . against A: {BEFORE}: hash get" in " ".join(
        Outcome("show", "mine", "--verbose").out.split()
    )
    markdown = Outcome("show", "mine", "--format", "markdown").out
    assert f"| Workload | A: {BEFORE} (ops/s) | B: . (ops/s) |" in markdown
    path = tmp_path / "run.json"
    Outcome("export", "mine", "--output", str(path))
    assert find_run(Outcome("import", str(path)).out.strip()).label == "mine"


def checkout(tmp_path: Path, code: str) -> str:
    """A checkout whose package is this one, and then does this as well."""
    package = tmp_path / "redisdict"
    package.mkdir()
    real = ROOT / "redisdict"
    (package / "__init__.py").write_text(
        f"__path__ = [{str(real)!r}]\n"
        f"exec(compile(open({str(real / '__init__.py')!r}).read(), '__init__.py', 'exec'))\n{code}"
    )
    return str(tmp_path)


SLOW_GET = """
import time
from redisdict.mapping import protocol
get = protocol.MappingMethods.get
def slow_get(self, *arguments):
    until = time.perf_counter_ns() + 1_000_000
    while time.perf_counter_ns() < until:
        pass
    return get(self, *arguments)
protocol.MappingMethods.get = slow_get
"""


@pytest.mark.usefixtures("twice_the_rounds")
def test_what_became_slower_is_told_by_the_exit_status(tmp_path: Path) -> None:
    slow = checkout(tmp_path, SLOW_GET)
    outcome = Outcome("ab", ".", slow, "--no-save", *FAST)
    assert outcome.status == 1, outcome.out
    told = " ".join(outcome.out.split())  # whose lines end where the path of a side has them end
    assert re.search(r"hash get 0\.\d\d \[0\.\d\d, 0\.\d\d\] slower", told)
    assert "hash aget 0.0" not in told


@pytest.mark.deep
@pytest.mark.usefixtures("two_generations")
def test_what_became_faster_or_little_slower_is_0(tmp_path: Path) -> None:
    slow = checkout(tmp_path, SLOW_GET)
    assert Outcome("ab", slow, ".", "--no-save", *FAST[:2]).status == 0
    assert Outcome("ab", ".", slow, "--no-save", *FAST, "--fail-threshold", "99.9").status == 0


def test_settings() -> None:
    outcome = Outcome("ab", "SERIALIZER=json", "SERIALIZER=json", "--no-save", *FAST)
    assert outcome.status in (0, 1), outcome.err


@pytest.mark.parametrize(
    "chosen",
    [CALLS, pytest.param([], marks=pytest.mark.deep)],
    ids=["chosen calls", "every call"],
)
def test_servers_and_keys_on_another_ones_server_are_removed(
    redis_server: ServerProcess, chosen: list[str]
) -> None:
    with redis_server.client() as client:
        servers = ["valkey", redis_server.url]
        outcome = Outcome("ab", *servers, "--no-save", "--format", "csv", *chosen)
        assert outcome.status in (0, 1), outcome.err
        assert ",A: valkey,,SYNC,,,hash get," in outcome.out
        assert client.keys("redisbench:*") == []


@pytest.fixture
def stub(tmp_path: Path) -> str:
    """An environment whose Python is no more than ready: it imports nothing, and makes no call."""
    python = tmp_path / "stub" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'fine: hash get,hash aget'\nexec cat > /dev/null\n")
    python.chmod(0o755)
    return str(python.parent.parent)


def test_a_wrong_call_lists_those_that_there_are(stub: str) -> None:
    with pytest.raises(CommandError, match=r"No such call of both sides: nothing. Known: hash get"):
        Outcome("ab", stub, stub, "--no-save", "--call", "nothing")


def test_a_side_that_cannot_be_imported_says_why(tmp_path: Path, stub: str) -> None:
    broken = checkout(tmp_path, "raise ImportError('broken')")
    with pytest.raises(CommandError, match=r"B: .* can't be measured: ImportError: broken"):
        Outcome("ab", stub, broken, "--no-save", *FAST)


def test_a_side_whose_calls_fail_is_3(tmp_path: Path) -> None:
    code = SLOW_GET.replace("return get(self, *arguments)", "return 'something else'")
    outcome = Outcome("ab", ".", checkout(tmp_path, code), "--no-save", *FAST)
    assert outcome.status == 3
    assert re.search(rf"hash get +[\d,]+ {TIMES}1\.00 +failed", outcome.out)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no-such-commit", "'no-such-commit' can't be compared: a commit"),
        ("keydb", "KeyDB is not available"),
        ("redis://192.0.2.1/0", "on another machine"),
    ],
)
@pytest.mark.usefixtures("packaged_servers_only")
def test_what_cannot_be_compared_is_refused(text: str, message: str) -> None:
    need_git()
    with ExitStack() as stack, pytest.raises(UsageError, match=message):
        find_side("A", text, stack)


def test_a_directory_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with ExitStack() as stack, pytest.raises(UsageError, match="neither a checkout"):
        find_side("A", str(tmp_path), stack)


def test_what_a_side_may_be(tmp_path: Path) -> None:
    def touch(name: str) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            (path / name).parent.mkdir(parents=True)
            (path / name).touch()

        return make

    with ExitStack() as stack:
        touch("bin/python")(tmp_path)
        side = find_side("A", str(tmp_path), stack)
        assert (side.python, side.root) == (str(tmp_path / "bin" / "python"), None)
        touch("redisdict/__init__.py")(tmp_path)
        side = find_side("A", str(tmp_path), stack)
        assert (side.python, side.root) == (sys.executable, tmp_path)
        side = find_side("B", "COMPRESSOR=zlib,TIMEOUT=5,SHARDS=None", stack)
        assert side.alias == {"COMPRESSOR": "zlib", "TIMEOUT": 5, "SHARDS": None}
        side = find_side("B", "redis://:secret@127.0.0.1:6379/0", stack)
        assert side.title == "B: 127.0.0.1:6379/0"
        assert "secret" not in repr(side)
        assert find_side("A", "valkey", stack).service is not None
