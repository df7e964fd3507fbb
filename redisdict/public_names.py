"""Name methods by their public class."""

from __future__ import annotations

from types import FunctionType


def name_methods(public_name: str, *classes: type) -> None:
    """Let errors of wrong calls name this class, not the base class that has the method.

    Python writes a function's `__qualname__` into the TypeError for an argument too many:
    `PersistentDict.set() got an unexpected keyword argument 'ttl'`.

    Args:
        public_name: what users call it.
        classes: it, or the parts of it; what isn't of this package is left as it is.
    """
    for each in classes:
        for part in each.__mro__:
            if part.__module__.partition(".")[0] != "redisdict":
                continue
            for name, member in vars(part).items():
                if isinstance(member, FunctionType) and not name.startswith("_"):
                    member.__qualname__ = f"{public_name}.{name}"
