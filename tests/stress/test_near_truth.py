"""A short run of `tests.stress.near_truth` for each server, and one without each of the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from redisdict.servers.programs import Program
from redisdict.wire.server_info import Family
from tests.conftest import UNPACKAGED, address_of, program_for_tests
from tests.missing import end_without
from tests.stress.near.without import PLAIN_RULES, RULES
from tests.stress.near_truth import Outcome, run

pytestmark = pytest.mark.deep

#: The least that a run may have seen to be worth anything, however busy the machine.
READS = 50_000

#: Reads from memory among them.
HITS = 15_000

#: Seconds after which a run that finds nothing has failed, or has read too little.
LONGEST_S = 600

#: Disturbances that each run has to have seen: each kind comes once before any comes again.
DISTURBANCES = 7


def has_seen_enough(outcome: Outcome) -> bool:
    has_read = outcome.judged > READS and outcome.hits > HITS
    has_seen = has_read and outcome.disturbances >= DISTURBANCES
    return has_seen or bool(outcome.breaches) or outcome.seconds > LONGEST_S


def check(outcome: Outcome) -> None:
    assert outcome.breaches == []
    assert outcome.said == ""
    assert outcome.judged > READS
    assert outcome.hits > HITS
    assert outcome.disturbances >= DISTURBANCES


@pytest.mark.parametrize("family", ["redis", "valkey", *UNPACKAGED])
def test_no_promise_is_broken(family: Family) -> None:
    if family == "dragonfly":
        pytest.skip("near is off on Dragonfly, whose PINGs may overtake what changed before")
    if address_of(family):
        pytest.skip("the run stops and flushes the server, so it needs one of its own")
    check(run(program_for_tests(family), has_seen_enough))


@pytest.mark.parametrize(
    ("family", "behind"), [("redis", "nothing"), ("valkey", "nothing"), ("valkey", "cluster")]
)
def test_no_promise_is_broken_by_plain_tracking(family: Family, behind: str) -> None:
    program = program_for_tests(family)
    check(run(program, has_seen_enough, behind=behind, tracking="plain"))


NEWER_REDIS = Path(__file__).parents[2] / "var" / "servers" / "redis-8.2"


def test_no_promise_is_broken_on_a_newer_redis() -> None:
    if not NEWER_REDIS.exists():
        end_without("No Redis 8.2 is here; .ci/servers gets it.")
    check(run(Program(family="redis", path=NEWER_REDIS, origin="given"), has_seen_enough))


@pytest.mark.parametrize("behind", ["sentinels", "cluster"])
def test_no_promise_is_broken_by_several_servers(behind: str) -> None:
    check(run(program_for_tests("valkey"), has_seen_enough, behind=behind))


@pytest.mark.parametrize(
    ("tracking", "rule"),
    [*(("auto", rule) for rule in RULES), *(("plain", rule) for rule in (*RULES, *PLAIN_RULES))],
)
def test_a_rule_left_out_is_found(tracking: str, rule: str) -> None:
    outcome = run(
        program_for_tests("valkey"),
        lambda outcome: bool(outcome.breaches) or outcome.seconds > LONGEST_S,
        tracking=tracking,
        without=rule,
    )
    assert outcome.said == ""
    assert outcome.breaches != []
