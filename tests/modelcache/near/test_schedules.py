"""Near reads of a `ModelDict` in every order: nobody reads what the promise excludes.

And the search can find it: with any of the rules left out, it does.
"""

from __future__ import annotations

import pytest

from tests.modelcache.near.plans import Plan
from tests.modelcache.near.schedules import explore
from tests.modelcache.schedules import StaleRead

pytestmark = pytest.mark.deep


@pytest.mark.parametrize(
    ("plan", "states"),
    [
        (Plan(ticks=2), 10_000),
        (Plan(ticks=1, renewals=1), 10_000),
        (Plan(ticks=0, lapses=True, renewals=1), 1000),
        (Plan(ticks=2, pings=0, restarts=1), 5000),
        (Plan(ticks=2, pings=0, flushes=1), 5000),
        (Plan(ticks=1, pings=0, writers=("all rows",)), 100),
        (Plan(ticks=1, pings=0, writers=("other", "other")), 100),
        (Plan(ticks=0, pings=0, writers=("own",)), 100),
        (Plan(ticks=0, pings=0, readers=2, is_warm=False), 400),
        (Plan(ticks=0, pings=0, readers=2, database_readers=1, writers=("own",)), 100),
    ],
)
def test_no_old_row_is_read_under_strict(plan: Plan, states: int) -> None:
    assert explore(plan) > states


@pytest.mark.parametrize(
    ("plan", "states"),
    [
        (Plan(near="seconds", ticks=2), 5000),
        (Plan(near="seconds", ticks=1, pings=0, is_warm=False), 400),
        (Plan(near="seconds", ticks=0, pings=0, readers=2, is_warm=False), 1000),
        (Plan(near="seconds", ticks=0, pings=0, readers=2, writers=("own",)), 100),
        (Plan(near="seconds", ticks=0, pings=0, is_warm=False, writers=("own",)), 100),
        (Plan(near="seconds", ticks=0, pings=0, readers=2, database_readers=1), 100),
    ],
)
def test_no_row_beyond_the_bound_is_read_under_seconds(plan: Plan, states: int) -> None:
    assert explore(plan) > states


@pytest.mark.parametrize(
    "plan",
    [
        Plan(ticks=2, waits=False),
        Plan(ticks=1, renewals=1, applies=False),
        Plan(ticks=1, renewals=1, confirms_at_once=True),
        Plan(ticks=2, own_ticks=6, leases_last=1),
        Plan(ticks=0, lapses=True, renewals=1, remembers_gaps=False),
        Plan(ticks=2, pings=0, restarts=1, unknown_ticks=0),
        Plan(ticks=2, pings=0, flushes=1, unknown_ticks=0),
        Plan(near="seconds", ticks=2, pings=2, applies=False),
        Plan(near="seconds", ticks=0, pings=0, writers=("own",), drops=("seen",)),
        Plan(
            near="seconds",
            ticks=0,
            pings=0,
            readers=2,
            database_readers=1,
            drops=("before", "after"),
        ),
    ],
    ids=[
        "writers don't wait",
        "pushes aren't applied",
        "confirms before a PING is answered",
        "believes in its lease for longer than the server",
        "forgets that it had no lease",
        "a server that has begun again is believed about leases",
        "a server that has forgotten them is believed about leases",
        "pushes aren't applied, under seconds",
        "own writes drop nothing",
        "who has seen the database drops nothing",
    ],
)
def test_a_rule_that_is_left_out_is_found(plan: Plan) -> None:
    with pytest.raises(StaleRead):
        explore(plan)
