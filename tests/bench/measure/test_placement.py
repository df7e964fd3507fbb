"""Placement read from /proc and set by affinity, on this very machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from redisdict.bench.measure.placement import (
    SAME,
    SPLIT,
    UNCONTROLLED,
    PlacementProbe,
    choose_cpus,
    pin_process,
    pinned_client,
)

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells and sets a process's CPU"
)


@pytest.fixture
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    code = "print(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # one that waits for its disk stays where it is, wherever it is told
    yield process
    process.stdout.close()
    process.kill()
    process.wait()


def test_probe_tells_same_from_split(busy_process: subprocess.Popen[bytes]) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("one CPU only")
    probe = PlacementProbe(busy_process.pid)
    try:
        with pinned_client(allowed[0]):
            pin_process(busy_process.pid, {allowed[0]})
            assert probe() == SAME
            pin_process(busy_process.pid, {allowed[1]})
            assert probe() == SPLIT
        assert sorted(os.sched_getaffinity(0)) == allowed
    finally:
        probe.close()


@pytest.mark.parametrize("pid", [None, 2**22 + 1])
def test_without_a_server_process_the_placement_is_uncontrolled(pid: int | None) -> None:
    probe = PlacementProbe(pid)
    assert probe() == UNCONTROLLED
    probe.close()


def test_a_server_that_ended_is_uncontrolled() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    probe = PlacementProbe(process.pid)
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    assert probe() == UNCONTROLLED
    probe.close()


def test_choices_of_cpus() -> None:
    assert choose_cpus("free", sample_s=0) is None
    same = choose_cpus("same", sample_s=0)
    assert same is not None
    assert same.client == same.server
    auto = choose_cpus("auto", sample_s=0)
    assert auto is not None
    assert (auto.client == auto.server, auto.placement) == (True, SAME)
    split = choose_cpus("split", sample_s=0)
    if len(os.sched_getaffinity(0)) > 1:
        assert split is not None
        assert split.client != split.server


def test_affinity_comes_back_after_an_error() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(RuntimeError), pinned_client(min(before)):
        raise RuntimeError
    assert os.sched_getaffinity(0) == before
