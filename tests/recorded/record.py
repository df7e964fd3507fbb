"""Record what a real KeyDB or Dragonfly answers: `python -m tests.recorded.record keydb`.

The program has to be on PATH. Each state starts it in another way, sends the commands of PREPARED,
and writes down the replies to those of COMMANDS in both protocols. Run it again when a command is
added here, or for a later version.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import Program, find_program
from tests.recorded.frames import ReplyReader
from tests.recorded.server import ANY, RECORDINGS, packed


@dataclass(frozen=True)
class State:
    """How a server is started.

    Attributes:
        arguments: after those of ours.
        has_replica: whether a second server follows it.
        is_mutual: whether it follows the second, too.
    """

    arguments: tuple[str, ...] = ()
    has_replica: bool = False
    is_mutual: bool = False


STATES: dict[str, dict[str, State]] = {
    "keydb": {
        "alone": State(),
        "active-replica": State(("--active-replica", "yes"), has_replica=True, is_mutual=True),
        "active-alone": State(("--active-replica", "yes")),
    },
    "dragonfly": {
        "alone": State(),
        "replica": State(has_replica=True),
        "cache-mode": State(("--cache_mode=true",)),
        "snapshots": State(("--dbfilename=dump", "--snapshot_cron=*/5 * * * *")),
    },
}

PREPARED = (
    "SET small 1", "SET text some-text-that-is-longer-than-a-pointer", "HSET hash field value",
)  # fmt: skip

#: Settings that checks and benchmarks ask for.
SETTINGS = (
    "save", "appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "io-threads",
    "server-threads", "databases", "activedefrag", "lazyfree-lazy-user-del", "dir", "dbfilename",
    "snapshot_cron", "cache_mode", "lock_on_hashtags", "proactor_threads", "active-replica",
    "repl-diskless-sync-delay", "min-replicas-to-write",
)  # fmt: skip

#: Recorded with these words, and given to whatever begins with the words before the bar.
UNKNOWN = (
    "HGETDEL | hash FIELDS 1 f", "HPEXPIRE | hash 1000 FIELDS 1 field",
    "HPTTL | hash FIELDS 1 field", "WAITAOF | 1 0 100", "DELIFEQ | small 2", "DELEX | nokey IFEQ 2",
    "MSETEX | 1 a b", "FCALL | f 0",
)  # fmt: skip

#: For a user of limited rights: those that docs/servers.md names, and some finer ones.
RULES = (
    "on", ">PASSWORD", "~redisdict:*", "resetchannels", "-@all", "+@hash", "+@string",
    "+@sortedset", "+@keyspace", "+@transaction", "+@connection", "-@dangerous", "+eval",
    "+evalsha", "+memory", "+memory|usage", "+time", "+info", "+config", "+config|get",
    "+cluster", "+cluster|slots",
)  # fmt: skip

COMMANDS = (
    "INFO", "INFO server", "INFO replication", "INFO persistence", "INFO memory",
    "INFO server replication", "ROLE", "HELLO", "CLIENT INFO", "DBSIZE",
    "MEMORY USAGE small", "MEMORY USAGE text", "MEMORY USAGE hash", "MEMORY USAGE hash SAMPLES 0",
    "WAIT 1 2500", "WAIT 1 100", "WAIT 0 100",
    *(f"CONFIG GET {name}" for name in SETTINGS),
    "ACL SETUSER shop on >PASSWORD ~redisdict:* resetchannels",
    "ACL SETUSER shop on >PASSWORD ~redisdict:* +memory|usage",
    "ACL SETUSER shop on >PASSWORD ~redisdict:* +memory",
    *(f"ACL SETUSER shop {rule}" for rule in RULES),
    "COMMAND INFO get", "COMMAND INFO nosuchcommand", "ACL WHOAMI",
)  # fmt: skip


#: What a primary calls a replica that has all of its data.
FOLLOWS = ("online", "stable_sync")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=sorted(STATES))
    family: str = parser.parse_args().family
    program = find_program(family)  # type: ignore[arg-type]  # the choices are families
    states = {name: _record(program, state) for name, state in STATES[family].items()}
    recording = {"program": RECORDINGS[family].stem, "states": states}
    text = json.dumps(recording, indent=1, ensure_ascii=True)
    RECORDINGS[family].write_text(text + "\n", encoding="utf-8")
    return 0


def _record(program: Program, state: State) -> dict[str, Any]:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(ServerProcess(program, listen="tcp", arguments=state.arguments))
            for _ in range(1 + state.has_replica)
        ]
        server = servers[0]
        for other in servers[1:]:
            _follow(other, server)
            if state.is_mutual:
                _follow(server, other)
        exchanges = [*_exchanges(server, 2), *_exchanges(server, 3)]
    return {"arguments": list(state.arguments), "exchanges": exchanges}


def _follow(replica: ServerProcess, primary: ServerProcess) -> None:
    with replica.client(timeout_s=20) as client:
        client.replicaof("127.0.0.1", primary.port)
    with primary.client(timeout_s=20) as client:
        deadline = time.monotonic() + 60
        # Dragonfly calls a replica that follows "online" here, and "stable_sync" in ROLE.
        while client.info("replication").get("slave0", {}).get("state") not in (
            "online",
            "stable_sync",
        ):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{replica} doesn't follow {primary}")
            time.sleep(0.1)


def _exchanges(server: ServerProcess, protocol: int) -> list[dict[str, Any]]:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        replies = ReplyReader(connection)

        def ask(line: str) -> str:
            connection.sendall(packed([word.encode() for word in line.split(" ")]))
            return _without_this_machine(replies.read(), server).decode()

        ask(f"HELLO {protocol}")
        for line in PREPARED:
            ask(line)
        found = []
        for line in COMMANDS:
            found.append((line, ask(line)))
            if line == "HELLO":  # after which Dragonfly speaks RESP2
                ask(f"HELLO {protocol}")
        found.append((f"HELLO {protocol}", ask(f"HELLO {protocol}")))
        for line in UNKNOWN:
            name, arguments = line.split(" | ")
            reply = ask(f"{name} {arguments}")
            if reply.startswith("-"):
                found.append((f"{name} {ANY}", reply))
    return [{"protocol": protocol, "command": line, "reply": reply} for line, reply in found]


def _without_this_machine(reply: bytes, server: ServerProcess) -> bytes:
    """The reply with other words, as long as they were, for paths and the system's name."""
    for told in (str(server.directory), str(server.program.path), str(server.program.path.parent)):
        reply = reply.replace(told.encode(), b"/" + b"x" * (len(told.encode()) - 1))
    return re.sub(rb"(?<=os:Linux )[^\r]*", lambda match: b"x" * len(match[0]), reply)


if __name__ == "__main__":
    sys.exit(main())
