"""The pools for threads in a forked child: under redis-py's client, under django-redis, held."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.test import override_settings
from django_redis import get_redis_connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from redisdict.pools import BlockingConnectionPool, ConnectionPool
from redisdict.pools.fast_connection import FAST_PATH_UNAVAILABLE
from redisdict.servers.process import ServerProcess, free_port
from tests.backends.tls import Certificates, make_certificates
from tests.conftest import program_for_tests
from tests.forks.forking import Child, Fork, fork_in_c


@pytest.fixture(params=[ConnectionPool, BlockingConnectionPool])
def pool_class(request: pytest.FixtureRequest) -> type[ConnectionPool]:
    chosen: type[ConnectionPool] = request.param
    return chosen


@pytest.fixture
def client(pool_class: type[ConnectionPool], redis_url: str) -> Iterator[redis.Redis]:
    pool = pool_class.from_url(redis_url, max_connections=2, retry=Retry(NoBackoff(), 1))
    yield redis.Redis(connection_pool=pool)
    pool.disconnect()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_url(certificates: Certificates) -> Iterator[str]:
    files = {
        "--tls-cert-file": certificates.certificate,
        "--tls-key-file": certificates.key,
        "--tls-ca-cert-file": certificates.authority,
    }
    port = free_port()
    flags = [word for flag, file in files.items() for word in (flag, str(file))]
    flags += ["--tls-auth-clients", "no", "--tls-port", str(port)]
    with ServerProcess(program_for_tests("redis"), arguments=flags):
        yield f"rediss://127.0.0.1:{port}/0"


def mixed_up(client: Any, name: str) -> int:
    """How many of many replies are to another's question."""
    return sum(
        client.echo(f"{name}{number}") != f"{name}{number}".encode() for number in range(500)
    )


def test_parent_and_children_ask_side_by_side(client: redis.Redis, fork: Fork) -> None:
    client.ping()
    children = [Child(lambda name=name: mixed_up(client, name), fork) for name in "abc"]
    assert mixed_up(client, "parent") == 0
    assert [child.result() for child in children] == [0, 0, 0]


def test_the_short_way_notices(pool_class: type[ConnectionPool], redis_url: str) -> None:
    pool = pool_class.from_url(redis_url)
    ask: Any = pool.execute
    pool.release(pool.get_connection())
    command = b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n"

    def live() -> tuple[Any, Any]:
        first = ask(command)
        pool.release(pool.get_connection())
        return first is FAST_PATH_UNAVAILABLE, ask(command)

    parents = ask(command)
    is_first_not_ready, childs = Child(live).result()
    assert is_first_not_ready
    assert childs != parents
    assert ask(command) == parents  # the child's end hasn't closed it
    pool.disconnect()


@pytest.mark.parametrize("first", ["release", "disconnect", "make_connection"])
def test_whatever_a_child_does_first_leaves_the_parent_alone(
    client: redis.Redis, first: str
) -> None:
    pool: Any = client.connection_pool
    held = pool.get_connection()
    parents = client.client_id()

    def live() -> tuple[bool, int]:
        getattr(pool, first)(*([held] if first == "release" else []))
        return pool._available_connections == [], client.client_id()

    is_empty, childs = Child(live).result()
    assert is_empty
    assert childs != parents
    assert client.client_id() == parents
    held.send_command("PING")
    assert held.read_response() == b"PONG"
    pool.release(held)


def test_all_connections_of_the_parent_taken_are_none_of_the_childs(
    client: redis.Redis, fork: Fork
) -> None:
    pool = client.connection_pool
    held = [pool.get_connection() for _ in range(2)]
    assert Child(lambda: client.echo("child"), fork).result() == b"child"
    for connection in held:
        pool.release(connection)


def test_locks_that_other_threads_held_are_free(client: redis.Redis, fork: Fork) -> None:
    pool: Any = client.connection_pool
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with pool._lock, pool._returned, pool._fork_lock:
            is_held.set()
            is_over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    try:
        assert Child(lambda: client.echo("child"), fork).result() == b"child"
    finally:
        is_over.set()
        thread.join()


def test_a_subscriber_subscribes_anew(client: redis.Redis, fork: Fork, key_prefix: str) -> None:
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe(key_prefix)

    def message() -> Any:
        while True:
            found = subscriber.get_message(timeout=1)
            if found is not None:
                return found["data"]

    assert subscriber.get_message(timeout=30) is None  # the subscription itself
    child = Child(message, fork)
    while client.pubsub_numsub(key_prefix) != [(key_prefix.encode(), 2)]:
        pass
    client.publish(key_prefix, "for both")
    assert child.result() == b"for both"
    assert message() == b"for both"
    subscriber.close()


def test_a_watch_of_the_parent_is_none_of_the_childs(
    client: redis.Redis, fork: Fork, key_prefix: str
) -> None:
    with client.pipeline() as pipeline:
        pipeline.watch(key_prefix)
        pipeline.multi()
        pipeline.set(key_prefix, "changed")
        with pytest.raises(redis.WatchError):
            raise Child(lambda: outcome_of(pipeline), fork).result()
        assert client.get(key_prefix) is None
        assert pipeline.execute() == [True]
    client.delete(key_prefix)


def outcome_of(pipeline: Any) -> Any:
    try:
        return AssertionError(f"it was carried out: {pipeline.execute()}")
    except redis.RedisError as error:
        return error


def test_a_client_of_a_single_connection(
    pool_class: type[ConnectionPool], redis_url: str, fork: Fork
) -> None:
    pool = pool_class.from_url(redis_url, retry=Retry(NoBackoff(), 1))
    client = redis.Redis(connection_pool=pool, single_connection_client=True)
    parents = client.client_id()
    child = Child(lambda: (mixed_up(client, "child"), client.client_id()), fork)
    assert mixed_up(client, "parent") == 0
    wrong, childs = child.result()
    assert wrong == 0
    assert childs != parents
    assert client.client_id() == parents
    client.close()
    pool.disconnect()


def test_a_held_connection_counts_as_lost(client: redis.Redis, fork: Fork) -> None:
    held: Any = client.connection_pool.get_connection()
    held.send_command("ECHO", "the parent's")

    def live() -> bytes:
        with pytest.raises(redis.ConnectionError):
            held.read_response() if fork is fork_in_c else held.send_command("PING")
        held.disconnect()
        held.send_command("ECHO", "mine")
        answer: bytes = held.read_response()
        return answer

    assert Child(live, fork).result() == b"mine"
    assert held.read_response() == b"the parent's"
    client.connection_pool.release(held)


def test_tls_of_the_parent_goes_on(
    pool_class: type[ConnectionPool], tls_url: str, certificates: Certificates
) -> None:
    pool = pool_class.from_url(tls_url, ssl_ca_certs=str(certificates.authority))
    client = redis.Redis(connection_pool=pool)
    held = pool.get_connection()
    parents = client.client_id()

    def live() -> int:
        other = client.client_id()
        pool.disconnect()
        return other

    assert Child(live, fork_in_c).result() != parents
    assert client.client_id() == parents
    held.send_command("PING")
    assert held.read_response() == b"PONG"
    pool.release(held)
    pool.disconnect()


def test_under_django_redis(
    pool_class: type[ConnectionPool], redis_url: str, key_prefix: str, fork: Fork
) -> None:
    settings = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"{redis_url}?client_name={key_prefix}",
            "KEY_PREFIX": key_prefix,
            "OPTIONS": {"CONNECTION_POOL_CLASS": f"redisdict.pools.{pool_class.__name__}"},
        }
    }
    with override_settings(CACHES=settings):
        cache = caches["default"]
        cache.set_many({f"k{number}": number for number in range(100)}, 60)

        def wrong() -> int:
            return sum(cache.get(f"k{number % 100}") != number % 100 for number in range(500))

        children = [Child(wrong, fork) for _ in range(3)]
        assert wrong() == 0
        assert [child.result() for child in children] == [0, 0, 0]
        cache.clear()
        get_redis_connection("default").connection_pool.disconnect()
