"""Open the connection that the tasks of a loop share."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redisdict.pools.shared_connection import SharedConnection


async def dial(template: Any) -> SharedConnection:
    """Connect and authenticate.

    Args:
        template: a redis-py connection that was never connected; it has the address and the
        options.

    Raises:
        redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: the server can't be
            reached, or refuses.
    """
    if template.redis_connect_func is not None:
        return await _take_over(template)
    address, arguments = await _target(template)
    try:
        async with asyncio.timeout(template.socket_connect_timeout):
            shared = await _connect(address, arguments, template)
            try:
                await _greet(shared, template)
            except BaseException:
                await shared.aclose()
                raise
    except TimeoutError:
        raise RedisTimeoutError(f"Timeout connecting to {address}") from None
    except OSError as error:
        raise RedisConnectionError(f"Error connecting to {address}: {error}") from None
    return shared


async def _target(template: Any) -> tuple[str, dict[str, Any]]:
    """Find where to connect: the name for errors, and arguments for the event loop."""
    if hasattr(template, "path"):
        return template.path, {"path": template.path}
    sentinel_route = getattr(template, "connection_pool", None)
    if sentinel_route is not None:
        host, port = await _chosen_address(sentinel_route)
    else:
        host, port = template.host, template.port
    arguments: dict[str, Any] = {"host": host, "port": port}
    if hasattr(template, "ssl_context"):
        arguments["ssl"] = template.ssl_context.get()
    return f"{host}:{port}", arguments


async def _chosen_address(route: Any) -> tuple[str, int]:
    """Choose the primary, or where the route leads to replicas the one whose turn it is."""
    if not route.is_master:
        async for address in route.rotate_slaves():
            replica: tuple[str, int] = address
            return replica
    primary: tuple[str, int] = await route.get_master_address()
    return primary


async def _connect(address: str, arguments: dict[str, Any], template: Any) -> SharedConnection:
    loop = asyncio.get_running_loop()
    timeout_s = template.socket_timeout
    connect = loop.create_unix_connection if "path" in arguments else loop.create_connection
    transport, shared = await connect(lambda: SharedConnection(address, timeout_s), **arguments)
    raw_socket = transport.get_extra_info("socket")
    if raw_socket is not None and raw_socket.family != socket.AF_UNIX:
        try:
            _set_options(raw_socket, template)
        except (OSError, TypeError) as error:
            await shared.aclose()
            raise RedisConnectionError(
                f"The socket to {address} doesn't take the socket_keepalive_options: {error}"
            ) from error
    return shared


def _set_options(raw_socket: Any, template: Any) -> None:
    """Set the options of a TCP socket as redis-py does by the same settings."""
    raw_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if template.socket_keepalive:
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in template.socket_keepalive_options.items():
            raw_socket.setsockopt(socket.IPPROTO_TCP, option, value)


async def _take_over(template: Any) -> SharedConnection:
    """Let redis-py connect and call the user's `redis_connect_func`, and take the socket over."""
    await template.connect()
    reader, writer = template._reader, template._writer  # there is no public way to them
    template._reader = template._writer = None
    address = getattr(template, "path", None) or f"{template.host}:{template.port}"
    shared = SharedConnection(address, template.socket_timeout)
    shared.connection_made(writer.transport)
    writer.transport.set_protocol(shared)
    shared.held = reader, writer  # which would close the transport at their end
    return shared


async def _greet(shared: SharedConnection, template: Any) -> None:
    """Send HELLO with the credentials, or AUTH; the client's name; the database. At once."""
    credentials: tuple[Any, ...] = ()
    if template.credential_provider is not None:
        credentials = tuple(await template.credential_provider.get_credentials_async())
    elif template.username or template.password:
        credentials = (template.username or "default", template.password or "")
    commands: list[tuple[Any, ...]] = []
    if template.protocol == 3:
        user = ("default", *credentials) if len(credentials) == 1 else credentials
        commands.append(("HELLO", 3, "AUTH", *user) if user else ("HELLO", 3))
    elif credentials:
        commands.append(("AUTH", *credentials))
    if template.client_name:
        commands.append(("CLIENT", "SETNAME", template.client_name))
    if template.db:
        commands.append(("SELECT", template.db))
    replies = [shared.submit(hiredis.pack_command(command)) for command in commands]
    for reply in replies:
        answer = await reply
        if isinstance(answer, ResponseError):
            raise RedisConnectionError(str(answer)) from answer
        if isinstance(answer, Exception):
            raise answer
