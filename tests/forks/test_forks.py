"""What a forked child has to make its own, and when."""

import gc
import sys
import threading

import pytest

from redisdict import forks
from tests.forks.forking import Child, Fork, fork_in_c, fork_in_python


@pytest.fixture(params=["page", "process id"])
def own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs with each of the two ways to notice a fork."""
    way = forks._make_page() if request.param == "page" else forks.ProcessId()
    way[0] = 1
    monkeypatch.setattr(forks, "own", way)


class Thing:
    def __init__(self) -> None:
        self.renewed = 0
        forks.on_fork(self.renew)

    def renew(self) -> None:
        self.renewed += 1


@pytest.mark.usefixtures("own")
def test_a_child_takes_over_once_and_its_own_children_again(fork: Fork) -> None:
    thing = Thing()

    def use() -> int:
        if not forks.own[0]:
            forks.take_over()
        return thing.renewed

    def live() -> tuple[int, int, int]:
        return use(), use(), Child(use, fork).result()

    assert use() == 0
    assert Child(live, fork).result() == (1, 1, 2)
    assert use() == 0


@pytest.mark.usefixtures("own")
def test_a_fork_that_python_sees_is_noticed_at_once() -> None:
    thing = Thing()
    assert Child(lambda: thing.renewed, fork_in_python).result() == 1


@pytest.mark.usefixtures("own")
def test_threads_of_a_child_wait_until_one_has_taken_over() -> None:
    thing = Thing()
    is_slow = threading.Event()
    forks.on_fork(is_slow.wait)

    def live() -> int:
        threads = [threading.Thread(target=forks.take_over) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert not forks.own[0]
        is_slow.set()
        for thread in threads:
            thread.join()
        return thing.renewed

    try:
        assert Child(live).result() == 1
    finally:
        is_slow.set()


@pytest.mark.usefixtures("own")
def test_what_a_renewal_uses_may_look_for_a_fork_too() -> None:
    class Nested(Thing):
        def renew(self) -> None:
            forks.take_over()
            super().renew()

    thing = Nested()

    def live() -> int:
        forks.take_over()
        return thing.renewed

    assert Child(live).result() == 1


@pytest.mark.usefixtures("own")
def test_a_renewal_that_failed_is_made_at_the_next_use() -> None:
    class Failing(Thing):
        def renew(self) -> None:
            super().renew()
            if self.renewed == 1:
                raise OSError

    thing, other = Failing(), Thing()

    def live() -> int:
        with pytest.raises(OSError):
            forks.take_over()
        assert other.renewed == 1
        assert not forks.own[0]
        forks.take_over()
        return thing.renewed

    assert Child(live).result() == 2


def test_what_is_renewed_may_end_before() -> None:
    before = len(forks._renewals)
    thing = Thing()
    assert len(forks._renewals) == before + 1
    del thing
    gc.collect()
    assert len(forks._renewals) <= before


def test_a_lock_that_another_thread_held_is_free_in_the_child(fork: Fork) -> None:
    lock = forks.Lock()
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            is_over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()

    def take() -> str:
        with lock:
            return "taken"

    try:
        assert Child(take, fork).result() == "taken"
    finally:
        is_over.set()
        thread.join()


def test_a_child_leaves_a_block_that_its_parent_entered() -> None:
    lock = forks.Lock()

    def live() -> None:
        with lock:
            pass

    def leave() -> str:
        lock.__exit__(None, None, None)
        live()
        return "left"

    with lock:
        child = Child(leave, fork_in_c)
    assert child.result() == "left"
    live()


def test_what_ends_after_the_names_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    thing = Thing()
    # As at the end of the process.
    for name in ("_renewals", "id"):
        monkeypatch.setattr(forks, name, None, raising=False)
    del thing
    gc.collect()
    assert complaints == []
