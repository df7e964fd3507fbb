"""Encode model instances as the bytes of a row, and decode them as `Model.from_db` does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from operator import contains
from typing import Any, Generic, TypeVar

import ormsgpack
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.base import ModelState
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.signals import post_init, pre_init

from redisdict.codec.field_forms import PLAINLY_EXACT, form_of
from redisdict.codec.instances import describe_field, fingerprint_of
from redisdict.exceptions import SerializationError
from redisdict.modelcache.sameness import MISSING, differences, is_same
from redisdict.near.values import immutable_size

M = TypeVar("M", bound=models.Model)

#: Counts up when the bytes of a row get another form.
FORMAT = 2

# A subclass of str would come back as str, so it isn't taken for one.
OPTIONS = ormsgpack.OPT_PASSTHROUGH_SUBCLASS | ormsgpack.OPT_PASSTHROUGH_DATETIME

#: Descriptors that do with a fresh instance what writing to its __dict__ does.
PLAIN_SETTERS = (ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor)


class NotKept(SerializationError):
    """A row isn't stored, because a hit would give another instance than the database.

    Attributes:
        place: the attribute that is the reason, or what else of the instance.
    """

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place


class RowCodec(Generic[M]):
    """Writes and reads the rows of one model.

    A row is a MessagePack list: the value of each concrete field, in the model's order. Cached
    relations, prefetched lists and annotations are no fields and are left out. What isn't in the
    row, but must not have changed since, is in the fingerprint.

    Args:
        database: the alias that the rows are from.
        exclude: names of fields that aren't stored; an instance has them deferred.
    """

    def __init__(
        self,
        model: type[M],
        database: str = DEFAULT_DB_ALIAS,
        exclude: Collection[str] = (),
    ) -> None:
        self._model = model
        self._database = database
        fields = [field for field in model._meta.concrete_fields if field.name not in exclude]
        self._attnames = [field.attname for field in fields]
        forms = [(position, form_of(field)) for position, field in enumerate(fields)]
        self._packers = [(at, form.pack) for at, form in forms if form is not None]
        self._unpackers = [(at, form.unpack) for at, form in forms if form is not None]
        self._exact_types = [form.exact if form else PLAINLY_EXACT for _, form in forms]
        self._is_made_plainly = is_made_plainly(model)
        self._unpack = self._make_unpack()
        self._make_again = self.decoder(_raise)
        #: What is in the `_state` of an instance that was found to be what a hit gives.
        self._usual_state: dict[str, Any] | None = None
        described = [
            describe_field(field, form.name if form else "plain")
            for field, (_, form) in zip(fields, forms, strict=True)
        ]
        self.fingerprint = fingerprint_of(
            [str(FORMAT), model._meta.label, _describe_database(database), *described]
        )

    def encode(self, instance: M) -> bytes:
        """Encode the row of an instance that was just loaded.

        Unless the types of its values guarantee that it comes back unchanged, another instance is
        made from the row, as for a hit, and compared.

        Raises:
            NotKept: a hit wouldn't give the same instance, or a value can't be stored.
        """
        held = instance.__dict__
        position = 0
        try:
            values = [held[name] for name in self._attnames]
            # Whether the types of the values tell that they come back the same.
            is_exact = all(map(contains, self._exact_types, map(type, values)))
            loaded = None if is_exact else list(values)
            for position, pack in self._packers:
                value = values[position]
                if value is not None:
                    values[position] = pack(value)
            row = ormsgpack.packb(values, None, OPTIONS)
        except Exception as error:  # a field may raise anything
            missing = [name for name in self._attnames if name not in held]
            if missing:
                raise self._not_kept(missing[0], "it isn't loaded") from error
            if isinstance(error, ormsgpack.MsgpackEncodeError):
                position = next(
                    (at for at, value in enumerate(values) if not _is_packable(value)), 0
                )
            raise self._not_kept(self._attnames[position], error) from error
        if not self._is_usual(instance) or (loaded and not self._come_back(loaded, values)):
            self._compare(instance, row)
        return row

    def _is_usual(self, instance: M) -> bool:
        """Whether only the values of its fields could differ from a hit's."""
        return (
            vars(instance._state) == self._usual_state
            and type(instance) is self._model
            and len(instance.__dict__) == len(self._attnames) + 1  # with _state
            and self._is_made_plainly
            and not ((pre_init.receivers or post_init.receivers) and is_heard(self._model))
        )

    def _come_back(self, loaded: list[Any], packed: list[Any]) -> bool:
        """Whether values certainly come back the same, although the types of some leave doubt."""
        unpackers = dict(self._unpackers)
        for position, exact in enumerate(self._exact_types):
            value, stored = loaded[position], packed[position]
            if type(value) in exact:
                continue
            unpack = unpackers.get(position)
            if unpack is None or type(stored) not in PLAINLY_EXACT:
                return False
            try:
                if not is_same(value, unpack(stored)):
                    return False
            except Exception:  # noqa: BLE001  # a field may raise anything
                return False
        return True

    def _compare(self, instance: M, row: bytes) -> None:
        """Make an instance of the row, as a hit does, and see whether it is the same."""
        try:
            again: Any = self._make_again(row)
            if type(again) is not type(instance):
                raise self._not_kept("class", _tell_apart(instance, again))
            different = differences(instance, again)
            if different:
                # What even two hits don't have in common is no matter of the row, but, say, a time.
                another: Any = self._make_again(row)
                random = {*differences(again, another)} - {"_state", *self._attnames}
                different = [
                    name
                    for name in different
                    if name not in random or _type_in(instance, name) is not _type_in(again, name)
                ]
        except NotKept:
            raise
        except Exception as error:  # a value's __eq__ may raise anything, and so may a field
            raise self._not_kept("values", error) from error
        if different:
            name = different[0]
            held, made = vars(instance).get(name, MISSING), vars(again).get(name, MISSING)
            raise self._not_kept(name, _tell_apart(held, made))
        if not instance._state.__dict__.get("fields_cache"):
            self._usual_state = dict(vars(instance._state))

    def _not_kept(self, place: str, reason: object) -> NotKept:
        if isinstance(reason, Exception):
            reason = f"{type(reason).__name__}: {reason}"
        return NotKept(
            f"A row of {self._model._meta.label} can't be stored for its {place}: {reason}", place
        )

    def decoder(self, complain: Callable[[Exception], None]) -> Callable[[bytes], M | None]:
        """The function from a row to an instance as it comes from the database.

        It calls `complain` and gives None for bytes that are no row or that a field can't read, and
        when the model's own way to make an instance fails: one that asks the database does so in
        coroutines.
        """
        database, model, attnames = self._database, self._model, self._attnames
        unpack, is_plain, new = self._unpack, self._is_made_plainly, model.__new__
        empty = dict.fromkeys(["_state", *attnames])  # a copy has its final size at once

        def decode(row: bytes) -> M | None:
            try:
                values = unpack(row)
            except Exception as error:  # noqa: BLE001  # a field may raise anything
                complain(error)
                return None
            if not is_plain or ((pre_init.receivers or post_init.receivers) and is_heard(model)):
                try:
                    return model.from_db(database, attnames, values)
                except Exception as error:  # noqa: BLE001  # as a miss would, or it asks the database
                    complain(error)
                    return None
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

    def keep(self, row: bytes) -> dict[str, Any] | None:
        """Decode a row once, for `maker()`; None if one of its values could be changed.

        Raises:
            Exception: these bytes are no row, or a field can't read them.
        """
        values = self._unpack(row)
        if any(immutable_size(value) is None for value in values):
            return None
        return {"_state": None, **dict(zip(self._attnames, values, strict=True))}

    def maker(self, complain: Callable[[Exception], None]) -> Callable[[dict[str, Any]], M | None]:
        """Return the function from a result of `keep()` to a new instance, as in `decoder()`.

        The fields' converters don't run again.
        """
        database, model, attnames = self._database, self._model, self._attnames
        is_plain, new = self._is_made_plainly, model.__new__

        def make(kept: dict[str, Any]) -> M | None:
            if not is_plain or ((pre_init.receivers or post_init.receivers) and is_heard(model)):
                try:
                    return model.from_db(database, attnames, [kept[name] for name in attnames])
                except Exception as error:  # noqa: BLE001  # it asks the database
                    complain(error)
                    return None
            state = ModelState()
            state.adding = False
            state.db = database
            held = kept.copy()
            held["_state"] = state
            instance = new(model)
            instance.__dict__ = held
            return instance

        return make

    def _make_unpack(self) -> Callable[[bytes], list[Any]]:
        """Make the function from a row to the values of its fields, which raises their errors."""
        unpackers = self._unpackers
        unpackb, count = ormsgpack.unpackb, len(self._attnames)
        # unpackb allocates whatever length of a list or a map is announced; making a Fragment
        # checks it first. Only after these bytes can it be more than some kilobytes.
        long_list, long_map, refuse_malformed = b"\xdd", b"\xdf", ormsgpack.Fragment

        def unpack(row: bytes) -> list[Any]:
            if long_list in row or long_map in row:
                refuse_malformed(row)
            values: list[Any] = unpackb(row)
            if type(values) is not list or len(values) != count:
                raise ValueError("these bytes are no row")
            for position, unpack_one in unpackers:
                value = values[position]
                if value is not None:
                    values[position] = unpack_one(value)
            return values

        return unpack


def is_made_plainly(model: type[models.Model]) -> bool:
    """Whether instances may be made directly: neither the model nor a field needs its own way."""
    bases = model.__mro__
    is_own = (
        model.from_db.__func__ is not models.Model.from_db.__func__  # type: ignore[attr-defined]  # of a classmethod
        or model.__init__ is not models.Model.__init__
        or model.__new__ is not models.Model.__new__
        or model.__setattr__ is not models.Model.__setattr__
        or type(model).__call__ is not type.__call__
        # Model.__init__() calls those that follow it.
        or any("__init__" in vars(base) for base in bases[bases.index(models.Model) + 1 : -1])
    )
    return not is_own and all(
        not hasattr(type(descriptor), "__set__") or type(descriptor) in PLAIN_SETTERS
        for descriptor in (
            inspect.getattr_static(model, field.attname, None)
            for field in model._meta.concrete_fields
        )
    )


def is_heard(model: type[models.Model]) -> bool:
    """Whether new instances of this model have receivers of signals."""
    return pre_init.has_listeners(model) or post_init.has_listeners(model)


def _describe_database(alias: str) -> str:
    """Describe what decides the types of a SELECT's values: the driver, and the time zone."""
    connection = connections[alias]
    driver = connection.Database.__name__  # type: ignore[attr-defined]  # of every backend's wrapper
    return f"{driver} {settings.USE_TZ} {connection.timezone_name}"


def _is_packable(value: Any) -> bool:
    try:
        ormsgpack.packb(value, None, OPTIONS)
    except ormsgpack.MsgpackEncodeError:
        return False
    return True


def _type_in(instance: models.Model, name: str) -> type | None:
    """The type of an attribute; None when the instance hasn't got it."""
    held = vars(instance)
    return type(held[name]) if name in held else None


def _tell_apart(missed: object, hit: object) -> str:
    if missed is MISSING or hit is MISSING:
        return f"only a {'hit' if missed is MISSING else 'miss'} would give it"
    names = [f"{type(one).__module__}.{type(one).__qualname__}" for one in (missed, hit)]
    if names[0] == names[1]:
        return f"a hit would give another {names[0]} than a miss"
    return f"a miss gives a {names[0]}, and a hit would give a {names[1]}"


def _raise(error: Exception) -> None:
    raise error
