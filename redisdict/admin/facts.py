"""Stored facts, such as a run's environment, as names and texts that fit into a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.formats import localize
from django.utils.translation import gettext as _

from redisdict.templatetags.redisdict_figures import NOTHING

__all__ = ["FactRow", "flatten", "side_by_side"]


#: What is another with every start of a server or run, so that a difference says nothing.
VOLATILE = frozenset(
    {
        "connected clients",
        "foreign cpu share",
        "keys",
        "load average",
        "process id",
        "run id",
        "tcp port",
        "uptime in seconds",
        "used memory",
    }
)


@dataclass(frozen=True)
class FactRow:
    """One fact of several things beside one another."""

    name: str
    texts: list[str]

    @property
    def is_volatile(self) -> bool:
        return self.name.rpartition(": ")[2] in VOLATILE

    @property
    def differs(self) -> bool:
        """Whether a reader should know that it isn't the same for all."""
        return not self.is_volatile and len(set(self.texts)) > 1


def flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every fact of nested mappings, its name made of the names on the way to it."""
    for name, value in facts.items():
        title = f"{prefix}{str(name).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{title}: ")
        else:
            yield title, _text(value)


def side_by_side(things: Sequence[Mapping[str, Any]]) -> list[FactRow]:
    """The facts of all `things`, one column each: what differs first, what says little last."""
    columns = [dict(flatten(thing)) for thing in things]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [FactRow(name, [column.get(name, NOTHING) for column in columns]) for name in names]
    return sorted(rows, key=lambda row: (not row.differs, row.is_volatile))


def _text(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in flatten(value))
    if isinstance(value, list | tuple):
        return "; ".join(_text(item) for item in value) or NOTHING
    return str(localize(value))
