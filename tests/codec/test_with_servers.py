"""The stored forms on real servers: their counters work on integers, and their text is read."""

from collections.abc import Iterator

import pytest
import redis

from redisdict.codec import get_codec
from tests.codec import test_golden_bytes as golden
from tests.codec.comparing import assert_same

codec = get_codec("msgpack", None)


@pytest.fixture
def client(server_url: str) -> Iterator["redis.Redis[bytes]"]:
    with redis.Redis.from_url(server_url) as client:
        yield client


def test_every_stored_form_survives_the_server(client: redis.Redis, key_prefix: str) -> None:
    values = [value for value, _stored in (*golden.MSGPACK, *golden.EXTENSIONS)]
    for value in values:
        client.set(key_prefix, codec.encode(value))
        assert_same(codec.decode(client.get(key_prefix)), value)
    client.delete(key_prefix)


def test_counters_count_stored_integers(client: redis.Redis, key_prefix: str) -> None:
    client.hset(key_prefix, "n", codec.encode(40))
    client.hincrby(key_prefix, "n", 2)
    assert codec.decode(client.hget(key_prefix, "n")) == 42
    client.hincrby(key_prefix, "n", -50)
    assert codec.decode(client.hget(key_prefix, "n")) == -8
    client.delete(key_prefix)


@pytest.mark.parametrize("step", [0.1, 1e-10, -2.5, 1e20, 3.0e-5])
def test_floats_that_the_server_counted_are_read(
    client: redis.Redis, key_prefix: str, step: float
) -> None:
    client.set(key_prefix, codec.encode(3000))
    answer = client.incrbyfloat(key_prefix, step)
    counted = codec.decode(client.get(key_prefix))
    assert counted == pytest.approx(answer)
    client.delete(key_prefix)
