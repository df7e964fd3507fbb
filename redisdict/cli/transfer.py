"""Export, import and move the items of a dict, in flat memory."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from django.core.management.base import CommandError

from redisdict.cli.arguments import HASH
from redisdict.cli.chosen import (
    Chosen,
    Options,
    backend_of,
    choose,
    layout_text,
    one_line,
    status_of,
)
from redisdict.cli.output import ExitStatus, Output, Progress
from redisdict.inspection.finding import open_dict
from redisdict.inspection.json_lines import end_line, line_of, read_items, records_of
from redisdict.inspection.moving import move as moved
from redisdict.inspection.names import parse_path
from redisdict.inspection.servers import SERVER_ERRORS
from redisdict.mapping.dump_format import next_batch
from redisdict.mapping.globs import Glob

STANDARD = "-"


def export(options: Options, output: Output) -> None:
    """Write the items as JSON Lines. A file is there when it is whole, and never half."""
    chosen = choose(options)
    try:
        glob = None if options["match"] is None else Glob(options["match"])
    except ValueError as error:
        raise CommandError(f"--match is {options['match']!r}: {error}") from error
    with ExitStack() as stack:
        write = stack.enter_context(_destination(options["file"], output))
        progress = stack.enter_context(output.progress("Exported"))
        for record in records_of(chosen.mapping, glob):
            write(line_of(record, is_as_stored=options["stored"]))
            progress.add(1)
        write(end_line(progress.count))
    output.note(f"Exported {progress.count:,} items of {chosen.where}.")


def import_items(options: Options, output: Output) -> None:
    """Store the items of a file, which is read to its end before the first is stored."""
    chosen = choose(options, must_exist=False)
    encode = chosen.mapping._bound.codec.encode
    needs_end = not options["no_end"]
    with _source(options["file"]) as file:
        start = file.tell()
        with output.progress("Checked") as progress:
            for _ in read_items(file, encode, needs_end=needs_end):
                progress.add(1)
        total = progress.count
        if not options["dry_run"]:
            file.seek(start)
            with output.progress("Stored", total) as progress, _telling(progress, total):
                records = read_items(file, encode, needs_end=needs_end)
                while batch := next_batch(records):
                    chosen.mapping._run(chosen.mapping._bound.layout.set_records(batch))
                    progress.add(len(batch))
    verb = "Would have stored" if options["dry_run"] else "Stored"
    output.result(
        {"action": "import", **chosen.described, "items": total, "dry_run": options["dry_run"]},
        f"{verb} {total:,} items in {chosen.where}.",
    )


def move(options: Options, output: Output) -> None:
    """Move the items to another dict: each is removed once it is stored there."""
    source = choose(options)
    target = _target(source, options)
    count = len(source.mapping)
    is_dry = options["dry_run"]
    there = len(target.mapping)
    if there and not options["merge"]:
        raise CommandError(
            f"There are {there:,} items in {target.where} already, so nothing was moved. If they"
            " are from an interrupted move, or may be replaced, add --merge."
        )
    left = 0
    if not is_dry:
        with output.progress("Moved", count) as progress, _telling(progress, count, "--merge"):
            for number in moved(source.mapping, target.mapping):
                progress.add(number)
        count, left = progress.count, len(source.mapping)
    verb = "Would have moved" if is_dry else "Moved"
    output.result(
        {
            "action": "move",
            "from": source.described,
            "to": target.described,
            "items": count,
            "left": left,
            "dry_run": is_dry,
        },
        f"{verb} {count:,} items from {source.where} to {target.where}.",
    )
    if left:
        raise CommandError(
            f"{left:,} items were stored in {source.where} meanwhile and are still there: stop the"
            " programs that write to it, and run the same command again with --merge."
        )


def _target(source: Chosen, options: Options) -> Chosen:
    """Find the target of a move: like the source, with the given changes.

    Raises:
        CommandError: it is the source itself.
    """
    using = options["to_using"] or source.backend.config.alias
    prefix = options["to_prefix"]
    if prefix is None and options["to_using"] is None:
        prefix = options["prefix"]
    backend = backend_of(using, prefix)
    found = source.found
    if options["to_name"] is not None:
        found = replace(found, path=parse_path(options["to_name"]))
    if options["to_layout"] is not None:
        found = replace(found, is_hash=options["to_layout"] == HASH)
    if options["to_shards"] is not None:
        found = replace(found, shards=options["to_shards"] or None)
    names = [(each.config.key_prefix, each.address) for each in (source.backend, backend)]
    if found == source.found and names[0] == names[1]:
        raise CommandError(
            f"{source.where} has the items already ({layout_text(found)}): name another place by"
            " --to-using, --to-layout, --to-shards, --to-prefix or --to-name."
        )
    return Chosen(backend, found, open_dict(backend, found))


@contextmanager
def _telling(progress: Progress, total: int, option: str = "") -> Iterator[None]:
    """Report after an interruption how many items are done, and how to go on."""
    again = f"run the same command again{f' with {option}' if option else ''} to do the rest"
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError(
            f"Interrupted after {progress.count:,} of {total:,} items; {again}.",
            returncode=ExitStatus.INTERRUPTED,
        ) from None
    except SERVER_ERRORS as error:
        raise CommandError(
            f"{one_line(error)} That was after {progress.count:,} of {total:,} items; {again}.",
            returncode=status_of(error),
        ) from error


@contextmanager
def _destination(name: str, output: Output) -> Iterator[Callable[[str], Any]]:
    """Return the function that writes a line. A file gets its name when it is complete."""
    if name == STANDARD:
        yield output.write
        return
    path = Path(name)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            yield lambda line: file.write(f"{line}\n")
        partial.replace(path)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        raise CommandError(f"{name} can't be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _source(name: str) -> Iterator[IO[bytes]]:
    """Return a file that can be read twice: a copy if it can't, such as a pipe."""
    with ExitStack() as stack:
        try:
            if name == STANDARD:
                file: IO[bytes] = sys.stdin.buffer
            else:
                file = stack.enter_context(Path(name).open("rb"))
            if not file.seekable():
                copy = stack.enter_context(TemporaryFile())
                shutil.copyfileobj(file, copy)
                copy.seek(0)
                file = copy
        except OSError as error:
            raise CommandError(f"{name} can't be read: {error.strerror or error}") from error
        yield file
