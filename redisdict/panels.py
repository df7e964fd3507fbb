"""Show a request's commands to servers, and their lines of code, in django-debug-toolbar.

DEBUG_TOOLBAR_PANELS = [..., "redisdict.panels.RedisDictPanel"]
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import PurePath
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from redisdict.connections import observation
from redisdict.exceptions import ConfigurationError
from redisdict.metrics.exchanges import hits_and_misses, name_of
from redisdict.metrics.totals import read_totals
from redisdict.wire.requests import Batch

if TYPE_CHECKING:
    from redisdict.connections.observation import Exchange

try:
    from debug_toolbar.panels import Panel
except ImportError as error:
    raise ConfigurationError(
        "redisdict.panels is for django-debug-toolbar, which isn't installed:"
        " pip install django-debug-toolbar, or leave redisdict.panels.RedisDictPanel out of"
        " DEBUG_TOOLBAR_PANELS."
    ) from error

#: Exchanges of one request that are listed; all are counted.
MOST_LISTED = 500

#: Keys of one exchange that are named, and characters of each.
MOST_KEYS = 3
LONGEST_KEY = 60

#: How the names of modules begin that are never where a call came from.
OWN = ("redisdict.", "asyncio.", "asgiref.", "threading", "concurrent.", "_collections_abc")

#: Commands in which the key of an item is a field behind the dict's key.
OF_FIELDS = frozenset(
    {b"HGET", b"HSET", b"HDEL", b"HEXISTS", b"HMGET", b"HINCRBY", b"HINCRBYFLOAT", b"HSETNX"}
)


@dataclass(slots=True)
class Record:
    """One exchange, as the panel shows it."""

    alias: str
    operation: str
    names: str
    keys: str
    result: str
    milliseconds: float
    place: str
    error: str


@dataclass(slots=True)
class Recorder:
    """The exchanges of one request."""

    records: list[Record] = field(default_factory=list)
    count: int = 0
    hits: int = 0
    misses: int = 0
    milliseconds: float = 0.0
    near_hits_before: float = 0.0

    def note(self, exchange: Exchange) -> None:
        hits, misses = _found(exchange)
        milliseconds = exchange.duration_ns / 1e6
        self.count += 1
        self.hits += hits
        self.misses += misses
        self.milliseconds += milliseconds
        if len(self.records) < MOST_LISTED:
            names, keys = _describe(exchange)
            error = exchange.error
            self.records.append(
                Record(
                    alias=exchange.server.config.alias,
                    operation=name_of(exchange.request),
                    names=names,
                    keys=keys,
                    result=_result(hits, misses),
                    milliseconds=milliseconds,
                    place=_calling_place(),
                    error="" if error is None else type(error).__name__,
                )
            )


_recorder: ContextVar[Recorder | None] = ContextVar("redisdict_recorder", default=None)


def _observe(exchange: Exchange) -> None:
    recorder = _recorder.get()
    if recorder is not None:
        recorder.note(exchange)


class RedisDictPanel(Panel):  # type: ignore[misc]  # the toolbar may be missing
    """Lists each command of the request: dict, key, hit or miss, time, and the line that asked.

    It sees the commands of the request's own thread or task, and of those that it has started.
    """

    is_async = True
    title = _("Redis dicts")
    nav_title = _("Redis dicts")
    template = "redisdict/panel.html"

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()
        count, milliseconds = stats.get("count", 0), stats.get("milliseconds", 0.0)
        text = ngettext(
            "%(count)d command in %(time).2f ms", "%(count)d commands in %(time).2f ms", count
        )
        return text % {"count": count, "time": milliseconds}

    def enable_instrumentation(self) -> None:
        observation.add_observer(_observe)
        self._recorder = Recorder(near_hits_before=_near_hits())
        self._token = _recorder.set(self._recorder)

    def disable_instrumentation(self) -> None:
        try:
            _recorder.reset(self._token)
        except ValueError:  # another context, as when a response streams
            _recorder.set(None)

    def generate_stats(self, request: Any, response: Any) -> None:
        recorder = self._recorder
        self.record_stats(
            {
                "count": recorder.count,
                "hits": recorder.hits,
                "misses": recorder.misses,
                "milliseconds": recorder.milliseconds,
                "near_hits": int(max(0, _near_hits() - recorder.near_hits_before)),
                "left_out": recorder.count - len(recorder.records),
                "records": [
                    {name: getattr(record, name) for name in Record.__slots__}
                    for record in recorder.records
                ],
            }
        )


def _near_hits() -> float:
    """Count the reads of the process that memory has answered so far."""
    totals = read_totals()
    return sum(
        one.value for one in totals if one.metric.name == "near_events" and one.labels[2] == "hits"
    )


def _found(exchange: Exchange) -> tuple[int, int]:
    """Count hits and misses, also those of cached rows, which a script reads."""
    command: Any = exchange.request
    reply = exchange.reply
    is_script = type(command) is not Batch and command[0] == b"EVALSHA" and type(reply) is list
    if is_script and b":m:{" in b":" + _bytes(command[3]):
        hits = sum(isinstance(one, bytes) for one in reply)
        return hits, len(reply) - hits
    return hits_and_misses(exchange)


def _result(hits: int, misses: int) -> str:
    if hits + misses == 1:
        return "hit" if hits else "miss"
    counted = ((hits, "hit", "hits"), (misses, "miss", "misses"))
    return ", ".join(
        f"{count} {one if count == 1 else many}" for count, one, many in counted if count
    )


def _describe(exchange: Exchange) -> tuple[str, str]:
    """Name the dicts of an exchange, and its keys."""
    request = exchange.request
    commands: Any = request.commands if type(request) is Batch else (request,)
    names: dict[str, None] = {}
    keys: list[str] = []
    for command in commands:
        for name, key in _items_of(command):
            names[name] = None
            if key is not None:
                keys.append(key)
    shown = ", ".join(keys[:MOST_KEYS])
    if len(keys) > MOST_KEYS:
        shown += f", … ({len(keys)})"
    return ", ".join(names), shown


def _items_of(command: Any) -> list[tuple[str, str | None]]:
    """Return the dict and key of each item that a command is about."""
    verb = command[0]
    if verb in (b"EVALSHA", b"EVAL"):
        keys = command[3 : 3 + int(command[2])]
        named = [_split(_bytes(key)) for key in keys]
        # A table's own cell goes before those of its rows.
        return [(name, key) for name, key in named if key is not None] or named[:1]
    if len(command) < 2:
        return []
    if verb in OF_FIELDS:
        name, _rest = _split(_bytes(command[1]))
        fields = command[2:3]
        if verb in (b"HDEL", b"HMGET"):
            fields = command[2:]
        elif verb == b"HSET":
            fields = command[2::2]
        return [(name, _shown(_bytes(one))) for one in fields]
    if verb in (b"MGET", b"DEL", b"UNLINK", b"EXISTS"):
        return [_split(_bytes(key)) for key in command[1:]]
    return [_split(_bytes(command[1]))]


def _split(key: bytes) -> tuple[str, str | None]:
    """Split a key of a server into the name of its dict and the key in it; see `mapping.keys`."""
    before, brace, rest = key.partition(b"{")
    name, end, item = rest.partition(b"}")
    if not brace or not end:
        return "", _shown(key)  # of a cache, or somebody else's
    path = unquote(name.decode(errors="backslashreplace").partition("%:")[0])
    if before.endswith((b":m:", b"m:")) and "/" in path:
        path = path.rpartition("/")[0]  # behind it stands which table of which database
    return path, _shown(item[1:]) if item.startswith(b":") else None


def _shown(key: bytes) -> str:
    text = repr(key.decode(errors="backslashreplace"))
    return text if len(text) <= LONGEST_KEY else text[: LONGEST_KEY - 1] + "…"


def _bytes(argument: Any) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode()


def _calling_place() -> str:
    """The file, line and function of the project that has asked; with three names of the path."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and _is_own(frame):
        frame = frame.f_back
    if frame is None:
        return ""
    parts = PurePath(frame.f_code.co_filename).parts
    return f"{'/'.join(parts[-3:])}:{frame.f_lineno} in {frame.f_code.co_name}"


def _is_own(frame: FrameType) -> bool:
    name: str = frame.f_globals.get("__name__", "")
    return name == "redisdict" or name.startswith(OWN)
