"""Readers, writers, pushes, PINGs and losses in every order: no promise is ever broken.

And the search would find it: with any of the rules left out, it does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import pytest

from redisdict.near import state as state_module
from redisdict.near.eviction import Entry
from redisdict.near.state import FillToken, NearState
from tests.near.plain_schedules import PlainPlan, PlainWorld
from tests.near.schedules import Breach, Plan, explore

pytestmark = pytest.mark.deep

PLANS = {
    "another process changes it": Plan(other_writes=1, ticks=3, pings=2),
    "another process changes it twice": Plan(other_writes=2, ticks=2, pings=1),
    "three read": Plan(readers=3, other_writes=1, ticks=2, pings=1),
    "it isn't kept yet": Plan(readers=3, other_writes=1, ticks=2, pings=1, is_kept=False),
    "this process changes it": Plan(own_writes=1, ticks=1, pings=1),
    "this process changes it twice": Plan(own_writes=2),
    "both do": Plan(own_writes=1, other_writes=1, ticks=1),
    "a reply is lost": Plan(own_writes=1, lost_replies=1, ticks=1),
    "the connection is lost": Plan(other_writes=1, losses=1, ticks=2),
    "this process changes it and the connection is lost": Plan(own_writes=1, losses=1),
    "the server forgets": Plan(flushes=1, other_writes=1, ticks=1, pings=1),
    "it ends": Plan(readers=3, has_end=True, ticks=3, pings=2),
    "it ends and isn't kept yet": Plan(readers=3, has_end=True, ticks=2, pings=1, is_kept=False),
    "it ends or is changed": Plan(has_end=True, other_writes=1, ticks=2, pings=1),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_within_a_bound(plan: Plan) -> None:
    assert explore(plan) > 300


REQUESTS = {
    "another process changes it": Plan(
        other_writes=1, ticks=2, pings=2, is_per_request=True, is_kept=False
    ),
    "both do": Plan(own_writes=1, other_writes=1, pings=1, is_per_request=True),
    "the connection is lost": Plan(other_writes=1, losses=1, ticks=1, is_per_request=True),
    "it ends": Plan(has_end=True, ticks=2, pings=2, is_per_request=True),
}


@pytest.mark.parametrize("plan", REQUESTS.values(), ids=REQUESTS)
def test_within_a_request(plan: Plan) -> None:
    assert explore(plan) > 300


# Servers that tell only of keys that were asked for


PLAIN = {
    "another process changes it": Plan(other_writes=1, ticks=2, pings=1),
    "another process changes it twice": Plan(other_writes=2, ticks=1, pings=1),
    "it isn't kept yet": Plan(other_writes=1, ticks=2, pings=1, is_kept=False),
    "two PINGs are under way": Plan(other_writes=1, ticks=2, pings=2, pings_at_once=2),
    "this process changes it": Plan(own_writes=1, ticks=1, pings=1),
    "both do": Plan(own_writes=1, other_writes=1, ticks=1),
    "the connection is lost": Plan(other_writes=1, losses=1, ticks=2),
    "the server forgets": Plan(flushes=1, other_writes=1, ticks=1, pings=1),
    "it ends or is changed": Plan(has_end=True, other_writes=1, ticks=2, pings=1),
    "in a request": Plan(other_writes=1, ticks=1, pings=1, is_per_request=True, is_kept=False),
}


@pytest.mark.parametrize("plan", PLAIN.values(), ids=PLAIN)
def test_plain_tracking(plan: Plan) -> None:
    assert explore(plan, PlainWorld) > 300


# Each rule left out


class KeepsEveryReply(NearState):
    """Rule 1 left out: a reply is kept whatever has come since its command was sent."""

    def complete_fill(self, token: FillToken, *args: Any, **options: Any) -> bool:
        super().abandon_fill(token)
        return super().complete_fill(self.begin_fill(token.key), *args, **options)


class LooksAtNoWatermark(NearState):
    """Rule 2 left out."""

    def lookup(self, key: Hashable, now: float, not_before: float) -> Entry | None:
        return super().lookup(key, now, state_module.NEVER)


class KnowsNoEnd(NearState):
    """Rule 4 left out: a value is served until it is said to have changed."""

    def lookup(self, key: Hashable, now: float, not_before: float) -> Entry | None:
        return super().lookup(key, 0, not_before)


class ForgetsNothingWithTheConnection(NearState):
    """Rule 5 left out, for a lost connection."""

    def disconnect(self) -> None:
        pass

    def connect(self) -> None:
        self.is_connected = True


class ForgetsNothingWithTheServer(NearState):
    """Rule 5 left out, for a push of nil."""

    def flush(self) -> None:
        pass


class HearsNothing(NearState):
    def invalidate(self, keys: Iterable[Hashable]) -> None:
        pass


class ComparesNothing(NearState):
    """Of reads at the same time any may be kept."""

    def complete_fill(
        self, token: FillToken, value: Any, version: Hashable, **options: Any
    ) -> bool:
        return super().complete_fill(token, value, None, **options)


class KeepsWhatIsReadAnew(ComparesNothing):
    """And a read that asks the server leaves what is kept."""

    def _remove(self, key: Hashable) -> None:
        if not self._is_filling:
            super()._remove(key)

    _is_filling = False

    def begin_fill(self, key: Hashable) -> FillToken:
        self._is_filling = True
        try:
            return super().begin_fill(key)
        finally:
            self._is_filling = False


FAULTS = {
    "1: every reply is kept": Plan(
        other_writes=1, ticks=2, pings=1, is_kept=False, state_class=KeepsEveryReply
    ),
    "1: in a request": Plan(
        other_writes=1,
        ticks=1,
        pings=1,
        is_kept=False,
        is_per_request=True,
        state_class=KeepsEveryReply,
    ),
    "2: no watermark": Plan(other_writes=1, ticks=2, state_class=LooksAtNoWatermark),
    "2: no watermark, in a request": Plan(
        other_writes=1, ticks=1, is_per_request=True, state_class=LooksAtNoWatermark
    ),
    "2: the time of the PONG": Plan(other_writes=1, ticks=3, pings=1, pongs_tell="read"),
    "2: two PINGs under way": Plan(other_writes=1, ticks=3, pings=2, pings_at_once=2),
    "3: own writes drop nothing": Plan(own_writes=1, drops=()),
    "3: own writes drop nothing afterwards": Plan(own_writes=1, ticks=2, drops=("before",)),
    "4: no end": Plan(has_end=True, ticks=2, state_class=KnowsNoEnd),
    "4: counted from the reply": Plan(has_end=True, ticks=2, counts_from="reply", is_kept=False),
    "5: nothing goes with the connection": Plan(
        other_writes=1, losses=1, ticks=2, state_class=ForgetsNothingWithTheConnection
    ),
    "5: nothing goes with the server": Plan(
        flushes=1, ticks=2, pings=1, state_class=ForgetsNothingWithTheServer
    ),
    "pushes are ignored": Plan(other_writes=1, ticks=2, pings=1, state_class=HearsNothing),
    "what is read anew stays": Plan(
        other_writes=1, ticks=2, pings=1, state_class=KeepsWhatIsReadAnew
    ),
    "reads at once aren't compared": Plan(
        readers=3, other_writes=1, ticks=1, is_kept=False, state_class=ComparesNothing
    ),
}


@pytest.mark.parametrize("plan", FAULTS.values(), ids=FAULTS)
def test_a_rule_left_out_is_found(plan: Plan) -> None:
    with pytest.raises(Breach):
        explore(plan)


PLAIN_FAULTS = {
    "keys are never asked for": PlainPlan(
        other_writes=1, ticks=2, pings=1, is_kept=False, asks="never"
    ),
    "keys are asked for after they were read": PlainPlan(
        other_writes=1, ticks=2, pings=1, is_kept=False, asks="after"
    ),
    "1: every reply is kept": Plan(
        other_writes=1, ticks=2, pings=1, is_kept=False, state_class=KeepsEveryReply
    ),
    "2: no watermark": Plan(other_writes=1, ticks=2, state_class=LooksAtNoWatermark),
    "3: own writes drop nothing": Plan(own_writes=1, drops=()),
    "4: no end": Plan(has_end=True, ticks=2, state_class=KnowsNoEnd),
    "5: nothing goes with the connection": Plan(
        other_writes=1, losses=1, ticks=2, state_class=ForgetsNothingWithTheConnection
    ),
    "5: nothing goes with the server": Plan(
        flushes=1, ticks=2, pings=1, state_class=ForgetsNothingWithTheServer
    ),
    "pushes are ignored": Plan(other_writes=1, ticks=2, pings=1, state_class=HearsNothing),
}


@pytest.mark.parametrize("plan", PLAIN_FAULTS.values(), ids=PLAIN_FAULTS)
def test_with_plain_tracking_a_rule_left_out_is_found(plan: Plan) -> None:
    with pytest.raises(Breach):
        explore(plan, PlainWorld)
