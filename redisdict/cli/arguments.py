"""Parse the command line of `redisdict`."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from contextlib import suppress
from textwrap import fill
from typing import Any

from django.core.management.base import DjangoHelpFormatter

from redisdict.cli.output import EXIT_STATUSES
from redisdict.conf import DEFAULT_ALIAS, LONGEST_S
from redisdict.mapping.keys import MOST_SHARDS

HASH, KEYS = "hash", "keys"


class _Help(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Django's, which puts its general options last, with the lines of the examples kept."""


EXAMPLES = """\
NAME is the name of a dict as `list` shows it: shop, or shop/eu for the child "eu" of it.
A name with a slash in it needs quotes of its own: "'a/b'".
KEY is the text of a key; with --literal-key it is a Python literal: 42, b'\\x00', UUID('…').
VALUE is a Python literal: 42, None, 'red', {'a': [1, 2]}; with --text it is a text as it stands.
An argument that begins with a dash goes behind `--`, after all options.

examples:
  manage.py redisdict list
  manage.py redisdict get settings color
  manage.py redisdict set settings color red --text --timeout 3600
  manage.py redisdict export settings > settings.jsonl
  manage.py redisdict import settings settings.jsonl --using other
  manage.py redisdict move settings --to-layout keys
  manage.py redisdict doctor --processes 24

exit status:
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the subcommands, each with its options."""
    parser.formatter_class = _Help
    parser.epilog = EXAMPLES + "".join(
        fill(f"{status}: {meaning}", width=100, initial_indent="  ", subsequent_indent="     ")
        + "\n"
        for status, meaning in EXIT_STATUSES.items()
    )
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", title="actions", prog=parser.prog
    )

    def action(name: str, text: str) -> ArgumentParser:
        one: ArgumentParser = actions.add_parser(name, help=text, description=_sentence(text))
        return one

    listing = action("list", "the dicts that are on the servers, and what each costs")
    _add_using(listing, "only this alias of REDISDICT (default: all of them)", default=None)
    _add_json(listing)

    show = action("show", "what one dict costs, and some of its items")
    _add_dict(show)
    show.add_argument(
        "--items", type=_count(0), default=10, metavar="N", help="number of items (default: 10)"
    )
    _add_json(show)

    get = action("get", "the value of an item")
    _add_dict(get)
    _add_key(get)
    get.add_argument("--text", action="store_true", help="a text as it stands, without quotes")
    _add_json(get)

    setting = action("set", "store an item, in place of the present one if there is one")
    _add_dict(setting, creates=True)
    _add_key(setting)
    setting.add_argument("value", metavar="VALUE", help="a Python literal; with --text a text")
    setting.add_argument("--text", action="store_true", help="VALUE is a text as it stands")
    lifetime = setting.add_mutually_exclusive_group()
    lifetime.add_argument(
        "--timeout", type=_seconds, metavar="S", help="seconds it lives (default: the alias's)"
    )
    lifetime.add_argument("--for-ever", action="store_true", help="it has no end")
    _add_dry_run(setting)

    delete = action("delete", "delete items")
    _add_dict(delete)
    _add_key(delete, nargs="+")
    _add_dry_run(delete)

    export = action("export", "write all items as JSON Lines, which `import` reads")
    _add_dict(export)
    _add_output(export)
    export.add_argument(
        "--match", metavar="PATTERN", help="only keys that match, as in keys_matching(): user:*"
    )
    export.add_argument(
        "--stored",
        action="store_true",
        help="every value as the bytes on the server, and none in a readable form",
    )

    importing = action("import", "store the items of a file that `export` wrote")
    _add_dict(importing, creates=True)
    importing.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="(default: standard input)"
    )
    importing.add_argument(
        "--no-end",
        action="store_true",
        help="don't require the last line, which files of the admin's pages don't have",
    )
    _add_dry_run(importing)

    move = action("move", "move all items to another alias, layout, prefix or name")
    _add_dict(move)
    move.add_argument("--to-using", metavar="ALIAS", help="another alias of REDISDICT")
    move.add_argument("--to-layout", choices=[HASH, KEYS], help="one hash, or a key for each item")
    move.add_argument(
        "--to-shards", type=_shards, metavar="N", help=f"2 to {MOST_SHARDS} shards; 0 is none"
    )
    move.add_argument("--to-prefix", metavar="PREFIX", help="another KEY_PREFIX")
    move.add_argument("--to-name", metavar="NAME", help="another name")
    move.add_argument(
        "--merge",
        action="store_true",
        help="allow items at the destination, to continue an interrupted move; items with the same"
        " key are replaced",
    )
    _add_dry_run(move)

    clear = action("clear", "delete all items of a dict")
    _add_dict(clear)
    clear.add_argument(
        "--noinput", "--no-input", action="store_false", dest="interactive", help="don't ask"
    )
    _add_dry_run(clear)

    doctor = action("doctor", "connect to every server, and say what should be changed")
    _add_using(doctor, "only this alias of REDISDICT (default: all, and the caches)", default=None)
    doctor.add_argument(
        "--processes",
        type=_count(1),
        metavar="N",
        help="number of processes that use the servers: are there connections for all of them?",
    )
    _add_json(doctor)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _add_using(parser: ArgumentParser, text: str, default: str | None = DEFAULT_ALIAS) -> None:
    parser.add_argument("--using", metavar="ALIAS", default=default, help=text)


def _add_dict(parser: ArgumentParser, *, creates: bool = False) -> None:
    parser.add_argument("name", metavar="NAME", help="the dict, as `list` shows it")
    _add_using(parser, f'an alias of REDISDICT (default: "{DEFAULT_ALIAS}")')
    parser.add_argument("--prefix", metavar="PREFIX", help="a KEY_PREFIX that isn't the alias's")
    new = "; of a new one: hash" if creates else ""
    parser.add_argument(
        "--layout", choices=[HASH, KEYS], help=f"(default: that in which the dict is{new})"
    )
    parser.add_argument(
        "--shards", type=_shards, metavar="N", help="the number of shards, with --layout"
    )


def _add_key(parser: ArgumentParser, **options: Any) -> None:
    parser.add_argument("key", metavar="KEY", help="the text of a key", **options)
    parser.add_argument(
        "--literal-key",
        action="store_true",
        help="KEY is a Python literal: 42, b'…', UUID('…'), 'text'",
    )


def _add_output(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="(default: standard output)"
    )


def _add_dry_run(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and change nothing"
    )
    _add_json(parser)


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON for scripts, an object a line")


def _count(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        with suppress(ValueError):
            if (number := int(text)) >= least:
                return number
        raise ArgumentTypeError(f"{text!r} isn't a whole number of at least {least}")

    return parse


def _shards(text: str) -> int:
    with suppress(ValueError):
        if (number := int(text)) == 0 or 2 <= number <= MOST_SHARDS:
            return number
    raise ArgumentTypeError(f"{text!r} isn't a whole number from 2 to {MOST_SHARDS}, or 0 for none")


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) <= LONGEST_S:
            return seconds
    raise ArgumentTypeError(f"{text!r} isn't a number of seconds above 0")
