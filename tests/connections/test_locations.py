"""Every LOCATION scheme, and every way to get one wrong."""

from pathlib import Path

import pytest

from redisdict.connections.locations import parse_location
from redisdict.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("url", "kind", "address", "options"),
    [
        (
            "redis://10.0.0.5:6380/3",
            "tcp",
            "redis://10.0.0.5:6380/3",
            {"host": "10.0.0.5", "port": 6380, "db": 3},
        ),
        ("redis://", "tcp", "redis://localhost:6379/0", {"host": "localhost", "port": 6379}),
        (
            "rediss://app:s%40cret@host/1?socket_timeout=2.5",
            "tls",
            "rediss://host:6379/1",
            {
                "username": "app",
                "password": "s@cret",
                "host": "host",
                "port": 6379,
                "db": 1,
                "socket_timeout": 2.5,
            },
        ),
        (
            "unix:///run/valkey.sock?db=2",
            "unix",
            "unix:///run/valkey.sock?db=2",
            {"path": "/run/valkey.sock", "db": 2},
        ),
    ],
)
def test_one_server(url: str, kind: str, address: str, options: dict[str, object]) -> None:
    location = parse_location(url)
    assert (location.kind, str(location), dict(location.options)) == (kind, address, options)


def test_sentinels() -> None:
    location = parse_location(
        "redis+sentinel://app:pw@h1:26380,[::1]:26381,h3/mymaster/2?sentinel_password=other"
    )
    assert location.kind == "sentinel"
    assert location.nodes == (("h1", 26380), ("::1", 26381), ("h3", 26379))
    assert (location.service, location.options["db"]) == ("mymaster", 2)
    assert (location.options["username"], location.options["password"]) == ("app", "pw")
    assert dict(location.node_options) == {"password": "other"}
    assert "sentinel_password" not in location.options
    assert str(location) == "redis+sentinel://h1:26380,[::1]:26381,h3:26379/mymaster/2"


def test_cluster() -> None:
    location = parse_location("rediss+cluster://h1:7000,h2:7001")
    assert (location.kind, location.is_tls) == ("cluster", True)
    assert location.nodes == (("h1", 7000), ("h2", 7001))


def test_ipv6_addresses_of_a_cluster() -> None:
    location = parse_location("redis+cluster://[::1]:7000, [fe80::2] ,h3:7001\n")
    assert location.nodes == (("::1", 7000), ("fe80::2", 6379), ("h3", 7001))
    assert str(location) == "redis+cluster://[::1]:7000,[fe80::2]:6379,h3:7001"


def test_embedded() -> None:
    assert parse_location("embedded:///var/lib/a%20b").path == Path("/var/lib/a b")


@pytest.mark.parametrize(
    "url", ["redis://u:geheim@h/0", "redis+sentinel://u:geheim@h/s/0?sentinel_password=geheim"]
)
def test_no_password_is_shown(url: str) -> None:
    location = parse_location(url)
    assert "geheim" not in repr(location) + str(location)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redsi://h", r"the scheme 'redsi'; one of .* Did you mean redis://\?"),
        ("localhost:6379", r"has no scheme; one of redis://, "),
        ("redis://h:port/0", r"can't be read: the port isn't a number from 0 to 65535"),
        ("redis://h:99999/0", r"can't be read: the port isn't a number from 0 to 65535"),
        ("redis://h/abc", r"after the host is 'abc', where the number of the database is"),
        ("rediss://h/0/1", r"after the host is something else, where the number"),
        ("redis://h/0#1", r"after the host is something else, where the number"),
        ("redis://h/?db=one", r"Invalid value for 'db'"),
        ("unix://run/valkey.sock", r"the path of the socket has to be absolute"),
        ("embedded://var/data", r"the directory 'var/data' isn't absolute, so each process"),
        ("embedded://~nobody-of-this-name/data", r"Could not determine home directory"),
        ("embedded:///var/%00", r"a NUL in its name"),
        ("unix://", r"the path of the socket is missing"),
        ("redis+sentinel://h1:26379", r"the path must be /SERVICE or /SERVICE/DB"),
        ("redis+sentinel:///mymaster/0", r"no host is given"),
        ("redis+sentinel://h:0/m/0", r"the port of a host isn't a number from 1 to 65535"),
        ("redis+sentinel://h/m/zero", r"the database 'zero' isn't a number"),
        ("redis+cluster://h:1,[::1:7000", r"the brackets of an IPv6 address don't match"),
        ("redis+cluster://h:1,::1]", r"the brackets of an IPv6 address don't match"),
        ("redis+cluster://h:1/3", r"a cluster has only database 0"),
        ("embedded://", r"the directory for the data is missing"),
    ],
)
def test_a_mistake_is_named(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse_location(url, 'REDISDICT["x"]["LOCATION"]')
    assert str(caught.value).startswith('REDISDICT["x"]["LOCATION"]')


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://u:geheim@h:0/m/0",
        "redis://:geheim/x@h/0",
        "redis://:1/geheim@h/0",
        "redis://:1#geheim@h/0",
        "redis+sentinel://:geheim/x@h/m/0",
    ],
)
def test_a_mistake_does_not_repeat_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_location(url)
    assert "geheim" not in str(caught.value)
