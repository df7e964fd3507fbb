"""Convert some values to plain ones before they are stored, and refuse others.

The rule: a value comes back equal and of the same type, or it isn't stored. The few exceptions are
here: wrappers and subclasses that Django itself makes, for which a model field has the plain value
after it was saved and loaded again.
"""

from enum import Enum
from typing import Any, Final

from django.db.models import Choices, QuerySet
from django.utils.functional import LazyObject, Promise

# How an error names the step from a value to one of its parts: a template, and what its "{}" is.
Step = tuple[str, Any]


class Unstorable(Exception):
    """A value, perhaps inside the one to be stored, has no exact stored form; says what to do.

    `steps` leads from that value out to the one to be stored: templates and what to put into them.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.steps: list[Step] = []


#: What `plain_form()` makes plain; no other value has a plainer form.
MADE_PLAIN: Final = (Choices, Promise, LazyObject)

_REGISTER: Final = "register its class by redisdict.codec.register_type()"

_PLAIN_TYPES: Final = (dict, list, tuple, set, frozenset, str, int, float, bytes)


def plain_form(value: Any) -> Any:
    """Return the plainer value that is stored for this one, or raise `Unstorable`."""
    if isinstance(value, Promise):
        # How django.db.models.Field itself resolves what gettext_lazy() and lazy() return.
        return value._proxy____cast()  # type: ignore[attr-defined]  # not in django-stubs
    if isinstance(value, LazyObject):
        # What pickle would store for it: the object inside, made now if it wasn't yet.
        return value.__reduce__()[1][0]
    if isinstance(value, Choices) and isinstance(value, str | int):
        return value.value
    raise Unstorable(f"{type_name(value)} can't be stored: {_advice(value)}")


def type_name(value: object) -> str:
    """Return the full name of a value's type, for messages."""
    kind = type(value)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _advice(value: object) -> str:
    if isinstance(value, Enum):
        return f"store its .value, or {_REGISTER}"
    if isinstance(value, QuerySet):
        return "store list(queryset)"
    for plain in _PLAIN_TYPES:
        if isinstance(value, plain):
            name = plain.__name__
            return (
                f"it would come back as a plain {name}; store {name}(value) if that will do,"
                f" or {_REGISTER}"
            )
    return (
        f"store the parts that it is made of, {_REGISTER}, or choose a SERIALIZER that keeps it "
        "('pickle', or the dotted path of your own)"
    )
