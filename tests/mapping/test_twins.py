"""Every method for threads has a twin for tasks, with the same arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest

from redisdict import PersistentDict

#: Twins of what has no name of its own in Python.
SPECIAL = {
    "agetitem": "__getitem__",
    "adelitem": "__delitem__",
    "acontains": "__contains__",
    "alen": "__len__",
    "__aiter__": "__iter__",
}

#: These have no twin: they ask the server nothing, or what they give does in both colours.
COLOURLESS = {
    "child": "makes a dict, and asks the server nothing",
    "lock": "makes a lock, for `with` and `async with`",
    "name": "a property",
    "near_stats": "tells of this process, and asks the server nothing",
}

#: Twins that differ on purpose.
DIFFERENT = {
    "akeys": "iterates instead of giving a view, which Python has only for threads",
    "avalues": "the same",
    "aitems": "the same",
    "aget_or_set": "`default` may be a coroutine function",
    "atransform": "`function` may be a coroutine function",
    "aclone_to": "the other dict is asked by its async methods",
}


def public(cls: type) -> Iterator[str]:
    for name in dir(cls):
        if not name.startswith("_"):
            yield name


def is_own(name: str) -> bool:
    """Whether it comes from this package and not from the standard library's mappings."""
    member = inspect.getattr_static(PersistentDict, name)
    if isinstance(member, property):
        return True
    return inspect.unwrap(member).__module__.startswith("redisdict.")


NAMES = sorted(name for name in public(PersistentDict) if is_own(name))
TWINS = {f"a{name}": name for name in NAMES if f"a{name}" in NAMES} | SPECIAL


def test_nothing_is_inherited_from_the_standard_library_alone() -> None:
    assert [name for name in public(PersistentDict) if not is_own(name)] == []


def test_every_method_has_a_twin() -> None:
    paired = {*TWINS, *TWINS.values(), *COLOURLESS}
    assert [name for name in NAMES if name not in paired] == []


def shape(method: Callable[..., object]) -> list[tuple[str, object, object]]:
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(method).parameters.values()
    ]


@pytest.mark.parametrize("twin", sorted(TWINS))
def test_twins_take_the_same_arguments(twin: str) -> None:
    one, other = getattr(PersistentDict, TWINS[twin]), getattr(PersistentDict, twin)
    assert shape(other) == shape(one)
    if twin not in DIFFERENT:
        annotations = [inspect.get_annotations(inspect.unwrap(one))]
        annotations.append(inspect.get_annotations(inspect.unwrap(other)))
        for hints in annotations:
            hints.pop("return", None)
        assert annotations[0] == annotations[1]


@pytest.mark.parametrize("name", NAMES)
def test_every_method_says_what_it_does(name: str) -> None:
    document = inspect.getdoc(inspect.getattr_static(PersistentDict, name)) or ""
    first = document.partition("\n")[0]
    assert first.endswith("."), name
    if name in TWINS and name not in ("akeys", "avalues", "aitems"):
        assert first.startswith("As `"), name
