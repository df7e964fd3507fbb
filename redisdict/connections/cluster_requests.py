"""Prepare requests for a node of a Cluster, by commands such as ASKING and READONLY."""

from __future__ import annotations

import dataclasses

from redis.exceptions import ResponseError

from redisdict.wire.requests import Batch, Command, Operation, Reply, as_batch


def ask_importing(request: Command | Batch) -> Operation[Reply]:
    """Ask a node that is to get the slot of a request and doesn't have it yet, by ASKING."""
    batch = as_batch(request)
    commands = [each for command in batch.commands for each in ((b"ASKING",), command)]
    if not isinstance(request, Batch):
        _, reply = yield dataclasses.replace(batch, commands=commands, is_repeatable=False)
        if isinstance(reply, ResponseError):
            raise reply
        return reply
    reply = yield dataclasses.replace(batch, commands=commands)
    if batch.wait is None:
        return reply[1::2]
    own, waited = reply
    return own[1::2], waited


def as_it_is(batch: Batch) -> Batch:
    return batch


def reading(batch: Batch) -> Batch:
    """Add READONLY before the commands of a batch for a replica: the first reply is OK."""
    return dataclasses.replace(batch, commands=[(b"READONLY",), *batch.commands])


def ask_replica(request: Command | Batch) -> Operation[Reply]:
    """Ask a replica, which refuses reads over a connection that hasn't said READONLY."""
    reply = yield reading(as_batch(request))
    if isinstance(request, Batch):
        return reply[1:]
    if isinstance(reply[1], ResponseError):
        raise reply[1]
    return reply[1]
