"""Which server is read when zones count, over servers that fail and come back in any order.

The servers are made up, since the histories are many; `tests/managed/test_zones.py` has real ones.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redisdict import ConfigurationError
from redisdict.connections import zones as zones_module
from redisdict.wire.combinators import ask
from redisdict.wire.requests import Batch
from tests.connections.servers_in_zones import KEYS, Clock, World
from tests.depth import examples
from tests.logs import logged_by


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(zones_module, "time", made)
    return made


both_kinds = pytest.mark.parametrize("kind", ["cluster", "sentinel"])


@pytest.mark.parametrize(
    ("zones", "own", "expected"),
    [
        (["c", "a", "b"], "a", {2}),
        (["c", "a", "b", "a"], "a", {2, 4}),
        (["c", "a", "b"], "c", {1}),
        (["a", "a", "b"], "a", {2}),
        (["c", "a", "b"], "x", {2, 3}),
        (["", "", ""], "a", {2, 3}),
        (["", "", "a"], "a", {3}),
        (["c"], "a", {1}),
    ],
)
@both_kinds
def test_the_order(kind: str, zones: list[str], own: str, expected: set[int]) -> None:
    ports = set()
    for _ in range(50):  # processes, each of which begins at random
        world = World(kind, [zones], own)
        [served] = {world.read() for _ in range(3)}
        assert served is not None
        ports.add(served[1])
    assert ports == expected


@both_kinds
def test_each_server_is_asked_once(kind: str, clock: Clock) -> None:
    world = World(kind, [["c", "a", "b"]], "x")
    for _ in range(5):
        world.read()
        clock.go_on()
    [servers] = world.shards
    assert [world.count("INFO server", server) for server in servers] == [1, 1, 1]


@both_kinds
def test_one_caller_asks_and_others_dont_wait(kind: str) -> None:
    """A thread or task that asks is suspended; another one reads; then the first one goes on."""
    world = World(kind, [["c", "a", "b"]], "a")
    asking = world.group.route(ask((b"GET", KEYS[0])))
    routed = next(asking)
    while not isinstance(routed, list):
        routed = asking.send(world.run(*routed))
    assert world.read() in {("h", 2), ("h", 3)}
    assert world.count("INFO server") == 0
    routed = asking.send([world.outcome(*part) for part in routed])
    assert world.run(*routed) == 2
    assert world.read() == ("h", 2)
    assert world.count("INFO server") == 3


@both_kinds
def test_who_asked_and_was_cancelled_is_followed_by_another(kind: str, clock: Clock) -> None:
    world = World(kind, [["c", "a", "b"]], "a")
    asking = world.group.route(ask((b"GET", KEYS[0])))
    routed = next(asking)
    while not isinstance(routed, list):
        routed = asking.send(world.run(*routed))
    asking.close()
    assert world.read() == ("h", 2)


@both_kinds
def test_a_look_leads_to_the_same_replica_if_none_is_nearer(kind: str, clock: Clock) -> None:
    world = World(kind, [["c", "b", "b", "b"]], "x")
    served = set()
    for _ in range(5):
        served.add(world.read())
        clock.go_on()
    assert len(served) == 1
    assert world.count("CLUSTER") + world.count("SENTINEL") > 4


@both_kinds
def test_who_reads_in_its_zone_never_looks(kind: str, clock: Clock) -> None:
    world = World(kind, [["c", "a", "b"]], "a")
    for _ in range(5):
        assert world.read() == ("h", 2)
        clock.go_on()
    assert world.count("CLUSTER") + world.count("SENTINEL") in (1, 2)


@both_kinds
def test_a_lost_server_is_avoided_until_the_next_look(kind: str, clock: Clock) -> None:
    world = World(kind, [["c", "a", "b"]], "a")
    near = ("h", 2)
    assert world.read() == near
    world.down.add(near)
    assert world.read() == ("h", 3)
    tried = world.asked.count((near, "READONLY")) + world.asked.count((near, "GET"))
    assert [world.read() for _ in range(5)] == [("h", 3)] * 5
    assert world.asked.count((near, "READONLY")) + world.asked.count((near, "GET")) == tried
    world.down.clear()
    assert world.read() == ("h", 3)
    clock.go_on()
    assert world.read() == near
    asked = len(world.asked)
    clock.go_on()
    assert world.read() == near
    assert {server for server, _ in world.asked[asked:]} == {near}  # there is nothing to look for


def test_a_part_of_a_batch_is_lost() -> None:
    world = World("cluster", [["c", "a", "b"], ["c", "a", "b"]], "a")
    batch = Batch([(b"GET", key) for key in KEYS], is_spread=True)
    assert world.play(world.group.route(ask(batch))) == [2, 5]
    world.down.add(("h", 2))
    world.asked.clear()
    assert world.play(world.group.route(ask(batch))) == [3, 5]
    assert world.count("READONLY", ("h", 2)) == 1


@both_kinds
def test_a_server_of_another_zone_is_lost(kind: str, clock: Clock) -> None:
    """Another one is read, as without zones; its zone is still known when it is back."""
    world = World(kind, [["c", "b", "b"]], "a")
    served = world.read()
    assert served is not None
    world.down.add(served)
    other = world.read()
    assert other in {("h", 2), ("h", 3)} - {served}
    world.down = {other}
    clock.go_on()
    assert world.read() == served
    assert world.count("INFO server") == 3


@both_kinds
def test_a_server_that_comes_back_in_another_zone(kind: str, clock: Clock) -> None:
    world = World(kind, [["c", "a", "b"]], "a")
    near = ("h", 2)
    assert world.read() == near
    world.down.add(near)
    assert world.read() == ("h", 3)
    world.down.clear()
    world.zones[near] = "b"
    world.zones["h", 3] = "a"  # known to be elsewhere until it is left out once
    clock.go_on()
    world.read()
    assert world.count("INFO server", near) == 2
    world.left_out.add(("h", 3))
    clock.go_on()
    world.read()
    world.left_out.clear()
    clock.go_on()
    assert world.read() == ("h", 3)


@both_kinds
def test_a_replica_without_its_copy_isnt_preferred(kind: str, clock: Clock) -> None:
    """It has come back empty, and answers that nothing is there."""
    world = World(kind, [["c", "a", "b"]], "a")
    world.behind.add(("h", 2))
    assert [world.read() for _ in range(3)] == [("h", 3)] * 3
    clock.go_on()
    assert world.read() == ("h", 3)
    world.behind.clear()
    clock.go_on()
    assert world.read() == ("h", 2)


@both_kinds
def test_without_the_right_to_ask(kind: str) -> None:
    world = World(kind, [["c", "a", "a"]], "a")
    world.refusing = {*world.zones}
    assert world.read() in {("h", 2), ("h", 3)}
    world.refusing.clear()
    world.read()
    assert world.count("INFO server") == 3


@both_kinds
def test_no_server_answers(kind: str) -> None:
    world = World(kind, [["c", "a", "b"]], "a")
    world.down = {*world.zones, ("s", 1), ("s", 2)}
    assert world.read() is None
    world.down.clear()
    assert world.read() == ("h", 2)


def test_sentinels_have_no_databases() -> None:
    world = World("sentinel", [["c", "a"]], "a")
    world.read()
    assert world.locations == {f"redis://{each}" for each in ("s:1/0", "s:2/0", "h:1/3", "h:2/3")}


def test_a_sentinel_that_is_lost_or_cut_off() -> None:
    world = World("sentinel", [["c", "a", "b"]], "a")
    world.down.add(("s", 1))
    assert world.read() == ("h", 2)
    world.group._chosen = None
    assert world.read() == ("h", 2)
    assert world.count("SENTINEL", ("s", 1)) == 1  # the other is asked first from now on
    world.down.clear()
    world.left_out = {*world.zones}
    world.group._chosen = None
    assert world.read() is None
    assert {("s", 1), ("s", 2)} <= {server for server, _ in world.asked}


def test_a_sentinel_that_knows_the_primary_alone() -> None:
    world = World("sentinel", [["c"]], "a")
    world.ignorant.add(("s", 2))
    assert world.read() == ("h", 1)


@both_kinds
def test_a_function_that_gives_the_zone(kind: str) -> None:
    calls = []

    def find() -> str:
        calls.append(1)
        return "a"

    world = World(kind, [["c", "a", "b"]], find)
    assert [world.read() for _ in range(3)] == [("h", 2)] * 3
    assert len(calls) == 1


@both_kinds
def test_a_function_that_has_no_zone_to_give(kind: str, clock: Clock) -> None:
    world = World(kind, [["c", "a", "b"]], lambda: None)
    served = world.read()
    assert served in {("h", 2), ("h", 3)}
    clock.go_on()
    asked = len(world.asked)
    assert world.read() == served
    assert {server for server, _ in world.asked[asked:]} == {served}
    world.down.add(served)
    assert world.read() not in {served, None}
    assert world.count("INFO server") == 0


@both_kinds
def test_a_function_that_fails(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise OSError("no metadata service")

    world = World(kind, [["c", "a", "b"]], fail)
    assert {world.read() for _ in range(3)} <= {("h", 2), ("h", 3)}
    [record] = logged_by(caplog, "zones")
    assert record.getMessage().startswith("ZONE can't be called")
    assert "no metadata service" in caplog.text


@both_kinds
@pytest.mark.parametrize("zone", ["", 1])
def test_a_function_that_gives_nonsense(kind: str, zone: Any) -> None:
    world = World(kind, [["c", "a", "b"]], lambda: zone)
    with pytest.raises(ConfigurationError, match=r"^ZONE gives .*; the name of a zone is expected"):
        world.read()


zones_of_a_shard = st.lists(st.sampled_from("abc"), min_size=1, max_size=5)
events = st.one_of(
    st.tuples(st.sampled_from(["read", "up", "down", "noticed"]), st.integers(0, 9)),
    st.just(("later", 0)),
)


@both_kinds
@settings(max_examples=examples(500))
@given(
    shards=st.lists(zones_of_a_shard, min_size=2, max_size=2), history=st.lists(events, max_size=30)
)
@example(shards=[["a", "a"]] * 2, history=[("down", 3), ("noticed", 3), ("read", 0)])
def test_in_the_end_the_nearest_is_read(
    kind: str, shards: list[list[str]], history: list[tuple[str, int]]
) -> None:
    """Whatever failed when: reads are answered meanwhile, and a minute after the last return the
    best server is read again.
    """
    if kind == "sentinel":
        shards = shards[:1]
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zones_module, "time", clock)
        world = World(kind, shards, "a")
        servers = [*world.zones]
        for event, number in history:
            server = servers[number % len(servers)]
            if event == "later":
                clock.go_on()
            elif event == "down":
                world.down.add(server)
            elif event == "up":
                world.down.discard(server)
                world.left_out.discard(server)
            elif event == "noticed" and server in world.down:
                world.left_out.add(server)
            elif event == "read":
                shard = number % len(shards)
                served = world.read(shard)
                assert served in {None, *world.shards[shard]} - world.down
                if not world.down:
                    assert served is not None
        world.down.clear()
        world.left_out.clear()
        clock.go_on()
        for shard in range(len(shards)):
            assert world.read(shard) in world.best(shard, "a")
