"""What `manage.py check --tag redisdict_server` and `--deploy` say of real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import Error, run_checks
from django.core.checks import Warning as CheckWarning
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from redisdict.checks import _check_persistence
from redisdict.servers.process import ServerProcess
from redisdict.servers.topologies import SentinelTopology
from tests.conftest import program_for_tests
from tests.recorded import RecordedServer

Configure = Callable[[str], str]


@pytest.fixture
def configure(settings: Any) -> Configure:
    """Takes the location, gives back how the server is called in messages."""

    def one(location: str) -> str:
        settings.REDISDICT = {"shop": {"LOCATION": location}}
        return f'The server of REDISDICT["shop"] ({location.partition("?")[0]})'

    return one


class OldServer(ServerProcess):
    """One without HELLO, as before Redis 6, stands for those that speak RESP2 only."""

    @property
    def url(self) -> str:
        return f"{super().url}?protocol=2"


def found() -> list[Any]:
    return run_checks(tags=["redisdict_server"])


def test_a_server_that_keeps_everything(configure: Configure) -> None:
    program = program_for_tests("valkey")
    with ServerProcess(program, arguments=["--appendonly", "yes"]) as server:
        configure(server.url)
        assert found() == []
    with ServerProcess(program, arguments=["--save", "3600 1"]) as server:
        configure(server.url)
        assert found() == []


def test_a_server_that_can_lose_everything(configure: Configure) -> None:
    arguments = ["--maxmemory-policy", "allkeys-lru"]
    config = 'rename-command HELLO ""\n'
    with OldServer(program_for_tests("redis"), arguments=arguments, config=config) as server:
        server_name = configure(server.url)
        assert found() == [
            CheckWarning(
                f"{server_name} writes nothing to disk: a restart loses every dict.",
                hint="Start it with --appendonly yes, or with points to save at.",
                id="redisdict.W003",
            ),
            CheckWarning(
                f"{server_name} has maxmemory-policy allkeys-lru: when memory is"
                " short it deletes any dict.",
                hint="Set maxmemory-policy to noeviction, or to a volatile-* policy.",
                id="redisdict.W004",
            ),
            CheckWarning(
                f"{server_name} speaks RESP2 only, because it has no HELLO.",
                hint="Use Redis 6 or later, Valkey, KeyDB or Dragonfly.",
                id="redisdict.W005",
            ),
        ]


@pytest.mark.parametrize(
    ("server", "ids"),
    [
        ("keydb-alone", ["redisdict.W003"]),
        ("dragonfly-alone", ["redisdict.W003"]),
        ("dragonfly-snapshots", []),
        ("dragonfly-cache-mode", ["redisdict.W003", "redisdict.W004"]),
    ],
)
def test_servers_with_words_of_their_own(configure: Configure, server: str, ids: list[str]) -> None:
    family, _, state = server.partition("-")
    with RecordedServer(family, state) as recorded:
        server_name = configure(recorded.url)
        messages = found()
    assert [message.id for message in messages] == ids
    assert ("HELLO",) not in recorded.calls  # Dragonfly would speak RESP2 from then on
    hints = " ".join(str(message.hint) for message in messages)
    assert ("--snapshot_cron" in hints) == ("dragonfly" in server and "redisdict.W003" in ids)
    if "redisdict.W004" in ids:
        assert messages[1] == CheckWarning(
            f"{server_name} is in cache mode: when memory is short it deletes any dict.",
            hint="Start it without --cache_mode.",
            id="redisdict.W004",
        )


def test_a_server_that_writes_when_it_is_shut_down() -> None:
    told = {"snapshot_cron": "", "dbfilename": "dump-{timestamp}"}
    [message] = _check_persistence("It", {}, told)
    assert message.id == "redisdict.W003"
    assert "only when it is shut down: a crash loses" in message.msg


def test_a_quorum_of_one(configure: Configure) -> None:
    program = program_for_tests("valkey")
    with SentinelTopology(program, replicas=0, sentinels=1) as topology:
        server_name = configure(topology.location)
        assert found()[-1] == CheckWarning(
            f"{server_name} fails over when a single sentinel can't reach the primary (quorum"
            " 1): a network fault can leave two primaries, and the writes to one of them are lost.",
            hint="Run three sentinels or more, with a quorum of more than half of them.",
            id="redisdict.W006",
        )


def test_more_sentinels(configure: Configure, sentinel: SentinelTopology) -> None:
    configure(sentinel.location)
    assert [message.id for message in found()] == ["redisdict.W003"]


def test_a_server_that_is_not_there(configure: Configure) -> None:
    configure("redis://:secret@127.0.0.1:1/0")
    [message] = found()
    assert message == Error(
        'The server of REDISDICT["shop"] (redis://127.0.0.1:1/0) is unavailable: Error 111'
        " connecting to 127.0.0.1:1. Connection refused.",
        hint="Check the address, the credentials, and that the server runs.",
        id="redisdict.E002",
    )


@pytest.mark.django_db  # Django 6.1 asks the database whether it can do JSON
def test_they_run_for_the_tag_and_at_deployment_only(configure: Configure) -> None:
    configure("redis://127.0.0.1:1/0")

    def unreachable(**options: Any) -> int:
        messages = run_checks(databases=["default"], **options)  # other tests have added some
        return [message.id for message in messages].count("redisdict.E002")

    assert unreachable() == 0
    assert unreachable(tags=["redisdict"], include_deployment_checks=True) == 0
    assert unreachable(tags=["redisdict_server"]) == 1
    assert unreachable(include_deployment_checks=True) == 1
    assert unreachable(tags=["redisdict_server"], include_deployment_checks=True) == 1
    with pytest.raises(SystemCheckError, match=r"redisdict\.E002"):
        call_command("check", "--tag", "redisdict_server")
