r"""Write items of a dict as JSON Lines, for people and other programs, and read them back.

A line is an item, a JSON object with

    "key" or "key_hex"     the key as text; where it isn't UTF-8, its bytes as hex
    "milliseconds_left"    the item's time to live when it was written; null is for ever
    "type"                 the type of the value, for readers
    and the value as the first of these that is present:
    "stored_hex"           the bytes on the server as hex, with their format byte and checksum
    "value"                the value itself, where JSON keeps it as it is
    "literal"              a Python literal, such as "datetime.date(2026, 3, 1)" or "(1, 2)"
    "problem"              why the bytes can't be read, for readers

The last line may be the end, `{"items": 3}`, with the number of lines before it. A file that was
cut off has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from tempfile import TemporaryFile
from typing import IO, Any

from redisdict.conf import LONGEST_S
from redisdict.exceptions import DeserializationError, RedisDictError
from redisdict.inspection.literals import is_same, read_literal
from redisdict.inspection.values import decode_value, key_text, literal
from redisdict.mapping.dict import PersistentDict
from redisdict.mapping.globs import Glob
from redisdict.mapping.keys import encode_text
from redisdict.mapping.layouts.base import FOREVER, Record

#: The only key of the last line.
END = "items"


def exported(mapping: PersistentDict[bytes, Any], glob: Glob | None) -> IO[bytes]:
    """Write all items whose keys match into a temporary file, which is at its beginning.

    The file is complete before it is sent, so an error of the server is reported instead of ending
    a download silently.
    """
    file = TemporaryFile()  # noqa: SIM115  # outlives this function
    try:
        for record in records_of(mapping, glob):
            file.write(line_of(record).encode() + b"\n")
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def records_of(mapping: PersistentDict[bytes, Any], glob: Glob | None = None) -> Iterator[Record]:
    """Read all items whose keys match, as they are on the server, in flat memory.

    HSCAN, or SCAN with GET and PTTL, page by page.
    """
    for page in pages_of(mapping):
        yield from (record for record in page if matches(glob, record[0]))


def pages_of(mapping: PersistentDict[bytes, Any]) -> Iterator[list[Record]]:
    """Read all items, page by page."""
    scan = mapping._scan_records()
    while not scan.is_over:
        yield list(mapping._run(scan.next_page()))


def matches(glob: Glob | None, field: bytes) -> bool:
    """Match a key as `keys_matching()` does; one that isn't text matches no pattern."""
    if glob is None:
        return True
    text = key_text(field)
    return text is not None and glob.matches(text)


def line_of(record: Record, *, is_as_stored: bool = False) -> str:
    """Write one item as a line, without its end.

    Args:
        is_as_stored: whether the value is always given as its bytes.
    """
    return to_json(as_stored(record) if is_as_stored else described(record))


def to_json(described: dict[str, Any]) -> str:
    """Write JSON that has UTF-8: lone surrogates, which have none, are escaped as JSON does."""
    text = json.dumps(described, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()


def end_line(count: int) -> str:
    return json.dumps({END: count})


def described(record: Record) -> dict[str, Any]:
    """Describe one item in words of JSON: the value itself where JSON has it."""
    item = _without_value(record)
    try:
        value = decode_value(record[1])
    except RedisDictError as error:
        return item | {"stored_hex": record[1].hex(), "problem": str(error)}
    item["type"] = type(value).__name__
    if _is_json(value):
        return item | {"value": value}
    try:
        text = literal(value)
    except ValueError as error:  # an int of more digits than Python writes
        return item | {"stored_hex": record[1].hex(), "problem": str(error)}
    item["literal"] = text
    if not _is_literal(text, value):
        item["stored_hex"] = record[1].hex()
    return item


def as_stored(record: Record) -> dict[str, Any]:
    """Describe one item by its bytes alone."""
    return _without_value(record) | {"stored_hex": record[1].hex()}


def read_items(
    lines: Iterable[bytes], encode: Callable[[Any], bytes], *, needs_end: bool = True
) -> Iterator[Record]:
    """Read lines, up to the end, as items to store.

    Args:
        encode: makes the stored bytes of a value that stands there in words.
        needs_end: whether lines without an end are an error, once all were read.

    Raises:
        DeserializationError: while iterating, when a line isn't one of an item, the value can't be
            stored, or the end isn't there, or for another number of lines.
    """
    count = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = _object(line)
            if item.keys() == {END}:
                if item[END] != count:
                    raise ValueError(f"says {item[END]!r} items, and {count} came before it")
                return
            yield _record(item, encode)
        except (ValueError, TypeError, RecursionError) as error:
            raise DeserializationError(f"Line {number} {_reason(error)}") from error
        count += 1
    if needs_end:
        raise DeserializationError(
            f'The end is missing: the last line has to be {{"{END}": …}}, and after {count} items'
            " there was none, so the file was cut off"
        )


def _record(item: dict[str, Any], encode: Callable[[Any], bytes]) -> Record:
    return _field(item), _stored(item, encode), _left_ms(item)


def _object(line: bytes) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except ValueError as error:
        raise ValueError(f"isn't JSON ({error})") from error
    if not isinstance(item, dict):
        raise TypeError(f"is a JSON {type(item).__name__}; an object for each item is expected")
    return item


def _field(item: dict[str, Any]) -> bytes:
    if isinstance(item.get("key_hex"), str):
        return _bytes(item, "key_hex")
    if isinstance(item.get("key"), str):
        return encode_text(item["key"])
    raise ValueError('has no key: "key" with a text, or "key_hex", is expected')


def _stored(item: dict[str, Any], encode: Callable[[Any], bytes]) -> bytes:
    if isinstance(item.get("stored_hex"), str):
        return _bytes(item, "stored_hex")
    if "value" in item:
        return encode(item["value"])
    if isinstance(item.get("literal"), str):
        try:
            value = read_literal(item["literal"])
        except ValueError as error:
            raise ValueError(f'has a "literal" that can\'t be read: {error}') from error
        return encode(value)
    raise ValueError('has no value: "value", "literal" or "stored_hex" is expected')


def _left_ms(item: dict[str, Any]) -> int:
    left_ms = item.get("milliseconds_left")
    if left_ms is None:
        return FOREVER
    if type(left_ms) is not int or not 0 <= left_ms <= 1000 * LONGEST_S:
        raise ValueError(
            f'has "milliseconds_left": {left_ms!r}; a whole number of at least 0, or null for ever,'
            " is expected"
        )
    return max(left_ms, 1)  # an item in its last millisecond has none left


def _bytes(item: dict[str, Any], name: str) -> bytes:
    try:
        return bytes.fromhex(item[name])
    except ValueError as error:
        raise ValueError(f'has a "{name}" that isn\'t hex ({error})') from error


def _reason(error: Exception) -> str:
    text = str(error).rstrip(".")
    if isinstance(error, RedisDictError):
        return f"has a value that can't be stored: {text}"
    return text or type(error).__name__


def _without_value(record: Record) -> dict[str, Any]:
    field, _, left_ms = record
    text = key_text(field)
    item: dict[str, Any] = {"key_hex": field.hex()} if text is None else {"key": text}
    return item | {"milliseconds_left": None if left_ms == FOREVER else left_ms}


def _is_json(value: Any) -> bool:
    try:
        return is_same(json.loads(json.dumps(value, allow_nan=False)), value)
    except (TypeError, ValueError, RecursionError, ArithmeticError):
        return False


def _is_literal(text: str, value: Any) -> bool:
    try:
        return is_same(read_literal(text), value)
    except (ValueError, ArithmeticError):
        return False
