"""Model instances to the bytes of a row, and back as `Model.from_db` makes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import ormsgpack
from django.db import models
from django.db.models.base import ModelState
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.signals import post_init, pre_init

from redisdict.exceptions import SerializationError
from redisdict.modelcache.fields import form_of

__all__ = ["RowCodec"]

M = TypeVar("M", bound=models.Model)

#: Counts up when the bytes of a row get another form.
FORMAT = 1

FINGERPRINT_BYTES = 8

# A subclass of str would come back as str, so it isn't taken for one.
OPTIONS = ormsgpack.OPT_PASSTHROUGH_SUBCLASS | ormsgpack.OPT_PASSTHROUGH_DATETIME

#: Descriptors that do with a fresh instance what writing to its __dict__ does.
PLAIN_SETTERS = (ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor)


class RowCodec(Generic[M]):
    """Writes and reads the rows of one model.

    A row is a MessagePack list: the value of each concrete field, in the model's order. Cached
    relations, prefetched lists and annotations are no fields and are left out. What isn't in the
    row, but must not have changed since, is in the fingerprint.
    """

    def __init__(self, model: type[M]) -> None:
        self._model = model
        fields = model._meta.concrete_fields
        self._attnames = [field.attname for field in fields]
        forms = [(position, form_of(field)) for position, field in enumerate(fields)]
        self._packers = [(at, form.pack) for at, form in forms if form is not None]
        self._unpackers = [(at, form.unpack) for at, form in forms if form is not None]
        self._is_made_plainly = _is_made_plainly(model)
        described = [
            _describe(field, form.name if form else "plain")
            for field, (_, form) in zip(fields, forms, strict=True)
        ]
        text = "\n".join([str(FORMAT), model._meta.label, *described])
        self.fingerprint = blake2b(text.encode(), digest_size=FINGERPRINT_BYTES).digest()

    def encode(self, instance: M) -> bytes:
        """The row of an instance that was just loaded.

        Raises:
            SerializationError: one of its values has no form that would come back the same.
        """
        held = instance.__dict__
        values = [held[name] for name in self._attnames]
        for position, pack in self._packers:
            value = values[position]
            if value is not None:
                values[position] = pack(value)
        try:
            return ormsgpack.packb(values, None, OPTIONS)
        except ormsgpack.MsgpackEncodeError as error:
            raise SerializationError(
                f"A row of {self._model._meta.label} can't be stored: {error}."
            ) from error

    def decoder(
        self, database: str, complain: Callable[[ValueError], None]
    ) -> Callable[[bytes], M | None]:
        """The function from a row to an instance as it comes from this database.

        For bytes that are no row it calls `complain`, and gives None.
        """
        model, attnames, unpackers = self._model, self._attnames, self._unpackers
        unpackb, count = ormsgpack.unpackb, len(self._attnames)
        # unpackb allocates whatever length of a list or a map is announced; making a Fragment
        # checks it first. Only after these bytes can it be more than some kilobytes.
        long_list, long_map, refuse_malformed = b"\xdd", b"\xdf", ormsgpack.Fragment
        is_plain, new = self._is_made_plainly, model.__new__
        empty = dict.fromkeys(["_state", *attnames])  # a copy has its final size at once

        def decode(row: bytes) -> M | None:
            try:
                if long_list in row or long_map in row:
                    refuse_malformed(row)
                values = unpackb(row)
                if type(values) is not list or len(values) != count:
                    raise ValueError("these bytes are no row")
                for position, unpack in unpackers:
                    value = values[position]
                    if value is not None:
                        values[position] = unpack(value)
            except ValueError as error:
                complain(error)
                return None
            if not is_plain or ((pre_init.receivers or post_init.receivers) and _is_heard(model)):
                return model.from_db(database, attnames, values)
            # What from_db() would do, at a fifth of its price.
            state = ModelState()
            state.adding = False
            state.db = database
            held = empty.copy()
            held["_state"] = state
            held.update(zip(attnames, values, strict=False))  # they are as many, see above
            instance = new(model)
            instance.__dict__ = held
            return instance

        return decode


def _is_made_plainly(model: type[models.Model]) -> bool:
    """Whether nobody could tell how an instance was made: neither the model nor a field minds."""
    is_own = (
        model.from_db.__func__ is not models.Model.from_db.__func__  # type: ignore[attr-defined]  # of a classmethod
        or model.__init__ is not models.Model.__init__
        or model.__new__ is not models.Model.__new__
        or model.__setattr__ is not models.Model.__setattr__
    )
    return not is_own and all(
        not hasattr(type(descriptor), "__set__") or type(descriptor) in PLAIN_SETTERS
        for descriptor in (
            inspect.getattr_static(model, field.attname, None)
            for field in model._meta.concrete_fields
        )
    )


def _is_heard(model: type[models.Model]) -> bool:
    """Whether anybody listens to new instances of this very model."""
    return pre_init.has_listeners(model) or post_init.has_listeners(model)


def _describe(field: models.Field[Any, Any], form: str) -> str:
    """What decides which values a column can hold, and how they are stored."""
    kind = type(field)
    parts = (
        field.attname,
        f"{kind.__module__}.{kind.__qualname__}",
        form,
        field.null,
        field.max_length,
        getattr(field, "max_digits", None),
        getattr(field, "decimal_places", None),
    )
    return " ".join(map(str, parts))
