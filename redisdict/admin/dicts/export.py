"""Export the items of a dict as JSON Lines, for people and programs that read no dump."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile
from typing import IO, Any

from redisdict.admin.dicts.literals import is_same
from redisdict.admin.dicts.values import decode_value, key_text, literal
from redisdict.connections.backend import Backend
from redisdict.exceptions import RedisDictError
from redisdict.mapping.globs import Glob
from redisdict.mapping.layouts.base import FOREVER, Layout, Record
from redisdict.mapping.scanning import Scan
from redisdict.wire.requests import Operation


def exported(backend: Backend, layout: Layout, glob: Glob | None) -> IO[bytes]:
    """Write all items whose keys match into a temporary file, which is at its beginning.

    HSCAN, or SCAN with GET and PTTL, page by page, so that memory stays flat. The file is whole
    before it is sent: an error of the server is told, and no download is cut off in silence.
    """
    file = TemporaryFile()  # noqa: SIM115  # outlives this function
    try:
        for records in _pages(backend, layout):
            for record in records:
                if matches(glob, record[0]):
                    file.write(_line(record))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def matches(glob: Glob | None, field: bytes) -> bool:
    """Match a key as `keys_matching()` does; one that isn't text matches no pattern."""
    if glob is None:
        return True
    text = key_text(field)
    return text is not None and glob.matches(text)


def _pages(backend: Backend, layout: Layout) -> Iterator[Sequence[Record]]:
    def page(cursor: bytes) -> Operation[Any]:
        cursor, records = yield from layout.scan_records(cursor)
        return cursor, [record[0] for record in records], (records,)

    scan: Scan[Record] = Scan(page, list)
    while not scan.is_over:
        yield list(backend.driver.run(scan.next_page()))


def _line(record: Record) -> bytes:
    text = json.dumps(_described(record), ensure_ascii=False)
    # A lone surrogate has no UTF-8; what takes its place is JSON's own escape for it.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _described(record: Record) -> dict[str, Any]:
    """Describe one item in words of JSON: the value itself where JSON has it."""
    field, stored, left_ms = record
    text = key_text(field)
    item: dict[str, Any] = {"key_hex": field.hex()} if text is None else {"key": text}
    item["milliseconds_left"] = None if left_ms == FOREVER else left_ms
    try:
        value = decode_value(stored)
    except RedisDictError as error:
        return item | {"stored_hex": stored.hex(), "problem": str(error)}
    item["type"] = type(value).__name__
    if _is_json(value):
        return item | {"value": value}
    return item | {"literal": literal(value)}


def _is_json(value: Any) -> bool:
    try:
        return is_same(json.loads(json.dumps(value, allow_nan=False)), value)
    except (TypeError, ValueError, RecursionError):
        return False
