"""The router of a Cluster alone: what it makes of nodes that are lost half way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from redisdict.conf import parse_alias
from redisdict.connections.cluster import Cluster
from redisdict.connections.locations import parse_location
from redisdict.exceptions import BackendUnavailable
from redisdict.wire.combinators import ask
from redisdict.wire.requests import Batch, Sleep

LOCATION = "redis+cluster://a:1,b:2"
SLOTS = [[0, 8191, [b"a", 1]], [8192, 16383, [b"b", 2]]]
LOST = BackendUnavailable("no connection")


def play(routing: Any, *, others_answer: bool) -> list[Any]:
    """Lose the first node of those asked at once, and whatever is asked alone."""
    step, answer = routing.send, None
    asked = []
    while True:
        try:
            routed = step(answer)
        except BackendUnavailable as error:
            return [*asked, error.outcome_unknown]
        step, answer = routing.send, None
        if isinstance(routed, list):
            [(first, _), (second, part)] = routed
            asked += [first, second]
            answer = [LOST, [1] * len(part.commands) if others_answer else LOST]
            continue
        request = next(routed[1])
        if request == (b"CLUSTER", b"SLOTS"):
            answer = SLOTS
        elif not isinstance(request, Sleep):
            step, answer = routing.throw, BackendUnavailable("no connection")


@pytest.mark.parametrize(
    ("is_repeatable", "others_answer", "is_unknown"),
    [(False, True, True), (True, True, False), (False, False, False)],
)
def test_what_others_have_done_makes_the_outcome_unknown(
    is_repeatable: bool, others_answer: bool, is_unknown: bool
) -> None:
    config = parse_alias("shop", {"LOCATION": LOCATION})
    server: Any = SimpleNamespace(
        config=config, address=LOCATION, retry_for_s=0.0, has_credential_provider=False
    )
    cluster: Cluster[Any] = Cluster(server, parse_location(LOCATION), lambda node: node.location)
    commands = [(b"INCR", b"%d" % number) for number in range(20)]
    batch = Batch(commands, is_spread=True, is_repeatable=is_repeatable)
    played = play(cluster.route(ask(batch)), others_answer=others_answer)
    assert played == ["redis://a:1/0", "redis://b:2/0", is_unknown]
