"""Connect to every configured server, and report what should be changed."""

from __future__ import annotations

import ipaddress
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from django.core.checks import ERROR, CheckMessage
from redis.exceptions import ResponseError

from redisdict import conf
from redisdict.checks import (
    check_alias,
    check_backend,
    check_caches,
    check_metrics,
    check_settings,
    check_shared_database,
)
from redisdict.connections.backend import Backend
from redisdict.connections.registry import get_backend
from redisdict.exceptions import ConfigurationError
from redisdict.inspection.servers import SERVER_ERRORS, facts_of_backend
from redisdict.inspection.shared_databases import LOOPBACK
from redisdict.mapping.dict import PersistentDict
from redisdict.near.service import near_service, service_in_use
from redisdict.wire.combinators import ask
from redisdict.wire.requests import Batch, Operation
from redisdict.wire.server_info import ask_info, ask_settings

Level: TypeAlias = Literal["ok", "warning", "error"]

#: The number of PINGs that measure the latency, and the median from which it is reported.
PINGS = 20
SLOW_PING_S = 0.005

#: The greatest difference between the server's clock and this machine's.
CLOCK_S = 1.0

#: The time within which a near cache must hear of a change that it makes.
NEAR_S = 3.0

#: From this number on a pool has no limit; it is redis-py's own.
UNLIMITED = 2**31

#: The features that the package uses where a server has them, by the command that shows them.
COMMANDS: Mapping[bytes, str] = {
    b"EVALSHA": "scripts",
    b"WAIT": 'durable="replicas"',
    b"WAITAOF": 'durable="aof"',
    b"HGETDEL": "HGETDEL",
    b"HPEXPIRE": "expiry of fields",
    b"FCALL": "functions",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check. `advice` says what to do; it is empty if all is well."""

    level: Level
    subject: str
    text: str
    advice: str = ""


@dataclass(frozen=True)
class _Answers:
    """A server's report about itself, and its time."""

    info: Mapping[str, str]
    settings: Mapping[str, str]
    commands: Mapping[bytes, bool]
    clock_s: float
    """How far its clock is ahead of this machine's; below 0 it is behind."""


def examine(using: str | None = None, processes: int | None = None) -> Iterator[Finding]:
    """Look at the settings, then at each server.

    Args:
        using: an alias of REDISDICT; None is all of them, and the caches.
        processes: how many processes will use the servers.

    Raises:
        ConfigurationError: there is no such alias.
    """
    yield from _settings(using)
    for subject, backend in _backends(using):
        if backend.config.setting == "REDISDICT":
            dangers = check_shared_database(subject, backend)
            yield from (_of_check(subject, message) for message in dangers)
        are_reached = True
        for name, node in _nodes(subject, backend):
            for finding in _server(name, node, processes):
                are_reached = are_reached and finding.level != "error"
                yield finding
        if are_reached:
            yield _near(subject, backend)


def _settings(using: str | None) -> Iterator[Finding]:
    if using is not None:
        conf.get_alias(using)
        messages = list(check_alias(using))
    else:
        messages = [*check_settings(None), *check_caches(None), *check_metrics(None)]
    yield from (_of_check("settings", message) for message in messages)
    if not messages:
        yield Finding("ok", "settings", "can be used")


def _backends(using: str | None) -> Iterator[tuple[str, Backend]]:
    """Return the server of each alias, and of each cache that has one of its own."""
    try:
        aliases = conf.aliases() if using is None else (using,)
    except ConfigurationError:
        return  # the settings' finding
    for alias in aliases:
        try:
            backend = get_backend(alias)
            backend.factory.verify()
        except ConfigurationError:
            continue  # as above
        yield alias, backend
    if using is None:
        from redisdict.cache.checks import backends_of_caches

        yield from backends_of_caches()


def _nodes(subject: str, backend: Backend) -> Iterator[tuple[str, Backend]]:
    """Return the primaries of a Cluster; for a single server, itself."""
    if backend.cluster is None:
        yield subject, backend
        return
    try:
        backend.driver.run(ask((b"EXISTS", b"redisdict:doctor")))  # so that it learns the slots
    except SERVER_ERRORS:
        yield subject, backend  # whose finding says why
        return
    for node in backend.cluster.primaries:
        yield f"{subject} {node.address}", node


def _server(subject: str, backend: Backend, processes: int | None) -> Iterator[Finding]:
    dangers = list(check_backend("The server", backend))
    if any(message.level >= ERROR for message in dangers):
        yield from (_of_check(subject, message) for message in dangers)
        return
    facts = facts_of_backend(backend)
    yield Finding(
        "ok",
        subject,
        f"{facts.name}, {facts.topology}, {facts.role}, at {backend.address};"
        f" {facts.memory} of memory, keeps: {facts.persistence}",
    )
    yield from (_of_check(subject, message) for message in dangers)
    try:
        answers = backend.driver.run(_ask())
        pings = [_ping_s(backend) for _ in range(PINGS)]
        yield _latency(subject, pings)
        yield from _capabilities(subject, answers)
        yield _connections(subject, backend, answers, processes)
        yield from _protection(subject, backend, answers)
        yield _clock(subject, answers)
    except SERVER_ERRORS as error:
        text = " ".join(str(error).split())
        yield Finding("error", subject, text, "See that it stays reachable, and try again.")


def _ask() -> Operation[_Answers]:
    info = yield from ask_info()
    # None of these values is secret.
    settings = yield from ask_settings("maxclients")
    settings |= yield from ask_settings("protected-mode")
    known = yield Batch([(b"COMMAND", b"INFO", name) for name in COMMANDS])
    commands = {
        name: bool(reply and reply[0])
        for name, reply in zip(COMMANDS, known, strict=True)
        if not isinstance(reply, ResponseError)  # the user may not ask
    }
    before = time.time()
    seconds, microseconds = yield (b"TIME",)
    between = (before + time.time()) / 2
    return _Answers(info, settings, commands, int(seconds) + int(microseconds) / 1e6 - between)


def _ping_s(backend: Backend) -> float:
    began = time.perf_counter()
    backend.driver.run(ask((b"PING",)))
    return time.perf_counter() - began


def _latency(subject: str, pings_s: list[float]) -> Finding:
    median = statistics.median(pings_s)
    text = (
        f"answers a PING in {1000 * median:.2f} ms (median of {len(pings_s)}),"
        f" {1000 * max(pings_s):.2f} ms at most"
    )
    if median < SLOW_PING_S:
        return Finding("ok", subject, text)
    return Finding(
        "warning",
        subject,
        text,
        "Every plain call waits that long: bring the server nearer (the same zone), look at its"
        " load and this machine's, or use near= (docs: The near cache).",
    )


def _capabilities(subject: str, answers: _Answers) -> Iterator[Finding]:
    if not answers.commands:
        yield Finding("ok", subject, "doesn't let its user list its commands (COMMAND INFO)")
        return
    has = [COMMANDS[name] for name, is_there in answers.commands.items() if is_there]
    lacks = [COMMANDS[name] for name, is_there in answers.commands.items() if not is_there]
    text = f"has {', '.join(has) or 'none of the optional commands'}"
    yield Finding("ok", subject, text + (f"; lacks {', '.join(lacks)}" if lacks else ""))
    if not answers.commands.get(b"EVALSHA", True):
        yield Finding(
            "warning",
            subject,
            "has no scripts (EVALSHA)",
            "ModelDict, timeouts of items in a hash, and compare_and_set() need them: use a server"
            " that has them, or dicts in the keys layout.",
        )


def _near(subject: str, backend: Backend) -> Finding:
    """Start a near cache, which changes a key and waits for the message about it."""
    if backend.factory.reads_replicas:
        return Finding("ok", subject, "can't be used with near=, because it reads from replicas")
    was_in_use = service_in_use(backend) is not None
    mapping: PersistentDict[str, Any] = PersistentDict("doctor", using=backend, near=1.0)
    deadline = time.monotonic() + NEAR_S
    try:
        while True:
            with suppress(*SERVER_ERRORS):  # the next round will tell
                mapping.get("")
            stats = mapping.near_stats()
            if stats.is_on:
                return Finding("ok", subject, "announces changes, so near= works")
            if time.monotonic() > deadline:
                return Finding("ok", subject, f"can't be used with near=: {stats.reason}")
            time.sleep(0.02)
    finally:
        if not was_in_use:
            near_service(backend).close()


def _connections(
    subject: str, backend: Backend, answers: _Answers, processes: int | None
) -> Finding:
    """Compare the connections that processes may open with those that the server takes."""
    most = getattr(backend.pool(), "max_connections", UNLIMITED)
    given = answers.info.get("maxclients") or answers.settings.get("maxclients")
    limit = int(given) if given and given.isdigit() else None
    in_use = int(answers.info.get("connected_clients", 0))
    each = "no limit" if most >= UNLIMITED else f"at most {most}"
    text = (
        f"connections: {each} for the threads of a process (max_connections), and as many for each"
        f" event loop; the server takes {'an unknown number' if limit is None else f'{limit:,}'}"
        f" (maxclients), {in_use:,} are open"
    )
    if limit is None or processes is None:
        return Finding("ok", subject, text)
    if most < UNLIMITED and processes * most <= limit - in_use:
        return Finding("ok", subject, f"{text}; enough for {processes} processes")
    share = max((limit - in_use) // processes, 1)
    return Finding(
        "warning",
        subject,
        f"{text}; not enough for {processes} processes",
        f'Set "OPTIONS": {{"max_connections": {share}}} or less, or raise maxclients.',
    )


def _protection(subject: str, backend: Backend, answers: _Answers) -> Iterator[Finding]:
    if not answers.settings:
        yield Finding(
            "ok",
            subject,
            "doesn't show its settings (CONFIG GET), as is usual for managed servers: ask its"
            " operator whether it persists all data and evicts none, or allow its user to read"
            " them (ACL: +config|get)",
        )
    if backend.factory.has_credentials or _is_local(backend):
        return
    text = "is reached over a network without a password"
    if answers.settings.get("protected-mode") == "no":
        text += ", and its protected-mode is off"
    yield Finding(
        "warning",
        subject,
        text,
        "Anyone who can reach it can read and change everything: set a password or an ACL user,"
        " and use rediss:// if others are on the network.",
    )


def _is_local(backend: Backend) -> bool:
    location = backend.factory.location
    if location.kind in ("unix", "embedded"):
        return True
    hosts = [host for host, _ in location.nodes] or [str(location.options.get("host"))]
    return all(host in LOOPBACK or _is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _clock(subject: str, answers: _Answers) -> Finding:
    text = f"its clock is {abs(answers.clock_s):.3f} s"
    text += f" {'ahead of' if answers.clock_s > 0 else 'behind'} this machine's"
    if abs(answers.clock_s) < CLOCK_S:
        return Finding("ok", subject, text)
    return Finding(
        "warning", subject, text, "Synchronize both by NTP: items expire by the server's clock."
    )


def _of_check(subject: str, message: CheckMessage) -> Finding:
    level: Level = "error" if message.level >= ERROR else "warning"
    text = " ".join(str(message.msg).split())
    return Finding(level, subject, f"{text} ({message.id})", str(message.hint or ""))
