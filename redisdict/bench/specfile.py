"""A specification as a TOML file, for a run that somebody else can repeat."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from redisdict.bench.errors import UsageError
from redisdict.bench.names import unknown_name
from redisdict.bench.placement import CHOICES
from redisdict.bench.selection import select
from redisdict.bench.spec import EVENT_LOOPS, PRESETS, BenchmarkSpec, Precision, Table

__all__ = ["check_spec", "read_spec", "spec_from_dict", "spec_to_dict"]


#: The keys with a number, or a list of them, that has to be positive.
AT_LEAST_ONE = (
    "block_operations", "batch_size", "value_bytes", "key_count", "iteration_items", "concurrency",
    "connections",
)  # fmt: skip


def read_spec(path: Path) -> BenchmarkSpec:
    """A specification from a TOML file: `preset` to begin with, then what differs from it.

    Raises:
        UsageError: it can't be read, or has an unknown or unfit value.
    """
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"--spec {path} can't be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--spec {path} isn't TOML: {error}.") from error
    return spec_from_dict(values, where=f"--spec {path}")


def spec_from_dict(values: Mapping[str, Any], where: str) -> BenchmarkSpec:
    """The inverse of `spec_to_dict`; what is left out is as in the preset.

    Raises:
        UsageError: an unknown name, or a value of the wrong kind.
    """
    preset = values.get("preset", "standard")
    if preset not in PRESETS:
        raise UsageError(unknown_name(f"{where}: preset", str(preset), list(PRESETS)))
    base = PRESETS[preset]
    changes: dict[str, Any] = {}
    known = [field.name for field in fields(BenchmarkSpec)]
    for name, value in values.items():
        if name not in known:
            raise UsageError(unknown_name(f"{where}: key", name, known))
        current = getattr(base, name)
        if name == "precision":
            changes[name] = _precision(base.precision, value, where)
        elif name == "value_bytes" and isinstance(value, int):
            changes[name] = (_of_kind(where, name, value, int),)
        elif isinstance(current, tuple):
            changes[name] = tuple(_of_kind(where, name, value, list))
        else:
            kind = (int, float) if type(current) is float else type(current)
            changes[name] = _of_kind(where, name, value, kind)
    chosen = {name: changes.pop(name, ()) for name in ("modes", "pools", "operations", "tables")}
    try:
        spec = select(replace(base, **changes), **chosen)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    return check_spec(spec, where)


def check_spec(spec: BenchmarkSpec, where: str) -> BenchmarkSpec:
    """The specification itself, if it can be carried out.

    Raises:
        UsageError: a number is out of its range.
    """
    for name in AT_LEAST_ONE:
        found = getattr(spec, name)
        numbers = found if isinstance(found, tuple) else (found,)
        if not numbers or not all(isinstance(one, int) and one >= 1 for one in numbers):
            told = list(found) if isinstance(found, tuple) else found
            raise UsageError(f"{where}: {name} is {told}; whole numbers from 1 are expected.")
    if spec.placement not in CHOICES:
        raise UsageError(unknown_name(f"{where}: placement", spec.placement, CHOICES))
    if spec.event_loop not in EVENT_LOOPS:
        raise UsageError(unknown_name(f"{where}: event_loop", spec.event_loop, EVENT_LOOPS))
    if spec.event_loop == "uvloop" and find_spec("uvloop") is None:
        raise UsageError(f"{where}: uvloop isn't installed; pip install uvloop")
    return spec


def spec_to_dict(spec: BenchmarkSpec) -> dict[str, Any]:
    """For storing: plain numbers, texts and lists; one size of values is a number."""
    values = asdict(spec)
    if len(spec.value_bytes) == 1:
        (values["value_bytes"],) = spec.value_bytes
    return {
        name: [str(one) if isinstance(one, Table) else one for one in value]
        if isinstance(value, tuple)
        else value
        for name, value in values.items()
    }


def _precision(base: Precision, values: Any, where: str) -> Precision:
    known = [field.name for field in fields(Precision)]
    for name in _of_kind(where, "precision", values, dict):
        if name not in known:
            raise UsageError(unknown_name(f"{where}: precision has the key", name, known))
    return replace(base, **values)


def _of_kind(where: str, name: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = kind.__name__ if isinstance(kind, type) else "number"
        raise UsageError(
            f"{where}: {name} is {value!r} ({type(value).__name__}); {expected} is expected."
        )
    return value
