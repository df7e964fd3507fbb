"""What Dragonfly does otherwise, where there is none: the rules it has, kept on other servers.

It refuses scripts that touch a key they haven't declared, collects what they send by its `acall`
without a reply, and closes the connection at more than 65,536 arguments. Its replies here are
recorded ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redisdict import PersistentDict
from redisdict.connections.backend import Backend
from redisdict.connections.durability import Durability
from redisdict.mapping.keys import Names
from redisdict.mapping.layouts.hash import HashLayout
from redisdict.wire.combinators import intercept
from redisdict.wire.requests import (
    Argument,
    Batch,
    Call,
    GuaranteeRefused,
    Once,
    Operation,
)
from redisdict.wire.scripts import Script
from redisdict.wire.server_state import Capabilities
from tests.conftest import runner
from tests.mapping.conftest import backend, face, hset_enabled, make, mapping
from tests.mapping.feeding import feed
from tests.mapping.test_mapping_protocol import *  # noqa: F403
from tests.mapping.test_timeouts import *  # noqa: F403

__all__ = ["backend", "face", "hset_enabled", "make", "mapping", "runner", "server_url"]

MOST_ARGUMENTS = 65_536

#: Comes before the text of a script, which then sees these functions of `redis`.
GUARD = b"""
local real, declared = redis, {}
for _, key in ipairs(KEYS) do declared[key] = true end
local key_counts = {TIME = 0, RENAME = 2, DEL = -1, EXISTS = -1, MGET = -1, UNLINK = -1}
local function guarded(call)
  return function(name, ...)
    local arguments = {...}
    local count = key_counts[name] or 1
    for position = 1, count == -1 and #arguments or count do
      if not declared[arguments[position]] then
        error('script tried accessing undeclared key')
      end
    end
    return call(name, ...)
  end
end
local collected = {}
local function carry_out_collected()
  for _, arguments in ipairs(collected) do guarded(real.call)(unpack(arguments)) end
  collected = {}
end
local function in_turn(call)
  return function(...)
    carry_out_collected()
    return guarded(call)(...)
  end
end
local redis = setmetatable({
  call = in_turn(real.call),
  pcall = in_turn(real.pcall),
  acall = function(...) collected[#collected + 1] = {...} end,
}, {__index = real})
local function script()
"""

#: Comes behind it: what is still collected is carried out before the script's reply leaves.
END = b"""
end
local result = script()
carry_out_collected()
return result
"""


@pytest.fixture(scope="module")
def server_url(redis_url: str) -> str:
    return redis_url


@pytest.fixture(autouse=True)
def guarded_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every script of this module's tests may touch the keys that it declares, and no other."""

    def call(
        self: Script, keys: Any, *arguments: Argument, is_repeatable: bool = True
    ) -> Operation[Any]:
        kind = tuple if is_repeatable else Once
        text = GUARD + self.text + END
        return (yield kind((b"EVAL", text, len(keys), *keys, *arguments)))

    monkeypatch.setattr(Script, "call", call)


def test_the_guard_sees_an_undeclared_key(backend: Backend) -> None:
    script = Script("compare_and_delete", "redisdict.mapping.layouts")
    script.text = b"return redis.call('GET', KEYS[1] .. 'x')"
    with pytest.raises(ResponseError, match="script tried accessing undeclared key"):
        backend.driver.run(script.call([b"a"]))


def test_no_command_has_too_many_arguments(
    backend: Backend, make: Callable[..., PersistentDict[str, int]]
) -> None:
    longest = 0

    def watched(operation: Operation[Any]) -> Operation[Any]:
        nonlocal longest
        answer: Any = None
        try:
            while True:
                request = operation.send(answer)
                commands = request.commands if isinstance(request, Batch) else [request]
                commands = [one for one in commands if not isinstance(one, Call)]
                longest = max([longest, *map(len, commands)])
                answer = yield request
        except StopIteration as stop:
            return stop.value

    items = {str(number): number for number in range(40_000)}
    mapping, other = make(), make("other")
    for begin in (
        lambda: mapping._set_many_operation(items, None),
        lambda: mapping._get_many_operation(items),
        lambda: mapping._clone_operation(
            other._bound, lambda part: backend.driver.run(watched(part))
        ),
        lambda: mapping._set_many_operation(items, 60),
        lambda: mapping._get_many_operation(items),
        lambda: mapping._expire_operation(50),
        lambda: mapping._delete_many_operation(items),
        other._bound.layout.clear,
    ):
        backend.driver.run(watched(begin()))
    assert 1000 < longest < MOST_ARGUMENTS
    assert not mapping
    assert not other


def test_a_missing_command_is_done_without() -> None:
    layout = HashLayout(Names("p", ("d",)), Capabilities())
    asked, value = feed(layout.pop(b"f"), ResponseError("unknown command `HGETDEL`"), b"v")
    assert [request[0] for request in asked] == [b"HGETDEL", b"EVAL"]
    assert value == b"v"
    assert feed(layout.pop(b"f"), b"v")[0][0][0] == b"EVAL"  # it isn't asked again


def test_what_it_cannot_do_names_it() -> None:
    wait = Durability("aof", "redis://h:6379/0", 5)._wait
    info = b"# Server\r\nredis_version:7.4.0\r\ndragonfly_version:df-v1.40.1\r\n"
    with pytest.raises(GuaranteeRefused, match=r"Dragonfly 1\.40\.1 has no WAITAOF, "):
        feed(wait.before("redis://h:6379/0"), ResponseError("unknown command `WAITAOF`"), info)


def test_its_replicas_are_waited_for() -> None:
    durability = Durability("replicas", "redis://h:6379/0", 5)
    step = HashLayout(Names("p", ("d",)), Capabilities()).set(b"f", b"v", None)
    asked, _ = feed(intercept(step.begin(), durability.intercept().answer), ([0], ""))
    wait = asked[0].wait
    assert wait.command == (b"INFO", b"replication")
    replicas = b"".join(
        b"slave%d:ip=127.0.0.1,port=%d,state=online,lag=0\r\n" % (number, 7000 + number)
        for number in range(2)
    )
    waiting = wait.after(b"role:master\r\nconnected_slaves:2\r\n" + replicas)
    asked, reason = feed(waiting, *[0, None] * 5, 0, 2)
    assert asked[-1][:2] == (b"WAIT", 2)
    assert reason == ""
