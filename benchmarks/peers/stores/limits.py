"""What is left when there is no client: the limits that a client in Python can come near to."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import hiredis

from benchmarks.peers.stores.commands import NAME, SCAN_COUNT
from benchmarks.peers.stores.store import Items, Store
from redisdict.bench.workloads.calls import Calls

__all__ = ["BareConnection", "BareHash", "BareKeys", "BareProtocol", "BareSocket"]

#: Sends one command, given as its parts, and returns the reply or an awaitable of it.
Ask = Callable[..., Any]


class BareHash(Store):
    """Commands on one HASH over whatever can send them."""

    def __init__(self, ask: Ask, close: Callable[[], None]) -> None:
        self._ask = ask
        self._close = close

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self._ask, [(b"HGET", NAME, key) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self._ask, [(b"HSET", NAME, key, value) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self._ask, [(b"HDEL", NAME, key) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self._ask, [(b"HEXISTS", NAME, key) for key in keys])

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(lambda: self._ask(b"HMGET", NAME, *keys), [()])

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        return Calls(lambda: self._ask(b"HSET", NAME, *chain.from_iterable(items.items())), [()])

    def items(self) -> Items:
        return self._scan

    def close(self) -> None:
        self._close()

    def _scan(self) -> Iterator[tuple[Any, Any]]:
        cursor = b"0"
        while True:
            cursor, flat = self._ask(b"HSCAN", NAME, cursor, b"COUNT", SCAN_COUNT)
            yield from zip(flat[::2], flat[1::2], strict=True)
            if cursor == b"0":
                return


class BareKeys(Store):
    """Commands on string keys over whatever can send them."""

    def __init__(self, ask: Ask, close: Callable[[], None]) -> None:
        self._ask = ask
        self._close = close

    def get(self, keys: Sequence[str]) -> Calls:
        return Calls(self._ask, [(b"GET", key) for key in keys])

    def set(self, items: Mapping[str, Any]) -> Calls:
        return Calls(self._ask, [(b"SET", key, value) for key, value in items.items()])

    def delete(self, keys: Sequence[str]) -> Calls:
        return Calls(self._ask, [(b"DEL", key) for key in keys])

    def contains(self, keys: Sequence[str]) -> Calls:
        return Calls(self._ask, [(b"EXISTS", key) for key in keys])

    def get_many(self, keys: Sequence[str]) -> Calls:
        return Calls(lambda: self._ask(b"MGET", *keys), [()])

    def set_many(self, items: Mapping[str, Any]) -> Calls:
        return Calls(lambda: self._ask(b"MSET", *chain.from_iterable(items.items())), [()])

    def items(self) -> Items:
        return self._scan

    def close(self) -> None:
        self._close()

    def _scan(self) -> Iterator[tuple[Any, Any]]:
        cursor = b"0"
        while True:
            cursor, keys = self._ask(b"SCAN", cursor, b"COUNT", SCAN_COUNT)
            if keys:
                yield from zip(keys, self._ask(b"MGET", *keys), strict=True)
            if cursor == b"0":
                return


class BareSocket:
    """A socket and hiredis; no pool, no retry, no timeout, no error handling."""

    def __init__(self, connected: socket.socket, db: int) -> None:
        self._socket = connected
        self._reader = hiredis.Reader()
        self.close = connected.close
        self.ask(b"SELECT", db)

    def ask(self, *command: Any) -> Any:
        self._socket.sendall(hiredis.pack_command(command))
        reader = self._reader
        while True:
            reader.feed(self._socket.recv(65_536))
            reply = reader.gets()
            if reply is not False:
                return reply


class BareConnection:
    """A redis-py Connection that is checked out once, with hiredis packing the commands."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.close = connection.disconnect

    def ask(self, *command: Any) -> Any:
        self._connection.send_packed_command((hiredis.pack_command(command),))
        return self._connection.read_response()


class BareProtocol(asyncio.Protocol):
    """An event loop's own connection and hiredis; what one turn asks for leaves in one write."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._unsent: list[bytes] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.close = transport.close

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self._waiting.popleft().set_result(reply)

    def ask(self, *command: Any) -> asyncio.Future[Any]:
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(reply)
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(hiredis.pack_command(command))
        return reply

    def _send(self) -> None:
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
