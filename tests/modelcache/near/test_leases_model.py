"""The model of the near leases answers as real servers do."""

from __future__ import annotations

import random
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict.connections.backend import Backend
from redisdict.modelcache.slots.near_leases import RENEW, WAIT
from redisdict.modelcache.slots.store import BEGIN
from redisdict.wire.combinators import ask
from tests.modelcache.near.leases_model import LeasesModel
from tests.near.conftest import backend as backend
from tests.near.conftest import tracking as tracking
from tests.near.conftest import url as url

KEYS = (b"n:{model}", b"ns:{model}")


@pytest.mark.parametrize("seed", range(20))
def test_a_history(backend: Backend, seed: int) -> None:
    """Times are so long, or so short, that no clock decides."""
    chance = random.Random(seed)  # a history
    driver, model = backend.driver, LeasesModel()
    driver.run(ask((b"DEL", *KEYS)))
    begun = {0: 0}  # the model's times, and the server's
    numbers = [0]

    def tell(command: tuple[Any, ...]) -> Any:
        try:
            return driver.run(ask(command))
        except ResponseError as error:
            return str(error).split()[0]

    def expect(command: tuple[Any, ...], now: int) -> Any:
        try:
            return model.execute(command, now)
        except ResponseError as error:
            return str(error).split()[0]

    for step in range(1, 60):
        now = step * 10
        incarnation = chance.choice([b"one"] * 8 + [b"two"])
        begin = chance.choice([b"", b"", b"", BEGIN])
        process = chance.choice([b"a" * 16, b"b" * 16])
        model_time = chance.choice(list(begun))
        number = chance.choice(numbers)
        if chance.random() < 0.5:
            lease_ms = chance.choice([0, 10**8, 10**8])
            head = (b"EVAL", RENEW.text, 1, KEYS[0], process, lease_ms)
            tail = (number, chance.choice([20, 50]), begin, incarnation)
            code = RENEW.digest
        else:
            unknown_ms = chance.choice([0, 0, 10**9])
            head = (b"EVAL", WAIT.text, 2, *KEYS, process)
            tail = (number, unknown_ms, begin, incarnation)
            code = WAIT.digest
        answer = tell((*head, begun[model_time], *tail))
        expected = expect((head[0], code, *head[2:], model_time, *tail), now)
        if isinstance(expected, str):
            assert answer == expected
            continue
        begun[expected[0]] = int(answer[0])
        numbers.append(expected[1])
        assert [int(each) for each in answer[1:]] == expected[1:]
    driver.run(ask((b"DEL", *KEYS)))
