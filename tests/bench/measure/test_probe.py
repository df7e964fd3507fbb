"""Which servers one CPU cripples: decided from known times, and asked of real servers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from redisdict.bench.measure.placement import FREE, SAME, SPLIT, Cpus, choose_cpus
from redisdict.bench.measure.probe import Probed, Prober, placements
from redisdict.bench.measure.server_pool import ServerPool
from redisdict.bench.measure.services import Service, discover

#: Factors of twelve turns, of which none is quite as the other.
TURNS = [0.97, 0.98, 0.99, 1.0, 1.01, 1.02, 1.03, 1.0, 0.99, 1.01, 1.02, 0.98]


def probed(same_us: float, free_us: float, threads: int = 1, scatter: float = 1.0) -> Probed:
    times = {
        place: [1000 * us * factor**scatter for factor in TURNS]
        for place, us in ((SAME, same_us), (FREE, free_us))
    }
    return Probed(times, threads)


REDIS = probed(31, 60)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (probed(33, 62), (SAME,)),  # as Valkey
        (probed(33, 90), (SAME,)),  # one thread is best off beside its client
        (probed(660, 63, threads=2), (FREE, SAME)),  # as KeyDB
        (probed(660, 63), (FREE, SAME)),  # as KeyDB with one thread
        (probed(55, 60, threads=2), (FREE, SAME)),  # as Dragonfly on a quiet machine
        (probed(55, 200, threads=2), (SAME, FREE)),  # and on a busy one
        (probed(31, 61, threads=2), (FREE,)),  # the CPUs that it wants
        (probed(60, 61, threads=2, scatter=20), (FREE,)),  # nobody can say
    ],
)
def test_placements_are_chosen_by_ratios(own: Probed, expected: tuple[str, ...]) -> None:
    reference = REDIS if own.times[SAME][0] < 1e6 else probed(31, 60, scatter=20)
    assert placements(own, reference) == expected


def test_a_server_is_crippled_when_one_cpu_makes_it_much_slower() -> None:
    assert probed(600, 60).is_crippled
    assert not probed(31, 60).is_crippled
    assert not probed(70, 60).is_crippled
    assert not Probed({SAME: [60.0, 600.0] * 6, FREE: [600.0, 60.0] * 6}, 1).is_crippled


class FakeProber(Prober):
    """Knows what the servers would do."""

    known: dict[str, Probed]

    def _probe(self, services: Sequence[Service]) -> list[Probed]:
        return [self.known[one.title] for one in services]


def placed(known: dict[str, Probed], *services: Service) -> tuple[list[tuple[str, str]], list[str]]:
    prober = FakeProber(ServerPool("token", lambda _: None), Cpus(0, 0))
    prober.known = known
    return [(one.title, one.placement) for one in prober.placed(services)], prober.said


def service(title: str, **changes: Any) -> Service:
    return Service(key=title.lower(), title=title, **changes)


def test_a_service_that_differs_is_measured_under_both_and_named() -> None:
    sentinel = Service(key="sentinel", title="Redis Sentinel")
    known = {"Redis": REDIS, "KeyDB": probed(660, 63, threads=2), "Valkey": probed(33, 62)}
    found, said = placed(known, service("Redis"), service("KeyDB"), service("Valkey"), sentinel)
    assert found == [
        ("Redis", SAME),
        ("KeyDB (unpinned)", FREE),
        ("KeyDB (one CPU)", SAME),
        ("Valkey", SAME),
        ("Redis Sentinel", SAME),
    ]
    assert said == [
        "KeyDB: GET is 0.05 one CPU and 0.95 unpinned of Redis; it is measured under both."
    ]


def test_with_a_crippled_reference_nothing_is_pinned() -> None:
    known = {"KeyDB": probed(660, 63, threads=2), "Valkey": probed(33, 62)}
    found, said = placed(known, service("KeyDB"), service("Valkey"))
    assert found == [("KeyDB", FREE), ("Valkey", FREE)]
    assert said == ["KeyDB is measured unpinned: it is much slower on one CPU."]


def test_what_is_not_started_here_is_not_probed() -> None:
    given = service("Mine", location="redis://127.0.0.1:1/0")
    known = {"KeyDB": probed(660, 63, threads=2)}
    found, _ = placed(known, given, service("KeyDB"))
    assert found == [("Mine", SAME), ("KeyDB", FREE)]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="nothing can be pinned here")
def test_real_servers_are_asked_under_both() -> None:
    (valkey,) = [one for one in discover(configured={}) if one.key == "valkey"]
    cpus = choose_cpus(SAME, sample_s=0)
    assert cpus is not None
    before = os.sched_getaffinity(0)
    prober = Prober(ServerPool("token", lambda _: None), cpus)
    own, again = prober.probe_beside(valkey, replace(valkey, title="again"))
    assert os.sched_getaffinity(0) == before
    for one in (own, again):
        assert {place: len(times) for place, times in one.times.items()} == {SAME: 12, FREE: 12}
        assert all(time > 1000 for times in one.times.values() for time in times)
        assert one.threads == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="nothing can be pinned here")
def test_what_is_pinned_is_known_to_be() -> None:
    (valkey,) = [one for one in discover(configured={}) if one.key == "valkey"]
    servers = ServerPool("token", lambda _: None)
    for cpus, said in ((Cpus(0, 0), SAME), (Cpus(1, 0), SPLIT)):
        with servers.server(valkey, cpus) as server:
            assert server.probe() == said
    with servers.server(valkey, None, FREE) as server:
        assert server.probe() == FREE
