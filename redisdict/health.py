"""Check that each configured server can be written to and read from, within a time limit.

    path("health/redis", redisdict.health.view)

The answer has status 200, or 503 when a server is unavailable, and JSON without addresses or
passwords; errors are logged under `redisdict.health`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from secrets import token_bytes
from typing import Any, Literal

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from redis.exceptions import RedisError

from redisdict import conf, forks
from redisdict.connections.backend import Backend
from redisdict.connections.registry import get_backend
from redisdict.exceptions import BackendUnavailable, ConfigurationError
from redisdict.mapping.keys import Names
from redisdict.near.service import service_in_use
from redisdict.near.space import NearSpace
from redisdict.wire.requests import Batch, Operation

logger = logging.getLogger("redisdict.health")

Status = Literal["ok", "degraded", "unavailable"]

#: Seconds that all servers together may take.
TIMEOUT_S = 2.0

#: Milliseconds that the value lives which is written and read.
LIVES_MS = 60_000

#: The name under which it is written, one for each process.
NAME = "redisdict health"

#: Problems that are told; what more there is to say of them is logged.
NO_ANSWER = "no answer in time"
NOT_WRITABLE = "it can be read but not written: only a replica answers, or writes are refused"
UNREACHABLE = "it can't be reached, or refuses"
MISCONFIGURED = "its configuration is wrong"
LOST_VALUE = "it returned another value than was written"
NEAR_OFF = "near caches are off: the server doesn't report changes"


@dataclass(frozen=True, slots=True)
class Health:
    """The state of one server.

    Attributes:
        alias: of REDISDICT.
        status: "degraded" if it can be used, but not for everything it is configured for.
        problems: descriptions for people; no address, no password.
        seconds: time for writing and reading a value; None without an answer.
    """

    alias: str
    status: Status
    problems: tuple[str, ...] = ()
    seconds: float | None = None


def check(aliases: Iterable[str] | None = None, timeout: float = TIMEOUT_S) -> list[Health]:
    """Write to and read from the server of each alias, concurrently, in threads of their own.

    SET with a time to live, and GET. Never takes longer than the time limit: if a server hangs, its
    thread goes on until the alias's `socket_timeout` ends it, and no second one is started.

    Args:
        aliases: of REDISDICT; None for all.
        timeout: seconds for all together.

    Raises:
        ConfigurationError: REDISDICT can't be read.
    """
    probes = [_probe_of(alias) for alias in (conf.aliases() if aliases is None else aliases)]
    deadline = time.monotonic() + timeout
    return [probe.result(deadline) for probe in probes]


async def acheck(aliases: Iterable[str] | None = None, timeout: float = TIMEOUT_S) -> list[Health]:  # noqa: ASYNC109  # as `check()` has it
    """As `check()`, without blocking the event loop."""
    return await asyncio.to_thread(check, aliases, timeout)


def worst(found: Iterable[Health]) -> Status:
    """Return the worst status of some servers; "ok" for none."""
    statuses = {one.status for one in found}
    for status in ("unavailable", "degraded"):
        if status in statuses:
            return status
    return "ok"


@never_cache
def view(
    request: HttpRequest, timeout: float = TIMEOUT_S, fail_when_degraded: bool = False
) -> JsonResponse:
    """Answer with the status of all servers, as JSON: 200, or 503 if one is unavailable.

    Args:
        timeout: seconds, as `check()` has it.
        fail_when_degraded: whether a degraded server causes a 503.
    """
    try:
        found = check(timeout=timeout)
    except ConfigurationError:
        logger.exception("REDISDICT can't be read.")
        found = [Health("REDISDICT", "unavailable", (MISCONFIGURED,))]
    status = worst(found)
    failing = ("unavailable", "degraded") if fail_when_degraded else ("unavailable",)
    body = {"status": status, "servers": {one.alias: _as_json(one) for one in found}}
    return JsonResponse(body, status=503 if status in failing else 200)


def _as_json(health: Health) -> dict[str, Any]:
    seconds = None if health.seconds is None else round(health.seconds, 6)
    return {"status": health.status, "problems": list(health.problems), "seconds": seconds}


class _Probe:
    """One check of one server, in a thread of its own."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._health: Health | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"redisdict: health of {alias}", daemon=True
        )
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def result(self, deadline: float) -> Health:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return self._health or Health(self.alias, "unavailable", (NO_ANSWER,))

    def _run(self) -> None:
        try:
            self._health = _look_at(self.alias)
        except ConfigurationError:
            logger.exception("The alias %r can't be used.", self.alias)
            self._health = Health(self.alias, "unavailable", (MISCONFIGURED,))
        except Exception:
            logger.exception("The check of the alias %r has failed.", self.alias)
            self._health = Health(self.alias, "unavailable", (UNREACHABLE,))


_probes: dict[str, _Probe] = {}
_lock = forks.Lock()
forks.on_fork(_probes.clear)


def _probe_of(alias: str) -> _Probe:
    """Begin a check, unless one of the same server hasn't ended yet."""
    with _lock:
        probe = _probes.get(alias)
        if probe is None or probe.is_over:
            probe = _probes[alias] = _Probe(alias)
        return probe


def _look_at(alias: str) -> Health:
    backend = get_backend(alias)
    key = Names(backend.config.key_prefix, (NAME,)).item_prefix + _own_name()
    began = time.monotonic()
    try:
        problem = backend.driver.run(_write_and_read(key))
    except (BackendUnavailable, RedisError) as error:
        logger.warning("The server of the alias %r has a problem: %s", alias, error)
        if _can_read(backend, key):
            return Health(alias, "degraded", (NOT_WRITABLE,), time.monotonic() - began)
        return Health(alias, "unavailable", (UNREACHABLE,))
    seconds = time.monotonic() - began
    if problem:
        return Health(alias, "unavailable", (problem,), seconds)
    if _is_near_off(backend):
        return Health(alias, "degraded", (NEAR_OFF,), seconds)
    return Health(alias, "ok", (), seconds)


def _own_name() -> bytes:
    return b"%d" % threading.get_native_id()


def _write_and_read(key: bytes) -> Operation[str]:
    token = token_bytes(8)
    replies = yield Batch([(b"SET", key, token, b"PX", LIVES_MS), (b"GET", key)])
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return "" if replies[1] == token else LOST_VALUE


def _can_read(backend: Backend, key: bytes) -> bool:
    """Whether the server, or a replica of it, still answers a read."""

    def read() -> Operation[object]:
        return (yield (b"GET", key))

    try:
        backend.drivers_of_dicts(None).driver.run(read())
    except (BackendUnavailable, RedisError):
        return False
    return True


def _is_near_off(backend: Backend) -> bool:
    """Whether a near cache is used, and can't answer from memory now."""
    service = service_in_use(backend)
    if service is None:
        return False
    for _, held in service.spaces():
        space = held[0] if isinstance(held, tuple) else held
        # One that was never read yet has no connection to be told over.
        if isinstance(space, NearSpace):
            stats = space.stats()
            if not stats.is_on and stats.misses:
                return True
    return False
