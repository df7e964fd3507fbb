"""Classes of a project that are registered, each in one line."""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from dataclasses import InitVar, dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

from redisdict.codec import register_type


def register_others() -> None:
    """Register classes of the standard library, which other tests need to be as they are."""
    register_type(OrderedDict)
    register_type(Counter, name="counter", to=dict, from_=Counter)
    register_type(Fraction, name="fraction", to=str, from_=Fraction)


@register_type
class Planet(enum.Enum):
    MARS = object()  # a value that has no form itself
    VENUS = (2, "ve")
    EVENING_STAR = VENUS


@register_type
class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@register_type
class Word(enum.StrEnum):
    YES = "yes"


@register_type(name="rights")
class Rights(enum.Flag, boundary=enum.STRICT):  # the default, but not in Python 3.11.2
    READ = 1
    WRITE = 2


@register_type(name="open rights")
class OpenRights(enum.IntFlag, boundary=enum.KEEP):
    READ = 1


@register_type(name="bits")
class Bits(enum.IntFlag, boundary=enum.EJECT):
    ONE = 1


@register_type
@dataclass
class Point:
    x: int
    y: Any = None
    tags: list[Any] = field(default_factory=list)

    @cached_property
    def length(self) -> float:
        return float(self.x)


@register_type
@dataclass(frozen=True, slots=True)
class Place:
    name: str
    point: Any


made: list[object] = []


@register_type
@dataclass(kw_only=True)
class Counted:
    """Its ways of being made run code, which reading mustn't."""

    number: int
    twice: int = field(init=False)
    factor: InitVar[int] = 2

    def __post_init__(self, factor: int) -> None:
        made.append(self)
        self.twice = self.number * factor


@register_type
class Pair(NamedTuple):
    a: Any
    b: Any = 5


class Base(NamedTuple):
    a: int


@register_type
class Loose(Base):
    """A named tuple that attributes can be added to."""
