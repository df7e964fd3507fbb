"""Read and change single items, and delete all of them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from redisdict.cli.chosen import Chosen, Options, choose, field_of
from redisdict.cli.output import ExitStatus, Output
from redisdict.inspection.json_lines import described
from redisdict.inspection.literals import read_literal
from redisdict.inspection.values import literal, show_key
from redisdict.mapping.layouts.base import DEFAULT, Timeout


def get(options: Options, output: Output) -> None:
    """Write the value of an item. HGET or GET, with the time that it has left."""
    field = field_of(options["key"], is_literal=options["literal_key"])
    chosen = choose(options, field=field)
    bound = chosen.mapping._bound
    stored, left_ms = bound.driver.run(bound.layout.get_with_ttl(field))
    if stored is None:
        raise _no_item(chosen, field)
    if output.is_json:
        output.result(described((field, stored, left_ms)), "")
        return
    value = bound.codec.decode(stored)
    if options["text"] and not isinstance(value, str):
        raise CommandError(
            f"The value is of type {type(value).__name__} and no text; leave out --text."
        )
    if options["text"] and not _has_utf8(value):
        raise CommandError("The text has lone surrogates, which have no UTF-8; leave out --text.")
    output.write(value if options["text"] else literal(value))


def set_item(options: Options, output: Output) -> None:
    """Store an item by the serializer of the alias. HSET, SET, or a script for a timeout."""
    field = field_of(options["key"], is_literal=options["literal_key"])
    value = options["value"] if options["text"] else _value(options["value"])
    chosen = choose(options, must_exist=False, field=field)
    chosen.mapping._bound.codec.encode(value)  # before anything is said to be possible
    timeout: Timeout = DEFAULT if options["timeout"] is None else options["timeout"]
    if not options["dry_run"]:
        chosen.mapping.set(field, value, None if options["for_ever"] else timeout)
    _done(output, options, chosen, 1, f"stored {show_key(field).text} in {chosen.where}.")


def delete(options: Options, output: Output) -> None:
    """Delete items. HDEL or DEL."""
    fields = [field_of(key, is_literal=options["literal_key"]) for key in options["key"]]
    chosen = choose(options, field=fields[0])
    if options["dry_run"]:
        count = sum(field in chosen.mapping for field in dict.fromkeys(fields))
    else:
        count = chosen.mapping.delete_many(fields)
    if not count:
        raise _no_item(chosen, *fields)
    _done(output, options, chosen, count, f"deleted {count} of {chosen.where}.")


def clear(options: Options, output: Output) -> None:
    """Delete all items, after a confirmation. UNLINK."""
    chosen = choose(options)
    count = len(chosen.mapping)
    if not options["dry_run"]:
        if options["interactive"] and not _is_confirmed(chosen, count):
            raise CommandError("The answer wasn't yes, so nothing was deleted.")
        chosen.mapping.clear()
    _done(output, options, chosen, count, f"deleted all items ({count:,}) of {chosen.where}.")


def _is_confirmed(chosen: Chosen, count: int) -> bool:
    question = f"This deletes all items ({count:,}) of {chosen.where}.\nType 'yes' to go on: "
    try:
        return input(question).strip().lower() == "yes"
    except EOFError:
        raise CommandError(
            "There is nobody to ask, so nothing was deleted; add --noinput to delete without a"
            " question."
        ) from None


def _has_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _value(text: str) -> Any:
    try:
        return read_literal(text)
    except ValueError as error:
        raise CommandError(
            f"VALUE is {text!r}, which can't be read: {error} For a text as it stands add --text."
        ) from error


def _no_item(chosen: Chosen, *fields: bytes) -> CommandError:
    keys = " or ".join(show_key(field).text for field in fields)
    return CommandError(
        f"There is no item {keys} in {chosen.where}.", returncode=ExitStatus.REFUSED
    )


def _done(output: Output, options: Options, chosen: Chosen, count: int, text: str) -> None:
    """Report what was done, or would be."""
    is_dry = options["dry_run"]
    result = {"action": options["action"], **chosen.described, "items": count, "dry_run": is_dry}
    first = f"Would have {text}" if is_dry else text[0].upper() + text[1:]
    output.result(result, first)
