"""Facts of the machine; none of them names it or its users."""

from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from redisdict.bench.measure import environment
from redisdict.bench.measure.environment import CpuTimes, cpu_shares
from tests.missing import need_git


def test_facts_can_be_stored_and_name_no_host_and_no_user() -> None:
    text = json.dumps([environment.collect(), environment.machine()])
    for private in (platform.node(), getpass.getuser()):
        if len(private) > 4:
            assert private not in text


def test_the_packages_that_matter_have_versions() -> None:
    versions = environment.package_versions()
    assert versions["redis"]
    assert versions["Django"]


def test_the_hash_of_the_machine_is_the_same_each_time() -> None:
    assert environment.machine_hash() == environment.machine_hash()
    assert len(environment.machine_hash()) == 12


def test_the_commit_of_a_project(tmp_path: Path) -> None:
    need_git()
    assert environment.commit(tmp_path) == ""

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=t", "-c", "user.email=t@t", *words],
            check=True,
            capture_output=True,
        )

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("-c", "core.hooksPath=/dev/null", "commit", "-m", "one")
    clean = environment.commit(tmp_path)
    assert len(clean) == 12
    (tmp_path / "file").write_text("2")
    assert environment.commit(tmp_path) == f"{clean}+"


def test_foreign_share_is_what_neither_we_nor_our_servers_used() -> None:
    before = CpuTimes(total=1000, busy=500, steal=10, processes={1: 100, 2: 50})
    after = CpuTimes(total=1200, busy=600, steal=20, processes={1: 140, 2: 60})
    assert cpu_shares(before, after) == {
        "foreign_cpu_share": (100 - 50 + 10) / 200,
        "steal_share": 10 / 200,
    }
    assert cpu_shares(None, after) == {}
    assert cpu_shares(before, before) == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_own_work_is_seen() -> None:
    before = CpuTimes.now((os.getpid(),))
    while sum(os.times()[:2]) < (before.processes[os.getpid()] / 100 if before else 0) + 0.05:
        pass
    after = CpuTimes.now((os.getpid(),))
    assert before is not None
    assert after is not None
    assert after.processes[os.getpid()] > before.processes[os.getpid()]
